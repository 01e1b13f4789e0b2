package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// maxRequest lies below the controllers' 64 MiB.
const maxRequest = 60 << 20

type applyOptions struct {
	files  []string
	prune  bool
	dryRun bool
	reason string
	wait   waitFlag
	output format
}

func (a *app) applyCommand() *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use:   "apply -f PATH...",
		Short: "Create and update resources, all or nothing",
		Long: `Create and update the resources in files, all or nothing. With --prune, what is
not in the files is deleted; overrides (drains) are never touched.

` + fileHelp,
		Example: "  fairlead apply -f conf/ --prune --reason \"add ap-south\" --wait",
		RunE:    func(c *cobra.Command, args []string) error { return a.apply(c.Context(), o, args) },
	}
	fileFlag(c, &o.files)
	f := c.Flags()
	f.BoolVar(&o.prune, "prune", false, "also delete every resource that is not in the files")
	f.BoolVar(&o.dryRun, "dry-run", false, "validate and compare, change nothing")
	f.StringVar(&o.reason, "reason", "", "why; kept with the change")
	waitFlagOf(c, &o.wait, false)
	outputFlag(c, &o.output, "what changes")
	return c
}

func (a *app) diffCommand() *cobra.Command {
	o := applyOptions{dryRun: true}
	c := &cobra.Command{
		Use:   "diff -f PATH...",
		Short: "Show what apply would change",
		Long: `Show what apply would change; the same as apply --dry-run. The exit code is 0
whether or not there are differences (-o name prints nothing when there are none).

` + fileHelp,
		RunE: func(c *cobra.Command, args []string) error { return a.apply(c.Context(), o, args) },
	}
	fileFlag(c, &o.files)
	c.Flags().BoolVar(&o.prune, "prune", false, "also delete every resource that is not in the files")
	outputFlag(c, &o.output, "what would change")
	return c
}

func (a *app) apply(ctx context.Context, o applyOptions, args []string) error {
	paths, err := named(o.files, args)
	if err != nil {
		return err
	}
	docs, err := load(a.In, paths)
	if wrong, ok := errors.AsType[mistakes](err); ok {
		wrong.say = "nothing was sent"
		return wrong
	}
	if err != nil {
		return err
	}
	began := a.Now()
	var resp *pb.ApplyResponse
	err = a.with(ctx, 0, func(ctx context.Context, c *client) (err error) {
		resp, err = send(ctx, c, docs, &pb.ApplyRequest{Prune: o.prune, DryRun: o.dryRun, Reason: o.reason})
		return err
	})
	if err != nil {
		return err
	}
	if o.output != formatJSON && o.output != formatYAML { // there they are in the answer
		for _, text := range resp.GetWarnings() {
			fmt.Fprintf(a.Err, "warning: %s\n", clean(text))
		}
	}
	var late error
	if !o.dryRun {
		resp.Convergence, late = a.followed(ctx, resp.GetGeneration(), began, o.wait)
	}
	err = a.emit(o.output, resp, changeNames(resp.GetChanges()), func(p *printer) {
		printChanges(p, resp, o.dryRun)
		printConvergence(p, resp.GetConvergence())
	})
	return errors.Join(err, late)
}

// send applies resources. Errors about a field have their place in the files.
func send(ctx context.Context, c *client, docs []config.Document, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	for _, d := range docs {
		req.Resources = append(req.Resources, d.Resource)
	}
	req.RequestId = newRequestID()
	if size := proto.Size(req); size > maxRequest {
		return nil, fmt.Errorf("the %d resources have %d MiB together, more than the %d MiB of one request; nothing was sent: apply them in parts (--prune would need all of them at once)",
			len(docs), (size+1<<20-1)>>20, maxRequest>>20)
	}
	resp, err := c.Apply(ctx, req)
	if err != nil {
		return nil, located(err, docs, "nothing was changed")
	}
	return resp, nil
}

// Apply applies files, or what is inline if there is any, through the
// controller at an address, in plain text. Mistakes in them are all in the error, with their
// places.
func Apply(ctx context.Context, controller string, files []string, inline []byte) error {
	if len(inline) > 0 {
		files = append(files[:len(files):len(files)], "-")
	}
	docs, err := load(bytes.NewReader(inline), files)
	if err != nil {
		return err
	}
	c, err := dial(flagController, []string{controller}, security{}, nil)
	if err != nil {
		return err
	}
	defer c.close()
	_, err = send(ctx, c, docs, &pb.ApplyRequest{})
	return err
}

// printConvergence tells who serves the change by now.
func printConvergence(p *printer, c *pb.Convergence) {
	switch {
	case c == nil:
	case len(c.GetServing()) > 0:
		p.linef(plain, "served by %s", strings.Join(c.GetServing(), ", "))
	case len(c.GetMissing()) == 0:
		p.linef(plain, "no nameserver is registered or connected")
	}
}
