package catalog

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// ErrNotKept says that there is no such generation, or that it was collected.
var ErrNotKept = errors.New("the generation is not kept")

// Record is a generation in the history.
type Record struct {
	Generation regions.Generation
	// Event is the change that made it, without the head.
	Event *pb.AuditEvent
	// Kept tells whether its configuration can still be read.
	Kept bool
}

// Events lists audit events, without the heads, as store.FindEvents does.
func (c *Catalog) Events(ctx context.Context, q store.EventQuery) ([]*pb.AuditEvent, string, error) {
	events, next, err := c.store.FindEvents(ctx, q)
	for _, e := range events {
		e.Head = nil
	}
	return events, next, err
}

// Tail follows the audit events, as store.Tail does.
func (c *Catalog) Tail(ctx context.Context, after string) (*store.Tail, error) {
	return c.store.Tail(ctx, after)
}

// History lists the generations that events tell of, newest first, in pages as
// store.FindEvents does.
func (c *Catalog) History(ctx context.Context, limit int, page string) ([]Record, string, error) {
	// The floor may rise meanwhile, never sink: what is said to be kept may not
	// be any more when it is asked for.
	floor, err := c.store.Floor(ctx)
	if err != nil {
		return nil, "", err
	}
	events, next, err := c.store.FindEvents(ctx, store.EventQuery{
		Limit: limit, Page: page, Match: func(e *pb.AuditEvent) bool { return e.GetResult() != store.ResultRefused },
	})
	if err != nil {
		return nil, "", err
	}
	records := make([]Record, len(events))
	for i, e := range events {
		gen := regions.Generation{Epoch: e.GetGeneration().GetEpoch(), Revision: e.GetGeneration().GetRevision()}
		records[i] = Record{Generation: gen, Event: e, Kept: e.GetHead() != nil && gen.Compare(floor) >= 0}
		e.Head = nil
	}
	return records, next, nil
}

// Generation reads an older version, or the current one. The error is
// ErrNotKept if it is not there any more.
func (c *Catalog) Generation(ctx context.Context, gen regions.Generation) (*Version, error) {
	v, err := c.Read(ctx)
	if err != nil {
		return nil, err
	}
	if v.Generation == gen {
		return v, nil
	}
	e, err := c.store.Event(ctx, gen)
	if err != nil {
		return nil, err
	}
	if err := c.kept(ctx, gen, e); err != nil {
		return nil, err
	}
	tree, err := c.readTree(ctx, e.GetHead(), v)
	if errors.Is(err, store.ErrMissingObject) {
		// Collected while it was read, or lost.
		if gone := c.kept(ctx, gen, e); gone != nil {
			return nil, gone
		}
	}
	if err != nil {
		return nil, fmt.Errorf("generation %v: %w", gen, err)
	}
	return &Version{Generation: gen, Head: proto.CloneOf(e.GetHead()), Tree: tree, Cluster: v.Cluster}, nil
}

// kept returns ErrNotKept if a generation, made by an event (nil: there is
// none), is not kept.
func (c *Catalog) kept(ctx context.Context, gen regions.Generation, e *pb.AuditEvent) error {
	if e.GetHead() == nil {
		return fmt.Errorf("%w: %v: want one that the history lists", ErrNotKept, gen)
	}
	floor, err := c.store.Floor(ctx)
	if err != nil {
		return err
	}
	if gen.Compare(floor) < 0 {
		return fmt.Errorf("%w: %v: the oldest is %v", ErrNotKept, gen, floor)
	}
	return nil
}
