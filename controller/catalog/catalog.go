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
	"sync"

	"golang.org/x/time/rate"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

const (
	// readAttempts is how often Read looks at a head that it does not trust.
	readAttempts = 3
	// maxReads bounds how often it looks altogether, while this controller's
	// own changes overtake it.
	maxReads = 32
)

// Version is everything of one generation. Immutable. Before the first change
// its generation is zero, its head nil and its tree empty.
type Version struct {
	Generation regions.Generation
	Head       *pb.Head
	*plan.Tree

	Cluster uint64 // the etcd cluster that it was read from
}

// Catalog reads and writes versions.
type Catalog struct {
	store    *store.Store
	log      *slog.Logger
	found    func(*Version)
	refusals *rate.Limiter

	mu        sync.Mutex
	last      *Version // the newest version read or written; its objects are not fetched again
	witnesses map[string]witness
}

// New returns a catalog over a store.
func New(s *store.Store, log *slog.Logger) *Catalog {
	return &Catalog{store: s, log: log, found: func(*Version) {}, refusals: newRefusals(), witnesses: map[string]witness{}}
}

// OnChange has fn called with the version that a Change made or came upon,
// before Change returns. Call it before the catalog is used.
func (c *Catalog) OnChange(fn func(*Version)) { c.found = fn }

// Read returns the current version.
func (c *Catalog) Read(ctx context.Context) (v *Version, err error) {
	doubts := 0
	for range maxReads {
		known := c.newest()
		var h store.Head
		if h, err = c.store.Head(ctx); err != nil {
			return nil, err
		}
		v, err = c.Load(ctx, h)
		// While this head was on its way, others may have seen a newer one, or
		// even collected its objects.
		if !errors.Is(err, ErrLineage) && !errors.Is(err, store.ErrMissingObject) {
			return v, err
		}
		// What was known before the head was read, the head must follow from;
		// what this controller has learnt since only says that it is old.
		if c.newest() == known {
			if doubts++; doubts == readAttempts {
				break
			}
		}
	}
	return nil, err
}

// Load returns the version under a head. Every object is checked against its
// digest; a tree with something missing or altered is an error, never a
// smaller configuration. So is a head that does not follow from what is known
// (ErrLineage).
func (c *Catalog) Load(ctx context.Context, h store.Head) (*Version, error) {
	known, err := c.check(h)
	if err != nil {
		return nil, err
	}
	if h.Revision == 0 {
		return nothing(h.Cluster)
	}
	gen := h.Generation()
	if known.Generation == gen {
		return known, nil
	}
	tree, err := c.readTree(ctx, h.Head, known)
	if err != nil {
		return nil, fmt.Errorf("generation %v: %w", gen, err)
	}
	return c.keep(&Version{Generation: gen, Head: h.Head, Tree: tree, Cluster: h.Cluster}), nil
}

// nothing is the version before the first change.
func nothing(cluster uint64) (*Version, error) {
	empty, err := config.NewSet(nil)
	return &Version{Tree: &plan.Tree{Set: empty}, Cluster: cluster}, err
}

// readTree reads the tree under a head; what the known version has too is not
// fetched.
func (c *Catalog) readTree(ctx context.Context, h *pb.Head, known *Version) (*plan.Tree, error) {
	return plan.Read(h, known.Tree, known.Head, func(digests []plan.Digest) (plan.Objects, error) {
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
}

// Remember takes a version that was verified elsewhere, as on disk: what is
// read from the store afterwards must follow on it.
func (c *Catalog) Remember(v *Version) { c.keep(v) }

// keep takes note of a version. It returns the one that stands for this
// generation from now on: there is one set for each, and whoever finds the same
// set in two versions need not compare them.
func (c *Catalog) keep(v *Version) *Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil && c.last.Generation == v.Generation {
		return c.last
	}
	if c.last == nil || c.last.Generation.Compare(v.Generation) < 0 {
		c.last = v
	}
	return v
}

func (c *Catalog) newest() *Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}
