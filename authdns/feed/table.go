package feed

import (
	"errors"
	"fmt"
	"maps"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

const (
	// maxTargets bounds a table, far above what a configuration may hold that
	// agents can probe.
	maxTargets = 2_000_000
	// maxLatches bounds the latches: a region of a service each.
	maxLatches = 1_000_000
	// maxTargetID bounds a target's id, in bytes.
	maxTargetID = 512
)

// table is a controller's verdicts, without their evidence. A full update may take several messages;
// the table is whole when a heartbeat has confirmed its digest, and answers are
// made from whole tables only.
type table struct {
	// filled: a full update began, and what came since matches its digests.
	filled  bool
	whole   bool
	version *pb.HealthVersion
	digest  health.Digest
	targets map[string]health.Verdict
	latches []regions.Latch
	// dirty are those of targets to be taken: that changed since the last changes,
	// or were marked; nil: all.
	dirty   map[string]struct{}
	latched bool // the latches have, since they were taken
}

// take applies an update. It returns why all must be asked for anew, if so; an
// error when not even that helps.
func (t *table) take(u *pb.HealthUpdate, now time.Time) (trouble string, err error) {
	switch {
	case u.GetFull():
		*t = table{filled: true, targets: make(map[string]health.Verdict, len(u.GetTargets()))}
	case !t.filled:
		return "", nil // waiting for a full one
	case u.GetVersion().GetIncarnation() != t.version.GetIncarnation() || u.GetVersion().GetNumber() < t.version.GetNumber():
		return t.distrust("version out of order"), nil
	}
	if u.GetLatches() != nil {
		if n := len(u.GetLatches().GetLatches()); n > maxLatches {
			return "", fmt.Errorf("%d latches, at most %d", n, maxLatches)
		}
		is := healthpb.ParseLatches(u.GetLatches(), now)
		t.digest = t.digest.ReplaceLatches(t.latches, is)
		t.latches, t.latched = is, true
	}
	for _, m := range u.GetTargets() {
		id := m.GetTarget()
		if len(id) > maxTargetID {
			return "", fmt.Errorf("a target id of %d bytes, at most %d", len(id), maxTargetID)
		}
		v := healthpb.ParseVerdict(m, now)
		if old, had := t.targets[id]; had {
			t.digest = t.digest.RemoveVerdict(id, old)
		}
		t.digest = t.digest.AddVerdict(id, v)
		t.targets[id] = v
		t.mark(id)
	}
	for _, id := range u.GetRemoved() {
		if old, had := t.targets[id]; had {
			t.digest = t.digest.RemoveVerdict(id, old)
			delete(t.targets, id)
			delete(t.dirty, id)
		}
	}
	if len(t.targets) > maxTargets {
		return "", fmt.Errorf("more than %d targets", maxTargets)
	}
	t.version = u.GetVersion()
	if uint64(t.digest) == u.GetDigest() {
		return "", nil
	}
	if u.GetFull() {
		return "", errors.New("a full table does not match its own digest")
	}
	return t.distrust("digest differs"), nil
}

// mark makes the next changes hold a target, if the table does.
func (t *table) mark(id string) {
	if t.dirty == nil {
		return
	}
	if _, has := t.targets[id]; has {
		t.dirty[id] = struct{}{}
	}
}

// confirm compares the table with what a heartbeat says was sent.
func (t *table) confirm(b *pb.Heartbeat) (trouble string) {
	if !t.filled {
		return ""
	}
	if uint64(t.digest) != b.GetDigest() || b.GetVersion().GetIncarnation() != t.version.GetIncarnation() {
		return t.distrust("digest differs from the heartbeat's")
	}
	t.whole = true
	return ""
}

func (t *table) distrust(why string) string {
	t.filled, t.whole = false, false
	return why
}

// Changes are verdicts that changed.
type Changes struct {
	// All: Table is the whole table, not just what changed or was marked.
	All   bool
	Table map[string]health.Verdict
}

func (t *table) changes() Changes {
	if !t.whole {
		return Changes{}
	}
	c := Changes{All: t.dirty == nil}
	switch {
	case c.All:
		c.Table = maps.Clone(t.targets)
	case len(t.dirty) == 0:
		return c
	default:
		c.Table = make(map[string]health.Verdict, len(t.dirty))
		for id := range t.dirty {
			c.Table[id] = t.targets[id]
		}
	}
	t.dirty = map[string]struct{}{}
	return c
}
