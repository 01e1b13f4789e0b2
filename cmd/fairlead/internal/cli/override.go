package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead-dns/fairlead/cmd/internal/options"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func (a *app) overrideCommand() *cobra.Command {
	return group("override", "Show what operators have overridden, and end it", `Show drains and what else operators have overridden, those that are scheduled and
those that nameservers were told directly (break-glass), and end one by its id.`,
		a.overrideListCommand(), a.overrideEndCommand())
}

func (a *app) overrideListCommand() *cobra.Command {
	var output format
	var direct bool
	var nameservers []string
	c := &cobra.Command{
		Use:   "list",
		Short: "List drains and other overrides",
		Long: `List the overrides that are in force, those that are scheduled, and the break-glass
records that nameservers told the controller of, with who holds them.

With --break-glass the nameservers themselves are asked, each for what it holds, and
no controller.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case direct:
				return a.direct(c.Context(), nameservers, output)
			case len(nameservers) > 0:
				return usagef("--nameservers goes with --break-glass")
			}
			return a.overrides(c.Context(), output)
		},
	}
	c.Flags().BoolVar(&direct, "break-glass", false, "ask the nameservers themselves")
	options.CommandLineOnly(c.Flags(), "break-glass")
	a.nameserversFlag(c, &nameservers)
	outputFlag(c, &output, "overrides/ID")
	return c
}

// overrides lists all overrides, however many pages they take.
func (c *client) overrides(ctx context.Context) (*pb.ListOverridesResponse, error) {
	all := &pb.ListOverridesResponse{}
	for token := ""; ; {
		page, err := c.ListOverrides(ctx, &pb.ListOverridesRequest{PageToken: token})
		if err != nil {
			return nil, err
		}
		if token == "" {
			all.Generation, all.BreakGlass = page.GetGeneration(), page.GetBreakGlass()
		}
		all.Overrides = append(all.Overrides, page.GetOverrides()...)
		all.Scheduled = append(all.Scheduled, page.GetScheduled()...)
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

func (a *app) overrides(ctx context.Context, output format) error {
	err := a.with(ctx, 0, func(ctx context.Context, c *client) error {
		resp, err := c.overrides(ctx)
		if err != nil {
			return err
		}
		names := overrideNames(resp)
		if len(names) == 0 && (output == formatTable || output == formatWide) {
			fmt.Fprintf(a.Err, "no overrides; %s\n", inGeneration(resp.GetGeneration()))
			return nil
		}
		return a.emit(output, resp, names, func(p *printer) { printOverrides(p, resp) })
	})
	return a.orAskNameservers(err, "fairlead override list --break-glass")
}

func overrideNames(resp *pb.ListOverridesResponse) (names []string) {
	for _, o := range slices.Concat(resp.GetOverrides(), resp.GetScheduled()) {
		names = append(names, overrideName(o.GetId()))
	}
	for _, b := range resp.GetBreakGlass() {
		if stands(b.GetRecord()) {
			names = append(names, overrideName(b.GetRecord().GetId()))
		}
	}
	return names
}

func printOverrides(p *printer, resp *pb.ListOverridesResponse) {
	if len(resp.GetOverrides()) > 0 {
		overrideTable(p, resp.GetOverrides()).print(p)
	} else {
		p.linef(plain, "none is in force; %s", inGeneration(resp.GetGeneration()))
	}
	titled(p, "SCHEDULED", overrideTable(p, resp.GetScheduled()))
	printBreakGlass(p, breakGlassTitle, orAdopt, resp.GetBreakGlass())
}

type endOptions struct {
	leverOptions
	adopt bool
}

func (a *app) overrideEndCommand() *cobra.Command {
	o := endOptions{}
	c := &cobra.Command{
		Use:   "end ID --reason TEXT",
		Short: "End one override, or a break-glass record everywhere",
		Long: `End one override by its id (fairlead override list -o wide), in force or scheduled. An
id that begins with bg- is a break-glass record: it ends at every nameserver, also at
those that come back later. With --adopt what it did goes on as an override of the
control plane; of an undrain, the drains of its scope are removed.

With --break-glass the nameservers themselves are told to end a record, and no
controller.` + waitHelp(false),
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeOverride,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.author, err = a.author(o.author, c.Flags().Changed("author")); err != nil {
				return err
			}
			return a.end(c.Context(), o, strings.TrimPrefix(args[0], "overrides/"))
		},
	}
	f := c.Flags()
	f.StringVar(&o.reason, "reason", "", "why; kept with the change")
	f.StringVar(&o.author, "author", username(), "who decides it (a context can name you)")
	options.NotInFile(f, "belongs into a context, under contexts", "author")
	f.BoolVar(&o.adopt, "adopt", false, "of a break-glass record: keep what it did, as the control plane's")
	f.BoolVar(&o.force, "force", false, "with --adopt, pass the safety rules that are not absolute; with --break-glass, go on though a controller can write")
	f.StringVar(&o.etag, "etag", "", "refuse when the override has another etag (override list -o wide shows it)")
	f.BoolVar(&o.direct, "break-glass", false, "tell the nameservers themselves, past the controllers")
	options.CommandLineOnly(f, "adopt", "force", "etag", "break-glass")
	a.nameserversFlag(c, &o.nameservers)
	waitFlagOf(c, &o.wait, false)
	outputFlag(c, &o.output, "overrides/ID")
	return c
}

// breakGlassTitle is above break-glass records that a controller tells of.
const breakGlassTitle = "BREAK-GLASS, at nameservers alone"

// orAdopt is how else a break-glass record is ended where a controller answers.
const orAdopt = "(--adopt: keep what it did, as the control plane's)"

// breakGlassPrefix begins the ids of break-glass records.
const breakGlassPrefix = "bg-"

func (a *app) end(ctx context.Context, o endOptions, id string) error {
	glass := strings.HasPrefix(id, breakGlassPrefix)
	if err := wantReason(o.reason); err != nil {
		return err
	}
	switch {
	case !glass && (o.adopt || o.direct):
		return usagef("%q is no break-glass record, whose ids begin with bg-: --adopt and --break-glass are for these", id)
	case glass && o.etag != "":
		return usagef("--etag: break-glass records have none")
	case o.direct && o.adopt:
		return usagef("--adopt needs a controller, so it goes without --break-glass")
	case o.direct:
		return a.endDirectly(ctx, o.leverOptions, id)
	case len(o.nameservers) > 0:
		return usagef("--nameservers goes with --break-glass")
	case o.force && !o.adopt:
		return usagef("--force goes with --adopt or --break-glass: an end is never refused")
	}
	began := a.Now()
	var done *changed
	err := a.with(ctx, 0, func(ctx context.Context, c *client) (err error) {
		done, err = c.end(ctx, o, id)
		return err
	})
	if err != nil {
		return a.refused(err, o.leverOptions)
	}
	done.committed = a.Now().Sub(began)
	var seen *confirmation
	if o.wait.on() && (len(done.removed) > 0 || done.end != nil) {
		seen, err = a.confirm(ctx, change{scope: done.scope(nil), generation: done.generation, began: began, committed: done.committed, convergence: done.convergence}, o.wait)
		if err != nil {
			return err
		}
	}
	err = a.emitChanged(o.output, done, seen, func(p *printer) { printEnded(p, id, done, seen) })
	return errors.Join(err, seen.unconfirmed(a.Now()))
}

// end ends an override or a break-glass record.
func (c *client) end(ctx context.Context, o endOptions, id string) (*changed, error) {
	if strings.HasPrefix(id, breakGlassPrefix) {
		resp, err := c.EndBreakGlass(ctx, &pb.EndBreakGlassRequest{Id: id, Reason: o.reason, Author: o.author, Adopt: o.adopt, Force: o.force, RequestId: newRequestID()})
		if err != nil {
			return nil, err
		}
		return &changed{response: resp, made: resp.GetOverride(), removed: resp.GetRemoved(), end: resp.GetEnd(),
			generation: resp.GetGeneration(), convergence: resp.GetConvergence(), safety: resp.GetSafety()}, nil
	}
	resp, err := c.DeleteOverride(ctx, &pb.DeleteOverrideRequest{Id: id, Reason: o.reason, Author: o.author, Etag: o.etag, RequestId: newRequestID()})
	if err != nil {
		return nil, err
	}
	if len(resp.GetRemoved()) == 0 {
		return nil, fmt.Errorf("there is no override %s; nothing was changed (`fairlead override list -o wide` shows the ids)", id)
	}
	return &changed{response: resp, removed: resp.GetRemoved(), generation: resp.GetGeneration(), convergence: resp.GetConvergence()}, nil
}

// scope is what was changed, as the controller spells it; else as it was asked for.
func (d *changed) scope(asked *pb.OverrideScope) *pb.OverrideScope {
	switch {
	case d.made != nil:
		return d.made.GetScope()
	case len(d.removed) == 1:
		return d.removed[0].GetScope()
	}
	return asked
}

func printEnded(p *printer, id string, d *changed, seen *confirmation) {
	switch {
	case d.end != nil:
		p.linef(bold, "break-glass record %s ends at every nameserver; %s", id, inGeneration(d.generation))
	default:
		p.linef(bold, "%s of %s is ended; %s", word(d.removed[0].GetAction(), "OVERRIDE_ACTION_"), scopeWords(d.removed[0]), inGeneration(d.generation))
		overrideTable(p, d.removed).print(p)
	}
	if d.end != nil {
		if d.made != nil {
			p.linef(plain, "what it did goes on as an override of the control plane:")
			overrideTable(p, []*pb.Override{d.made}).print(p)
		}
		if len(d.removed) > 0 {
			p.linef(plain, "removed with it:")
			overrideTable(p, d.removed).print(p)
		}
	}
	seen.print(p)
}

// completeOverride completes the ids of what may be ended.
func (a *app) completeOverride(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.suggest(c, typed, func(ctx context.Context, c *client) (ids []string) {
		list, err := c.overrides(ctx)
		if err != nil {
			return nil
		}
		for _, o := range slices.Concat(list.GetOverrides(), list.GetScheduled()) {
			ids = append(ids, o.GetId()+"\t"+overrideWords(o))
		}
		for _, b := range list.GetBreakGlass() {
			if stands(b.GetRecord()) {
				ids = append(ids, b.GetRecord().GetId()+"\t"+recordWords(b.GetRecord()))
			}
		}
		return ids
	})
}
