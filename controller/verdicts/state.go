package verdicts

import (
	"fmt"
	"iter"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// Version orders the states of one incarnation. States of two incarnations are
// compared by digest.
type Version struct{ Incarnation, Number uint64 }

func (v Version) String() string { return fmt.Sprintf("%016x.%d", v.Incarnation, v.Number) }

// Target is one target with its verdict. It is never written to: a target that
// changes is another Target, so equal pointers mean that nothing changed.
type Target struct {
	ID string
	health.Verdict
}

// State is the health state at one moment. It is immutable and shares with the
// state before it what did not change.
type State struct {
	Version Version
	// Generation is that of the plan whose targets are judged.
	Generation regions.Generation
	// Digest is over all verdicts and latches.
	Digest health.Digest
	// Latches are those that stand, by service and region. Not to be written to.
	Latches []regions.Latch
	// Guard is what the mass-withdrawal guard holds.
	Guard GuardStatus

	// Ready is false until the judge knows enough to be followed, and again
	// after a pause.
	Ready bool
	// AgentsFresh of AgentsRegistered agents are heard.
	AgentsFresh, AgentsRegistered int
	// EvidenceAge is for how long too few registered regions have been heard to
	// decide (tally.evidenceAt), when State was called; since the judge was made,
	// if they never were.
	EvidenceAge time.Duration

	index  *index
	chunks []*chunk
}

// GuardStatus is what the mass-withdrawal guard holds. The zero value: nothing.
type GuardStatus struct {
	// Trip is what a release cites.
	Trip uint64
	// Held targets, of which Targets names the first hundred.
	Held    int
	Targets []string
	// Reason says why, with the numbers, and what to do.
	Reason string
	// Since is when it tripped, as far as this controller knows.
	Since time.Time
}

// index finds targets by id. It is shared by all states with the same targets.
type index struct {
	ids []string
	at  map[string]int
}

// Targets are kept in chunks, and a state is a list of chunks: a change costs
// one chunk and the list, not a copy of the table.
const chunkSize = 256

type chunk [chunkSize]*Target

// Len is the number of targets.
func (s *State) Len() int { return len(s.index.ids) }

// Get finds a target by its id.
func (s *State) Get(id string) (*Target, bool) {
	i, ok := s.index.at[id]
	if !ok {
		return nil, false
	}
	return s.target(i), true
}

// All goes through the targets in the order of their ids.
func (s *State) All() iter.Seq[*Target] {
	return func(yield func(*Target) bool) {
		for i := range s.index.ids {
			if !yield(s.target(i)) {
				return
			}
		}
	}
}

func (s *State) target(i int) *Target { return s.chunks[i/chunkSize][i%chunkSize] }

// Diff is what to change in an older state to get a newer one.
type Diff struct {
	Changed []*Target
	Removed []string
}

// Since is what changed since an older state of the same judge. It costs what
// changed, as long as the targets are the same.
func (s *State) Since(old *State) Diff {
	var d Diff
	if s.index == old.index {
		for c, now := range s.chunks {
			if was := old.chunks[c]; now != was {
				for i, t := range now {
					if t != was[i] {
						d.Changed = append(d.Changed, t)
					}
				}
			}
		}
		return d
	}
	for t := range s.All() {
		if was, ok := old.Get(t.ID); !ok || was != t {
			d.Changed = append(d.Changed, t)
		}
	}
	for _, id := range old.index.ids {
		if _, ok := s.index.at[id]; !ok {
			d.Removed = append(d.Removed, id)
		}
	}
	return d
}

// table is the owner's side of the chunks: it copies a chunk before the first
// write after a state was taken.
type table struct {
	index  *index
	chunks []*chunk
	own    []bool // chunks that no state shares
}

// newTable makes a table over sorted ids, with targets from another.
func newTable(ids []string, from *table) *table {
	t := &table{index: &index{ids: ids, at: make(map[string]int, len(ids))}}
	t.chunks = make([]*chunk, (len(ids)+chunkSize-1)/chunkSize)
	t.own = make([]bool, len(t.chunks))
	for c := range t.chunks {
		t.chunks[c], t.own[c] = new(chunk), true
	}
	for i, id := range ids {
		t.index.at[id] = i
		target := &Target{ID: id}
		if from != nil {
			if j, ok := from.index.at[id]; ok {
				target = from.get(j)
			}
		}
		t.set(i, target)
	}
	return t
}

func (t *table) get(i int) *Target { return t.chunks[i/chunkSize][i%chunkSize] }

func (t *table) set(i int, target *Target) {
	c := i / chunkSize
	if !t.own[c] {
		was := *t.chunks[c]
		t.chunks[c], t.own[c] = &was, true
	}
	t.chunks[c][i%chunkSize] = target
}

// share hands out the chunks; from now on writes copy.
func (t *table) share() []*chunk {
	clear(t.own)
	return append([]*chunk(nil), t.chunks...)
}
