package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const kindHelp = `KIND is region, agent, nameserver, healthcheck, steeringpolicy (policy),
safetypolicy, zone or service, in the singular or the plural; KIND/NAME is
understood too.`

// allKinds stands for every kind.
const allKinds = "all"

func (a *app) getCommand() *cobra.Command {
	var output format
	c := &cobra.Command{
		Use:   "get KIND [NAME]",
		Short: "List resources of a kind, or of all kinds",
		Long: `List the resources of a kind, or one of them, or with ` + "`get all`" + ` everything.
Drains are not resources: see ` + "`fairlead override list`" + `.

` + kindHelp + `

-o yaml prints what apply reads. It has the etag: applied again, it is refused
if somebody else changed the resource meanwhile.`,
		Args:              kindArgs("KIND", 1, 2),
		ValidArgsFunction: a.completeResource,
		RunE: func(c *cobra.Command, args []string) error {
			return a.get(c.Context(), output, args)
		},
	}
	outputFlag(c, &output, "KIND/NAME")
	return c
}

func (a *app) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Print the whole configuration as YAML, for apply",
		Long: `Print every resource as YAML in a form fit for version control: without etags and
what the controllers keep. apply --prune of the output is the same configuration.
Drains are not in it.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := a.list(c.Context(), "", "")
			if err != nil {
				return err
			}
			return a.write(config.MarshalOptions{OmitOutputOnly: true}.YAML(list.GetResources()))
		},
	}
}

func (a *app) deleteCommand() *cobra.Command {
	var reason string
	var output format
	c := &cobra.Command{
		Use:   "delete KIND NAME --reason TEXT",
		Short: "Delete a resource that no other refers to",
		Long: `Delete one resource. It is refused while another resource refers to it.

` + kindHelp,
		Args:              kindArgs("KIND and NAME", 2, 2),
		ValidArgsFunction: a.completeResource,
		RunE: func(c *cobra.Command, args []string) error {
			return a.delete(c.Context(), output, reason, args)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; kept with the change")
	outputFlag(c, &output, "KIND/NAME")
	return c
}

// kindArgs checks arguments of which the first may be KIND/NAME.
func kindArgs(missing string, least, most int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		n := len(args)
		if n > 0 && strings.Contains(args[0], "/") {
			n++
		}
		switch {
		case n == 0:
			return fmt.Errorf("missing %s", missing)
		case n < least:
			return fmt.Errorf("missing NAME")
		case n > most:
			return fmt.Errorf("unexpected argument %q", args[len(args)-1])
		}
		return nil
	}
}

// resourceArgs reads KIND [NAME] or KIND/NAME.
func resourceArgs(args []string) (kind, name string, err error) {
	typed, name, _ := strings.Cut(args[0], "/")
	if len(args) > 1 {
		name = args[1]
	}
	switch strings.ToLower(typed) {
	case "override", "overrides", "drain", "drains":
		return "", "", usagef("drains and other overrides are not resources: use `fairlead override list`")
	}
	if kind, err = config.ParseKind(typed); err != nil {
		return "", "", usageError{err}
	}
	return kind, name, nil
}

func (a *app) list(ctx context.Context, kind, name string) (list *pb.ListResourcesResponse, err error) {
	err = a.with(ctx, 0, func(ctx context.Context, c *client) error {
		list, err = c.list(ctx, kind, name)
		return err
	})
	return list, err
}

func (a *app) get(ctx context.Context, output format, args []string) error {
	kind, name := "", ""
	if !strings.EqualFold(args[0], allKinds) || len(args) > 1 {
		var err error
		if kind, name, err = resourceArgs(args); err != nil {
			return err
		}
	}
	list, err := a.list(ctx, kind, name)
	if err != nil {
		return err
	}
	resources := list.GetResources()
	switch output {
	case formatJSON:
		return a.write(config.MarshalOptions{}.JSON(resources))
	case formatYAML:
		return a.write(config.MarshalOptions{}.YAML(resources))
	case formatName:
		var names []string
		for _, r := range resources {
			names = append(names, config.KeyOf(r).String())
		}
		return a.writeNames(names)
	}
	if len(resources) == 0 {
		what := "resources"
		if kind != "" {
			what = config.Plural(kind)
		}
		fmt.Fprintf(a.Err, "no %s; %s\n", what, inGeneration(list.GetGeneration()))
		return nil
	}
	p := a.printer()
	p.wide = output == formatWide
	printResources(p, resources, kind == "")
	return a.write(p.Bytes(), nil)
}

func (a *app) delete(ctx context.Context, output format, reason string, args []string) error {
	kind, name, err := resourceArgs(args)
	if err != nil {
		return err
	}
	if err := wantReason(reason); err != nil {
		return err
	}
	key := config.Key{Kind: kind, Name: strings.ToLower(strings.TrimSuffix(name, "."))}.String()
	return a.with(ctx, 0, func(ctx context.Context, c *client) error {
		resp, err := c.DeleteResource(ctx, &pb.DeleteResourceRequest{Kind: kind, Name: name, Reason: reason, RequestId: newRequestID()})
		if err != nil {
			return err
		}
		return a.emit(output, resp, []string{key}, func(p *printer) {
			p.linef(red, "- %s", key)
			p.linef(bold, "1 deleted; %s", inGeneration(resp.GetGeneration()))
		})
	})
}

// wantReason insists on --reason.
func wantReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return usagef("missing --reason TEXT: say why, for those who find the change later")
	}
	return nil
}
