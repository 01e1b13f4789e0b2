package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// maxAttempts bounds how often a change is tried against other writers.
const maxAttempts = 32

// MaxResult bounds the result that is kept for a repeated request, in bytes.
const MaxResult = store.MaxResultSize - resultHeader

// ErrOtherRequest says that a request id was used before, for another request.
var ErrOtherRequest = errors.New("this request id was used for another request")

// ErrOverridesFull says that the overrides, and what lies beside them, have no
// room for more.
var ErrOverridesFull = errors.New("there are too many overrides")

// Request says who changes what and why.
type Request struct {
	// ID makes the request repeatable: repeating it changes nothing and gives
	// the same result. Optional. Fingerprint tells it from another request
	// under the same id.
	ID          string
	Fingerprint [32]byte
	Actor       string
	Peer        string
	Action      string
	Reason      string
	// Author is who is said to have decided it.
	Author string
}

// Outcome is what became of a change.
type Outcome struct {
	// Version holds the change: the current one when nothing was to be changed.
	*Version
	// Generation is the one that the change made. When the request is a
	// repeated one, that is older than the version.
	Generation regions.Generation
	Repeated   bool
	Result     []byte // of the earlier request
}

// Change reads the current version, lets edit decide, and swaps the head. When
// another writer was faster it reads and decides again, so that edit's rules
// hold for the very version that is replaced.
func (c *Catalog) Change(ctx context.Context, req Request, edit func(*Version) (Edit, error)) (*Outcome, error) {
	out, err := c.change(ctx, req, edit)
	if err == nil {
		c.found(out.Version)
	}
	return out, err
}

func (c *Catalog) change(ctx context.Context, req Request, edit func(*Version) (Edit, error)) (*Outcome, error) {
	if req.ID != "" {
		// Before edit sees what the request has made already.
		rev, result, found, err := c.store.Request(ctx, req.ID)
		if err != nil {
			return nil, err
		}
		if found {
			return c.repeated(ctx, req, rev, result)
		}
	}
	for attempt := range maxAttempts {
		v, err := c.Read(ctx)
		if err != nil {
			return nil, err
		}
		e, err := edit(v)
		if err != nil {
			return nil, err
		}
		if e.empty() {
			return &Outcome{Version: v, Generation: v.Generation}, nil
		}
		next, err := c.swap(ctx, req, v, e)
		var repeated *store.RepeatedError
		switch {
		case err == nil:
			return &Outcome{Version: next, Generation: next.Generation}, nil
		case errors.As(err, &repeated):
			return c.repeated(ctx, req, repeated.Revision, repeated.Result)
		case !errors.Is(err, store.ErrConflict):
			return nil, err
		}
		c.log.Debug("head moved, deciding again", "action", req.Action, "attempt", attempt+1)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(rand.N(time.Duration(attempt+1) * 5 * time.Millisecond)):
		}
	}
	return nil, fmt.Errorf("gave up after %d attempts: %w", maxAttempts, store.ErrConflict)
}

// The result of a request is stored after its fingerprint and its epoch.
const resultHeader = 32 + 8

func (c *Catalog) repeated(ctx context.Context, req Request, rev int64, stored []byte) (*Outcome, error) {
	if len(stored) < resultHeader || [32]byte(stored) != req.Fingerprint {
		return nil, fmt.Errorf("%w: take a new id for every request (%q)", ErrOtherRequest, req.ID)
	}
	v, err := c.Read(ctx)
	if err != nil {
		// It was made, whatever can be read now.
		if v = c.newest(); v == nil {
			if v, err = nothing(0); err != nil {
				return nil, err
			}
		}
	}
	gen := regions.Generation{Epoch: binary.BigEndian.Uint64(stored[32:]), Revision: rev}
	return &Outcome{Version: v, Generation: gen, Repeated: true, Result: stored[resultHeader:]}, nil
}

func (c *Catalog) swap(ctx context.Context, req Request, v *Version, e Edit) (*Version, error) {
	set, now := v.Set, timestamppb.Now()
	if e.Set != nil {
		set = e.Set
	}
	overrides := e.overrides(v.Tree, now)
	if n := proto.Size(overrides); n > store.MaxObjectSize {
		return nil, fmt.Errorf("%w: all together have %d bytes, and %d is the most: remove some, or give shorter reasons", ErrOverridesFull, n, store.MaxObjectSize)
	}
	tree, head, err := plan.Write(set, overrides, v.Tree, v.Head)
	if err != nil {
		return nil, err
	}
	if e.Set != nil && e.Base != nil {
		tree.Compiled(e.Base)
	}
	var missing [][]byte
	for d, data := range tree.Objects {
		if _, have := v.Objects[d]; !have {
			missing = append(missing, data)
		}
	}
	head.Epoch = max(v.Head.GetEpoch(), 1)
	head.PreviousRevision = v.Generation.Revision
	head.Time = now
	if head.Installation = v.Head.GetInstallation(); head.Installation == "" {
		head.Installation = fmt.Sprintf("%016x", rand.Uint64())
	}
	result := binary.BigEndian.AppendUint64(req.Fingerprint[:], head.Epoch)
	rev, err := c.write(ctx, missing, store.Swap{
		Expect: v.Generation.Revision, Head: head, RequestID: req.ID, Result: append(result, e.Result...),
		Event: e.event(req, v.Tree, tree, now),
	})
	if err != nil {
		return nil, err
	}
	next := &Version{Generation: regions.Generation{Epoch: head.Epoch, Revision: rev}, Head: proto.CloneOf(head), Tree: tree, Cluster: v.Cluster}
	return c.keep(next), nil
}

// write puts the objects that the replaced head does not have, and swaps. When
// objects are collected in between, it puts again those that were, and not all
// over decides again.
func (c *Catalog) write(ctx context.Context, objects [][]byte, w store.Swap) (rev int64, err error) {
	for range maxAttempts {
		if _, w.Mark, err = c.store.Put(ctx, objects); err != nil {
			return 0, err
		}
		if rev, err = c.store.Swap(ctx, w); !errors.Is(err, store.ErrCollected) {
			return rev, err
		}
		c.log.Debug("objects were collected, putting them again", "objects", len(objects))
	}
	return 0, fmt.Errorf("gave up after %d attempts: %w", maxAttempts, err)
}
