package cli

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func (a *app) eventsCommand() *cobra.Command {
	var limit int
	var output format
	c := &cobra.Command{
		Use:   "events",
		Short: "List who changed what, newest first",
		Long: `List the audit events, newest first: who changed what, when, from where and why.
Each is written in the very transaction that makes the change.

-o json prints one event a line.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error { return a.events(c.Context(), limit, output) },
	}
	limitFlag(c, &limit)
	outputFlag(c, &output, "EPOCH.REVISION")
	return c
}

// nothing tells a person that a list is empty.
func (a *app) nothing(text string) error {
	fmt.Fprintln(a.Err, text)
	return nil
}

func (a *app) events(ctx context.Context, limit int, output format) error {
	if err := checkLimit(limit); err != nil {
		return err
	}
	return a.with(ctx, 0, func(ctx context.Context, c *client) error {
		all, err := c.events(ctx, limit)
		if err != nil {
			return err
		}
		switch {
		case output == formatJSON:
			var b bytes.Buffer
			for _, e := range all.GetEvents() {
				line, err := jsonLine(e)
				if err != nil {
					return err
				}
				b.Write(line)
			}
			return a.write(b.Bytes(), nil)
		case len(all.GetEvents()) == 0 && output != formatYAML && output != formatName:
			return a.nothing("no events")
		}
		var names []string
		for _, e := range all.GetEvents() {
			names = append(names, generation(e.GetGeneration()).String())
		}
		return a.emit(output, all, names, func(p *printer) { eventTable(p, all.GetEvents()).print(p) })
	})
}

// events lists audit events, at most so many; 0: all.
func (c *client) events(ctx context.Context, limit int) (*pb.ListEventsResponse, error) {
	all := &pb.ListEventsResponse{}
	for token := ""; ; {
		page, err := c.ListEvents(ctx, &pb.ListEventsRequest{PageSize: pageSize(limit, len(all.Events)), PageToken: token})
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
	titles := []string{"TIME", "BY", "FROM", "ACTION", "WHAT", "REASON", "GENERATION"}
	if p.wide {
		titles = append(titles, "REQUEST")
	}
	t := newTable(titles...)
	for _, e := range events {
		row := []any{moment(e.GetTime()), e.GetActor(), e.GetPeer(), e.GetAction(), subjects(p, e), e.GetReason(), generation(e.GetGeneration()).String()}
		if p.wide {
			row = append(row, e.GetRequestId())
		}
		t.row(row...)
	}
	return t
}
