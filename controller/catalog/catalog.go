// Package catalog reads and changes the configuration and the overrides: the
// tree of objects under the head key. It may import controller/store and the
// pure packages below regions. Its data come from etcd; what it has read and
// verified it keeps in memory, because objects never change.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// maxAttempts bounds how often a change is tried against other writers.
const maxAttempts = 32

// Version is everything of one generation. Immutable. Before the first change
// its generation is zero, its head nil and its tree empty.
type Version struct {
	Generation regions.Generation
	Head       *pb.Head
	*plan.Tree
}

// Catalog reads and writes versions.
type Catalog struct {
	store *store.Store
	log   *slog.Logger

	mu   sync.Mutex
	last *Version // the newest version read or written; its objects are not fetched again
}

// New returns a catalog over a store.
func New(s *store.Store, log *slog.Logger) *Catalog { return &Catalog{store: s, log: log} }

// Read returns the current version.
func (c *Catalog) Read(ctx context.Context) (*Version, error) {
	h, err := c.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	return c.Load(ctx, h)
}

// Load returns the version under a head. Every object is checked against its
// digest; a tree with something missing or altered is an error, never a
// smaller configuration.
func (c *Catalog) Load(ctx context.Context, h store.Head) (*Version, error) {
	if h.Revision == 0 {
		empty, err := config.NewSet(nil)
		return &Version{Tree: &plan.Tree{Set: empty}}, err
	}
	gen := regions.Generation{Epoch: h.GetEpoch(), Revision: h.Revision}
	known := c.known()
	if known.Generation == gen {
		return known, nil
	}
	tree, err := plan.Read(h.Head, known.Tree, known.Head, func(digests []plan.Digest) (plan.Objects, error) {
		names := make([]store.Digest, len(digests))
		for i, d := range digests {
			names[i] = store.Digest(d)
		}
		got, err := c.store.Get(ctx, names)
		if err != nil {
			return nil, err
		}
		objects := make(plan.Objects, len(got))
		for d, data := range got {
			objects[plan.Digest(d)] = data
		}
		return objects, nil
	})
	if err != nil {
		return nil, fmt.Errorf("generation %v: %w", gen, err)
	}
	v := &Version{Generation: gen, Head: h.Head, Tree: tree}
	c.keep(v)
	return v, nil
}

func (c *Catalog) known() *Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		return &Version{}
	}
	return c.last
}

func (c *Catalog) keep(v *Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || c.last.Generation.Compare(v.Generation) < 0 {
		c.last = v
	}
}

// Request says who changes what and why.
type Request struct {
	ID     string // repeating a request with the same id changes nothing; optional
	Actor  string
	Peer   string
	Action string
	Reason string
}

// Edit is what a change makes of the current version. A nil Set leaves the
// configuration as it is, and Overrides counts only with SetOverrides.
type Edit struct {
	Set          *config.Set
	Overrides    []*pb.Override
	SetOverrides bool
	Subjects     []string
}

// Change reads the current version, lets edit decide, and swaps the head. When
// another writer was faster it reads and decides again, so that edit's rules
// hold for the very version that is replaced. It returns the version that
// holds the change; that is the current one when edit changes nothing.
func (c *Catalog) Change(ctx context.Context, req Request, edit func(*Version) (Edit, error)) (*Version, error) {
	for attempt := range maxAttempts {
		v, err := c.Read(ctx)
		if err != nil {
			return nil, err
		}
		e, err := edit(v)
		if err != nil {
			return nil, err
		}
		if e.Set == nil && !e.SetOverrides {
			return v, nil
		}
		next, err := c.swap(ctx, req, v, e)
		var repeated *store.RepeatedError
		switch {
		case err == nil:
			return next, nil
		case errors.As(err, &repeated):
			return c.Read(ctx) // the earlier request with this id did the work
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

func (c *Catalog) swap(ctx context.Context, req Request, v *Version, e Edit) (*Version, error) {
	set, overrides := v.Set, v.Overrides
	if e.Set != nil {
		set = e.Set
	}
	if e.SetOverrides {
		overrides = slices.SortedFunc(slices.Values(e.Overrides), func(a, b *pb.Override) int { return strings.Compare(a.GetId(), b.GetId()) })
	}
	tree, head, err := plan.Write(set, overrides, v.Tree, v.Head)
	if err != nil {
		return nil, err
	}
	var missing [][]byte
	for d, data := range tree.Objects {
		if _, have := v.Objects[d]; !have {
			missing = append(missing, data)
		}
	}
	if _, err := c.store.Put(ctx, missing); err != nil {
		return nil, err
	}
	now := timestamppb.Now()
	head.Epoch = max(v.Head.GetEpoch(), 1)
	head.PreviousRevision = v.Generation.Revision
	head.Time = now
	if head.Installation = v.Head.GetInstallation(); head.Installation == "" {
		head.Installation = fmt.Sprintf("%016x", rand.Uint64())
	}
	rev, err := c.store.Swap(ctx, store.Swap{
		Expect: v.Generation.Revision, Head: head, RequestID: req.ID,
		Event: &pb.AuditEvent{
			Time: now, Actor: req.Actor, Peer: req.Peer, Action: req.Action, Subjects: e.Subjects,
			Reason: req.Reason, RequestId: req.ID, PreviousRevision: v.Generation.Revision,
		},
	})
	if err != nil {
		return nil, err
	}
	next := &Version{Generation: regions.Generation{Epoch: head.Epoch, Revision: rev}, Head: proto.CloneOf(head), Tree: tree}
	c.keep(next)
	return next, nil
}
