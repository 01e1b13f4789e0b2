package probes

import (
	"fmt"
	"log/slog"
	"sync"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// MaxTargets bounds what an agent lets itself be assigned.
const MaxTargets = 200_000

// follow keeps the newest assignments that any controller sent. A controller
// that lags behind, or that has just woken up from a pause, cannot take them back.
type follow struct {
	log *slog.Logger

	mu         sync.Mutex
	generation regions.Generation
	newest     *pb.Assignments // nil: none yet

	// wake says that there are newer ones.
	wake chan struct{}
}

func newFollow(log *slog.Logger) *follow {
	return &follow{log: log, wake: make(chan struct{}, 1)}
}

// offer takes assignments, if they are newer than what there is.
func (f *follow) offer(a *pb.Assignments, from string) error {
	g := regions.Generation{Epoch: a.GetGeneration().GetEpoch(), Revision: a.GetGeneration().GetRevision()}
	if g.IsZero() {
		return fmt.Errorf("assignments without a generation from %s: not taken", from)
	}
	if n := len(a.GetAssignments()); n > MaxTargets {
		return fmt.Errorf("%d assignments of generation %s from %s: want at most %d, keeping those of %s", n, g, from, MaxTargets, f.current())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.newest != nil && g.Compare(f.generation) <= 0 {
		return nil
	}
	f.log.Info("assignments", "generation", g.String(), "from", from, "targets", len(a.GetAssignments()), "was", f.generation.String())
	f.generation, f.newest = g, a
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return nil
}

// take returns the newest assignments.
func (f *follow) take() *pb.Assignments {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest
}

func (f *follow) current() regions.Generation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.generation
}
