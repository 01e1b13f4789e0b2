package catalog

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/regions"
)

// ErrLineage says that the head does not follow from the generations that are
// known: it was removed, altered by hand, restored from an older backup without
// a new epoch, or it belongs to somebody else. Such a head is neither published
// nor written over, until it is mended.
var ErrLineage = errors.New("the head is not trusted")

// witness is a nameserver that serves a generation: whatever the store says,
// that one existed.
type witness struct {
	generation   regions.Generation
	installation string
}

// Saw notes which generation a nameserver serves, and Lost that it is no longer
// connected. A witness of another installation only counts while nothing is in
// the store.
func (c *Catalog) Saw(nameserver string, gen regions.Generation, installation string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gen.IsZero() {
		delete(c.witnesses, nameserver)
		return
	}
	w := witness{gen, installation}
	if here := c.last.installation(); here != "" && installation != "" && installation != here && c.witnesses[nameserver].installation != installation {
		c.log.Error("a nameserver serves another installation; it takes nothing from here", "nameserver", nameserver,
			"generation", gen.String(), "installation", installation, "want", here)
	}
	c.witnesses[nameserver] = w
}

// Lost undoes Saw.
func (c *Catalog) Lost(nameserver string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.witnesses, nameserver)
}

// check tells whether a head may be what follows. It returns the newest
// version known, which has no tree if there is none.
func (c *Catalog) check(h store.Head) (*Version, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.last
	if known == nil {
		known = &Version{}
	}
	if err := known.precedes(h); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLineage, err)
	}
	for name, w := range c.witnesses {
		if err := w.precedes(name, h); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrLineage, err)
		}
	}
	return known, nil
}

// precedes returns an error unless the head is this version's or may be a later one's.
func (v *Version) precedes(h store.Head) error {
	gen := h.Generation()
	switch {
	case v.Head == nil:
		return nil
	case h.Revision == 0:
		return fmt.Errorf("the head key is gone, and generation %v was there: restore a backup", v.Generation)
	case h.GetInstallation() != v.Head.GetInstallation():
		return fmt.Errorf("it belongs to installation %q, and this is %q: point the controller at its own etcd, or start it anew for the other",
			h.GetInstallation(), v.Head.GetInstallation())
	case gen.Compare(v.Generation) < 0:
		return fmt.Errorf("its generation %v is older than %v: restore a backup, which raises the epoch", gen, v.Generation)
	case gen.Epoch > v.Generation.Epoch:
		return nil // restored on purpose
	case h.Cluster != v.Cluster:
		return fmt.Errorf("etcd cluster %x answers, and generation %v was read from %x: restore a backup, which raises the epoch", h.Cluster, v.Generation, v.Cluster)
	case gen == v.Generation:
		if !bytes.Equal(h.GetManifest(), v.Head.GetManifest()) || !bytes.Equal(h.GetOverrides(), v.Head.GetOverrides()) {
			return fmt.Errorf("generation %v has other contents than before: restore a backup, which raises the epoch", gen)
		}
	case h.GetPreviousRevision() < v.Generation.Revision:
		// Every change names the head that it replaced, so none that came after
		// v can name one before v.
		return fmt.Errorf("revision %d says that it replaced revision %d, and generation %v was there in between: somebody wrote the head by hand",
			h.Revision, h.GetPreviousRevision(), v.Generation)
	}
	return nil
}

func (w witness) precedes(name string, h store.Head) error {
	gen := h.Generation()
	switch {
	case h.Revision == 0:
		return fmt.Errorf("there is none, and nameserver %q serves generation %v of installation %q: restore a backup, or empty its snapshot directory",
			name, w.generation, w.installation)
	case h.GetInstallation() == w.installation && gen.Compare(w.generation) < 0:
		return fmt.Errorf("its generation %v is older than %v, which nameserver %q serves: restore a backup, which raises the epoch", gen, w.generation, name)
	}
	return nil
}
