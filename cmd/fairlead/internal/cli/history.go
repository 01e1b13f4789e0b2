package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

const (
	// someEntries is how many generations or events are listed by default.
	someEntries = 20
	// maxPage is as many as controllers list at once.
	maxPage = 1000
	// fewSubjects is how many resources of a change are listed without -o wide.
	fewSubjects = 3
)

func (a *app) configCommand() *cobra.Command {
	return group("config", "Look at the configuration's history, and go back in it", `Every change makes a generation, EPOCH.REVISION as 1.42. The configuration of the
last ones is kept: compare them, and go back to one.`,
		a.historyCommand(), a.configDiffCommand(), a.rollbackCommand())
}

// limitFlag adds --limit.
func limitFlag(c *cobra.Command, limit *int) {
	c.Flags().IntVar(limit, "limit", someEntries, "how many, newest first; 0: all that are kept")
}

// pageSize is the size of the next page.
func pageSize(limit, have int) int32 {
	if limit == 0 {
		return maxPage
	}
	return int32(min(limit-have, maxPage))
}

func checkLimit(limit int) error {
	if limit < 0 {
		return usagef("--limit %d: want 0 or more", limit)
	}
	return nil
}

func (a *app) historyCommand() *cobra.Command {
	var limit int
	var output format
	c := &cobra.Command{
		Use:   "history",
		Short: "List generations, newest first",
		Long: `List generations, newest first, with the change that made each. Drains make
generations too; they are no part of the configuration, so rollback leaves them.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error { return a.history(c.Context(), limit, output) },
	}
	limitFlag(c, &limit)
	outputFlag(c, &output, "EPOCH.REVISION")
	return c
}

func (a *app) history(ctx context.Context, limit int, output format) error {
	if err := checkLimit(limit); err != nil {
		return err
	}
	return a.with(ctx, 0, func(ctx context.Context, c *client) error {
		all, err := c.generations(ctx, limit)
		if err != nil {
			return err
		}
		if len(all.GetGenerations()) == 0 && (output == formatTable || output == formatWide) {
			return a.nothing("no generation yet: begin with `fairlead apply -f FILE`")
		}
		var names []string
		for _, g := range all.GetGenerations() {
			names = append(names, generation(g.GetGeneration()).String())
		}
		return a.emit(output, all, names, func(p *printer) { generationTable(p, all.GetGenerations()).print(p) })
	})
}

// generations lists generations, at most so many; 0: all.
func (c *client) generations(ctx context.Context, limit int) (*pb.ListGenerationsResponse, error) {
	all := &pb.ListGenerationsResponse{}
	for token := ""; ; {
		page, err := c.ListGenerations(ctx, &pb.ListGenerationsRequest{PageSize: pageSize(limit, len(all.Generations)), PageToken: token})
		if err != nil {
			return nil, err
		}
		all.Generations = append(all.Generations, page.GetGenerations()...)
		if token = page.GetNextPageToken(); token == "" || limit > 0 && len(all.Generations) >= limit {
			return all, nil
		}
	}
}

func generationTable(p *printer, list []*pb.GenerationRecord) *table {
	titles := []string{"GENERATION", "AGE", "BY", "ACTION", "WHAT", "REASON", "KEPT"}
	if p.wide {
		titles = append(titles, "TIME", "FROM", "REQUEST")
	}
	t := newTable(titles...)
	for _, g := range list {
		e, age, kept := g.GetEvent(), "", cell{}
		if e.GetTime() != nil {
			age = human(p.now.Sub(e.GetTime().AsTime()))
		}
		if !g.GetKept() {
			kept = cell{"no", yellow}
		}
		row := []any{generation(g.GetGeneration()).String(), age, e.GetActor(), e.GetAction(), subjects(p, e), e.GetReason(), kept}
		if p.wide {
			row = append(row, moment(e.GetTime()), e.GetPeer(), e.GetRequestId())
		}
		t.row(row...)
	}
	return t
}

// subjects are what an event is about.
func subjects(p *printer, e *pb.AuditEvent) string {
	if p.wide {
		return few(e.GetSubjects(), len(e.GetSubjects()))
	}
	return few(e.GetSubjects(), fewSubjects)
}

func (a *app) configDiffCommand() *cobra.Command {
	var output format
	c := &cobra.Command{
		Use:   "diff A [B]",
		Short: "Compare the configuration of two generations",
		Long: `Show what changed in the configuration from generation A to generation B, or to
the current one. Drains are no part of the configuration.`,
		Example: "  fairlead config diff 1.42",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactly("A")(c, args)
			}
			return exactly("A", "B")(c, args)
		},
		ValidArgsFunction: a.completeGeneration(2),
		RunE:              func(c *cobra.Command, args []string) error { return a.configDiff(c.Context(), args, output) },
	}
	outputFlag(c, &output, "what changed")
	return c
}

func (a *app) configDiff(ctx context.Context, args []string, output format) error {
	from, err := parseGeneration(args[0])
	if err != nil {
		return err
	}
	req, to := &pb.DiffGenerationsRequest{From: from}, "the current one"
	if len(args) > 1 {
		if req.To, err = parseGeneration(args[1]); err != nil {
			return err
		}
		to = generation(req.To).String()
	}
	return a.with(ctx, 0, func(ctx context.Context, c *client) error {
		resp, err := c.DiffGenerations(ctx, req)
		if err != nil {
			return err
		}
		return a.emit(output, resp, changeNames(resp.GetChanges()), func(p *printer) {
			n := printChangeList(p, resp.GetChanges())
			p.linef(bold, "from generation %v to %s: %d created, %d updated, %d deleted, %d unchanged", generation(from), to, n.created, n.updated, n.deleted, resp.GetUnchanged())
		})
	})
}

func parseGeneration(s string) (*pb.Generation, error) {
	g, err := regions.ParseGeneration(s)
	if err != nil {
		return nil, usagef("%w (`fairlead config history` lists them)", err)
	}
	return &pb.Generation{Epoch: g.Epoch, Revision: g.Revision}, nil
}

type rollbackOptions struct {
	applyOptions
	to string
}

func (a *app) rollbackCommand() *cobra.Command {
	var o rollbackOptions
	c := &cobra.Command{
		Use:   "rollback GENERATION --reason TEXT",
		Short: "Make the configuration of an older generation current again",
		Long: `Make the configuration of an older generation the current one, as a new
generation: all of it, or nothing. It is checked like an apply. Drains that are
in force stay.`,
		Example:           "  fairlead config rollback 1.42 --reason \"the new policy is wrong\" --wait",
		Args:              exactly("GENERATION"),
		ValidArgsFunction: a.completeGeneration(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.to = args[0]
			return a.rollback(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.reason, "reason", "", "why; kept with the change")
	f.BoolVar(&o.dryRun, "dry-run", false, "validate and compare, change nothing")
	waitFlagOf(c, &o.wait, false)
	outputFlag(c, &o.output, "what changes")
	return c
}

func (a *app) rollback(ctx context.Context, o rollbackOptions) error {
	to, err := parseGeneration(o.to)
	if err != nil {
		return err
	}
	if !o.dryRun {
		if err := wantReason(o.reason); err != nil {
			return err
		}
	}
	began := a.Now()
	req := &pb.RollbackGenerationRequest{Generation: to, RequestId: newRequestID(), Reason: o.reason, DryRun: o.dryRun}
	if req.Reason == "" {
		req.Reason = "dry run" // required all the same
	}
	var resp *pb.RollbackGenerationResponse
	err = a.with(ctx, 0, func(ctx context.Context, c *client) (err error) {
		resp, err = c.RollbackGeneration(ctx, req)
		return err
	})
	if err != nil {
		return located(err, nil, "nothing was changed")
	}
	var late error
	if !o.dryRun {
		resp.Convergence, late = a.followed(ctx, resp.GetGeneration(), began, o.wait)
	}
	err = a.emit(o.output, resp, changeNames(resp.GetChanges()), func(p *printer) {
		printRollback(p, generation(to), resp, o.dryRun)
		printConvergence(p, resp.GetConvergence())
	})
	return errors.Join(err, late)
}

func printRollback(p *printer, to regions.Generation, resp *pb.RollbackGenerationResponse, dryRun bool) {
	n := printChangeList(p, resp.GetChanges())
	switch {
	case len(resp.GetChanges()) == 0:
		p.linef(yellow, "the configuration is that of generation %v already; nothing changes; %s", to, inGeneration(resp.GetGeneration()))
	case dryRun:
		p.linef(bold, "would go back to the configuration of generation %v: create %d, update %d, delete %d; %s", to, n.created, n.updated, n.deleted, inGeneration(resp.GetGeneration()))
	default:
		p.linef(bold, "went back to the configuration of generation %v: %d created, %d updated, %d deleted; %s", to, n.created, n.updated, n.deleted, inGeneration(resp.GetGeneration()))
	}
}
