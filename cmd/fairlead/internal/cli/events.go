package cli

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/cmd/internal/options"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

type eventOptions struct {
	filter       *pb.EventFilter
	since, until string
	limit        int
	follow       bool
	output       format
}

// eventResults are the results of a change.
var eventResults = []string{"done", "forced", "refused"}

func (a *app) eventsCommand() *cobra.Command {
	o := eventOptions{filter: &pb.EventFilter{}}
	c := &cobra.Command{
		Use:   "events",
		Short: "List who changed what, newest first, or follow it",
		Long: `List the audit events, newest first: who changed what, when, from where, why, and
whether it was done, forced past safety rules, or refused by them. Each change's is
written in the very transaction that makes it. The last 10,000 changes and 1,000
refusals are kept for up to 400 days, and those of generations that are kept longer.

With --follow the events come oldest first, the newest of those that there are and
then each as it is written, until it is interrupted. None is left out when a
controller goes: the next one goes on where that one ended.

-o wide shows what was before and after; -o json prints one event a line, with all
that is known of it.`,
		Example: `  fairlead events --subject regions/eu-west --since 24h
  fairlead events --result refused -o wide
  fairlead events --follow -o json >>audit.jsonl`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error { return a.events(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.filter.Actor, "actor", "", "only by this caller or author, as operator/alice or alice")
	f.StringVar(&o.filter.Action, "action", "", "only this action, or those that begin so, as override-create or override")
	f.StringVar(&o.filter.Subject, "subject", "", "only about this, as services/www.example.test, www.example.test or services")
	f.StringVar(&o.filter.Result, "result", "", "only with this result: done, forced or refused")
	f.StringVar(&o.since, "since", "", "not before this, as 2h (ago) or 2026-11-23T22:00:00Z")
	f.StringVar(&o.until, "until", "", "before this, as --since")
	f.StringVar(&o.filter.RequestId, "request-id", "", "only the change with this request id")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with each event as it is written")
	options.NotInFile(f, "is for the command line alone", "actor", "action", "subject", "result", "since", "until", "request-id", "follow")
	limitFlag(c, &o.limit)
	outputFlag(c, &o.output, "EPOCH.REVISION")
	_ = c.RegisterFlagCompletionFunc("result", cobra.FixedCompletions(eventResults, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("action", cobra.FixedCompletions([]string{"apply", "override", "rollback", "latch", "break-glass"}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"actor", "subject", "since", "until", "request-id"} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return c
}

// check checks the flags and completes the filter.
func (o *eventOptions) check(a *app) error {
	if err := checkLimit(o.limit); err != nil {
		return err
	}
	if r := o.filter.Result; r != "" && r != eventResults[0] && r != eventResults[1] && r != eventResults[2] {
		return usagef("--result %q: want done, forced or refused", r)
	}
	now := a.Now()
	if o.since != "" {
		at, err := parsePast(o.since, now)
		if err != nil {
			return usagef("--since %q: %w", o.since, err)
		}
		o.filter.Since = timestamppb.New(at)
	}
	if o.until != "" {
		at, err := parsePast(o.until, now)
		switch {
		case err != nil:
			return usagef("--until %q: %w", o.until, err)
		case o.follow:
			return usagef("--until: --follow ends when it is interrupted")
		case o.filter.Since != nil && !o.filter.GetSince().AsTime().Before(at):
			return usagef("--until %s: is not after --since %s", o.until, o.since)
		}
		o.filter.Until = timestamppb.New(at)
	}
	if o.follow && (o.output == formatYAML || o.output == formatName) {
		return usagef("-o %s: with --follow want table, wide or json", o.output)
	}
	return nil
}

// nothing tells a person that a list is empty.
func (a *app) nothing(text string) error {
	fmt.Fprintln(a.Err, text)
	return nil
}

func (a *app) events(ctx context.Context, o eventOptions) error {
	if err := o.check(a); err != nil {
		return err
	}
	if o.follow {
		return a.followEvents(ctx, o)
	}
	return a.with(ctx, 0, func(ctx context.Context, c *client) error {
		all, err := c.events(ctx, o.filter, o.limit)
		if err != nil {
			return err
		}
		switch {
		case o.output == formatJSON:
			var b bytes.Buffer
			for _, e := range all.GetEvents() {
				line, err := jsonLine(e)
				if err != nil {
					return err
				}
				b.Write(line)
			}
			return a.write(b.Bytes(), nil)
		case len(all.GetEvents()) == 0 && o.output != formatYAML && o.output != formatName:
			return a.nothing("no events")
		}
		var names []string
		for _, e := range all.GetEvents() {
			names = append(names, generation(e.GetGeneration()).String())
		}
		return a.emit(o.output, all, names, func(p *printer) { eventTable(p, all.GetEvents()).print(p) })
	})
}

// events lists audit events, at most so many; 0: all.
func (c *client) events(ctx context.Context, filter *pb.EventFilter, limit int) (*pb.ListEventsResponse, error) {
	all := &pb.ListEventsResponse{}
	for token := ""; ; {
		page, err := c.ListEvents(ctx, &pb.ListEventsRequest{PageSize: pageSize(limit, len(all.Events)), PageToken: token, Filter: filter})
		if err != nil {
			return nil, err
		}
		all.Events = append(all.Events, page.GetEvents()...)
		if token = page.GetNextPageToken(); token == "" || limit > 0 && len(all.Events) >= limit {
			return all, nil
		}
	}
}

func eventTable(p *printer, events []*pb.AuditEvent) *table {
	titles := []string{"TIME", "BY", "AUTHOR", "FROM", "ACTION", "RESULT", "WHAT", "REASON", "GENERATION"}
	if p.wide {
		titles = append(titles, "REQUEST")
	}
	t := newTable(titles...)
	for _, e := range events {
		row := []any{moment(e.GetTime()), e.GetActor(), authorBesides(e), e.GetPeer(), e.GetAction(), resultCell(e), subjects(p, e), e.GetReason(), generation(e.GetGeneration()).String()}
		if p.wide {
			row = append(row, e.GetRequestId())
		}
		t.row(row...)
		if p.wide {
			t.below(eventWords(e))
		}
	}
	return t
}

// authorBesides is who is said to have decided it, where that is not the caller.
func authorBesides(e *pb.AuditEvent) string {
	if a := e.GetAuthor(); a != e.GetActor() && !sameName(e.GetActor(), a) {
		return a
	}
	return ""
}

// resultCell is the result of a change; events of older versions state none, and
// were done.
func resultCell(e *pb.AuditEvent) cell {
	switch r := e.GetResult(); r {
	case "":
		return cell{text: "done"}
	case "forced":
		return cell{r, yellow}
	case "refused":
		return cell{r, red}
	default:
		return cell{text: r}
	}
}
