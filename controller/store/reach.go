package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Retention says what Collect keeps.
type Retention struct {
	// Generations is how many are kept whatever their age, the current one
	// among them.
	Generations int
	// Younger ones than Period are kept too, as long as all that is kept has
	// less than MaxBytes.
	Period   time.Duration
	MaxBytes uint64
	// An event is removed when it is older than EventPeriod, or Events newer
	// ones are there, unless its generation is kept. Refusals have a number of
	// their own: they push out no change.
	EventPeriod time.Duration
	Events      int
	Refusals    int
	// Grace is how long at least an object is kept that nothing refers to.
	Grace time.Duration
}

// DefaultRetention keeps 100 generations, a week's up to 512 MiB, and of the last
// 400 days the events of up to 10,000 changes and 1,000 refusals.
func DefaultRetention() Retention {
	const day = 24 * time.Hour
	return Retention{Generations: 100, Period: 7 * day, MaxBytes: 512 << 20, EventPeriod: 400 * day, Events: 10_000, Refusals: 1000, Grace: time.Hour}
}

func (o CollectOptions) validate() error {
	var errs []error
	if o.Generations < 1 {
		errs = append(errs, fmt.Errorf("store: %d generations to keep: want 1 at least, the current one", o.Generations))
	}
	if o.Retention.Events < o.Generations {
		errs = append(errs, fmt.Errorf("store: %d events to keep: want as many as generations, %d, at least", o.Events, o.Generations))
	}
	if o.EventPeriod < o.Period {
		errs = append(errs, fmt.Errorf("store: events are kept for %v: want as long as generations, %v, at least", o.EventPeriod, o.Period))
	}
	if o.Refusals < 1 {
		// The number of the next one is found from the newest (Refuse).
		errs = append(errs, fmt.Errorf("store: %d refusals to keep: want 1 at least", o.Refusals))
	}
	if o.Period < 0 || o.Grace < 0 || o.NotWithin < 0 || o.Pause < 0 {
		errs = append(errs, errors.New("store: a time to keep something for is negative"))
	}
	if o.References == nil || o.Now.IsZero() {
		errs = append(errs, errors.New("store: collection needs the time and to know what manifests refer to"))
	}
	return errors.Join(errs...)
}

// mark decides which generations are kept and notes what they refer to. The
// head counts, whatever the events say.
func (r *collection) mark(ctx context.Context) error {
	if err := r.refer(ctx, r.head.Head); err != nil {
		return fmt.Errorf("the head, generation %v: %w", r.head.Generation(), err)
	}
	r.result.Floor, r.result.Generations = r.head.Generation(), 1
	floor := generationOf(&pb.AuditEvent{Generation: r.state.GetFloor()})
	return r.history(ctx, func(e *pb.AuditEvent) (bool, error) {
		gen := generationOf(e)
		switch {
		case gen.Compare(floor) < 0:
			return false, nil
		case e.GetHead() == nil || gen == r.head.Generation():
			return true, nil
		case gen.Compare(r.head.Generation()) > 0: // made since the head was read
		case r.result.Generations < r.Generations:
		case r.Now.Sub(e.GetTime().AsTime()) >= r.Period || r.result.Bytes >= r.MaxBytes:
			return false, nil
		}
		r.result.Generations++
		if gen.Compare(r.result.Floor) < 0 {
			r.result.Floor = gen
		}
		return true, r.refer(ctx, e.GetHead())
	})
}

// remark notes what the generations refer to that were made since the last
// look, and whose head is the current one.
func (r *collection) remark(ctx context.Context) error {
	h, err := r.Store.Head(ctx)
	switch {
	case err != nil:
		return err
	case h.Revision == 0:
		return ErrHeadLost
	case h.GetEpoch() != r.head.GetEpoch() || h.GetInstallation() != r.head.GetInstallation():
		return fmt.Errorf("%w: the store was restored", ErrConflict)
	}
	if r.Trust != nil {
		if err := r.Trust(h); err != nil {
			return err
		}
	}
	if err := r.refer(ctx, h.Head); err != nil {
		return fmt.Errorf("the head, generation %v: %w", h.Generation(), err)
	}
	before := r.newest
	err = r.history(ctx, func(e *pb.AuditEvent) (bool, error) {
		if generationOf(e).Compare(before) <= 0 {
			return false, nil
		}
		if e.GetHead() == nil {
			return true, nil
		}
		r.result.Generations++
		return true, r.refer(ctx, e.GetHead())
	})
	if err == nil {
		r.head = h // only now is reach made for it
	}
	return err
}

// history visits the events of changes, newest first, until visit returns false.
func (r *collection) history(ctx context.Context, visit func(*pb.AuditEvent) (bool, error)) error {
	for page, seen := "", false; ; {
		events, next, err := r.Events(ctx, 0, page)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.GetResult() == ResultRefused {
				continue
			}
			if !seen {
				seen, r.newest = true, generationOf(e)
			}
			more, err := visit(e)
			if err != nil {
				return fmt.Errorf("generation %v: %w", generationOf(e), err)
			}
			if !more {
				return nil
			}
		}
		if page = next; page == "" {
			return nil
		}
	}
}

// refer notes what a head refers to.
func (r *collection) refer(ctx context.Context, h *pb.Head) error {
	if err := validateHead(h); err != nil {
		return err
	}
	if len(h.GetOverrides()) > 0 {
		r.reach[Digest(h.GetOverrides())] = true
	}
	m := Digest(h.GetManifest())
	if r.manifests[m] {
		return nil
	}
	got, err := r.Get(ctx, []Digest{m})
	if err != nil {
		return err
	}
	refs, err := r.References(got[m])
	if err != nil {
		return fmt.Errorf("manifest %v: %w", m, err)
	}
	for _, ref := range append(refs, Reference{m, uint64(len(got[m]))}) {
		if !r.reach[ref.Digest] {
			r.reach[ref.Digest] = true
			r.result.Bytes += ref.Size
		}
	}
	r.manifests[m] = true
	return nil
}
