package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

func (a *app) zoneCommand() *cobra.Command {
	var files []string
	check := &cobra.Command{
		Use:   "check -f PATH...",
		Short: "Check files without a controller",
		Long: `Check a whole configuration in files, without a controller: that they parse, that
every field and every reference is right, that the zones' records are good
master-file text and agree with the services in them, and that nameservers can
load it all. A controller checks the same, against what it holds already, and
the safety rules besides.

` + fileHelp,
		Example: "  fairlead zone check -f conf/",
		RunE: func(_ *cobra.Command, args []string) error {
			paths, err := named(files, args)
			if err != nil {
				return err
			}
			return a.check(paths)
		},
	}
	fileFlag(check, &files)
	return group("zone", "Check zones", "Check zones and the rest of a configuration.", check)
}

func (a *app) check(paths []string) error {
	docs, err := load(a.In, paths)
	if err != nil {
		return err
	}
	resources := make([]*pb.Resource, len(docs))
	for i, d := range docs {
		resources[i] = d.Resource
	}
	set, err := config.NewSet(resources)
	if err == nil {
		err = config.Validate(set, config.Options{Records: plan.CheckRecords})
	}
	if err != nil {
		if errs, ok := errors.AsType[config.Errors](config.Locate(err, docs)); ok {
			return mistakes{errs: errs}
		}
		return err
	}
	base, err := plan.Compile(set)
	if err != nil {
		return err
	}
	var warnings config.Errors
	services := map[string]int{}
	for _, s := range base.Services {
		services[s.Zone]++
	}
	t := newTable("ZONE", ">NAMES", ">SERVICES")
	for _, z := range base.Zones.Zones() {
		name := strings.TrimSuffix(z.Origin, ".")
		t.row(name, fmt.Sprint(z.Len()), fmt.Sprint(services[name]))
		for _, w := range z.Warnings {
			e := config.FieldError{Kind: config.KindZone, Name: name, Path: "spec.records", Message: "warning: " + w.Err.Error()}
			if w.Line > 0 {
				e.Path = fmt.Sprintf("spec.records:%d", w.Line)
			}
			warnings = append(warnings, e)
		}
	}
	p := a.printer()
	if len(t.rows) > 0 {
		t.print(p)
	}
	if len(warnings) > 0 {
		p.WriteString(cleanLines(config.Locate(warnings, docs).Error()) + "\n")
	}
	p.linef(green, "%s in %s: no errors", count(len(docs), "resource"), count(countFiles(docs), "file"))
	return a.write(p.Bytes(), nil)
}

func countFiles(docs []config.Document) int {
	files := map[string]bool{}
	for _, d := range docs {
		files[d.File] = true
	}
	return len(files)
}
