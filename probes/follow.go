package probes

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// MaxTargets bounds what an agent lets itself be assigned by one controller.
const MaxTargets = 200_000

// maxPeers bounds the references and the fellow agents that one controller names.
const maxPeers = 1000

// goneAfter is how long the assignments of a controller count whose stream is gone.
const goneAfter = 60 * time.Second

// follow keeps the assignments of the newest generation, a list for each
// controller that sent one; what any of them wants is probed. (Where a check states
// how many vantages a target gets, controllers may differ for a while about who
// they are.)
//
//	a controller                          its list
//	------------------------------------  ---------------------------------------------
//	sends a newer generation than known   is the only one, until others follow
//	sends the newest generation           takes the place of what it sent before
//	sends an older one                    is ignored: it lags behind, or was paused
//	has had no stream for 60 s            goes, unless it is the last one: what was
//	                                      assigned last is probed without controllers
type follow struct {
	log *slog.Logger

	mu         sync.Mutex
	generation regions.Generation
	lists      []*list // of the newest generation, by controller

	// wake says that something has changed.
	wake chan struct{}
}

// list is what one controller wants. Its content is never written to.
type list struct {
	controller string
	generation regions.Generation
	assigned   []assigned
	// references and fellows tell the agent whether it is cut off, HOST:PORT.
	references, fellows []string
	gone                time.Time // when its stream ended; zero: it lives
}

// assigned is one assignment. Equal specifications of one check are one.
type assigned struct {
	target, address string
	spec            *pb.HealthCheckSpec
}

func newFollow(log *slog.Logger) *follow {
	return &follow{log: log, wake: make(chan struct{}, 1)}
}

// offer takes the assignments that a controller sent on a stream; before is what
// this returned last for the stream, nil at first. It returns nil when the
// message cannot be taken.
func (f *follow) offer(a *pb.Assignments, from string, before *list) (*list, error) {
	g := regions.Generation{Epoch: a.GetGeneration().GetEpoch(), Revision: a.GetGeneration().GetRevision()}
	if g.IsZero() {
		return before, fmt.Errorf("assignments without a generation from %s: not taken", from)
	}
	l := &list{controller: from, generation: g}
	switch n, peers := len(a.GetAssignments()), max(len(a.GetReferences()), len(a.GetFellows())); {
	case a.GetUnchanged() && before == nil:
		return nil, errors.New("assignments that are said to be unchanged and of which nothing was taken before on this stream")
	case a.GetUnchanged():
		l.assigned, l.references, l.fellows = before.assigned, before.references, before.fellows
	case n > MaxTargets:
		return nil, fmt.Errorf("%d assignments of generation %s from %s: want at most %d, keeping those of %s", n, g, from, MaxTargets, f.current())
	case peers > maxPeers:
		return nil, fmt.Errorf("%d references or fellow agents of generation %s from %s: want at most %d", peers, g, from, maxPeers)
	default:
		l.references, l.fellows = a.GetReferences(), a.GetFellows()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !a.GetUnchanged() {
		l.assigned = f.compact(a.GetAssignments())
	}
	f.adopt(l)
	return l, nil
}

// adopt makes a list count, if it is of the newest generation.
func (f *follow) adopt(l *list) {
	switch c := l.generation.Compare(f.generation); {
	case c < 0 && !f.generation.IsZero():
		return
	case c > 0:
		f.log.Info("assignments", "generation", l.generation.String(), "from", l.controller, "targets", len(l.assigned), "was", f.generation.String())
		f.generation, f.lists = l.generation, nil
	}
	at, known := slices.BinarySearchFunc(f.lists, l.controller, func(l *list, name string) int { return strings.Compare(l.controller, name) })
	if known {
		f.lists[at] = l
	} else {
		f.lists = slices.Insert(f.lists, at, l)
	}
	f.notify()
}

// compact takes assignments off the wire. The lists of several controllers, and
// of generations that follow each other, are alike in nearly everything, and then
// share it.
func (f *follow) compact(as []*pb.Assignment) []assigned {
	var like []assigned
	if len(f.lists) > 0 {
		like = f.lists[0].assigned
	}
	specs := map[string]*pb.HealthCheckSpec{}
	for _, l := range like {
		if name, _, ok := regions.SplitTargetID(l.target); ok && specs[name] == nil {
			specs[name] = l.spec
		}
	}
	out := make([]assigned, 0, len(as))
	for _, a := range as {
		one := assigned{a.GetTarget(), a.GetAddress(), a.GetCheck()}
		// Controllers sort by target. Were they not to, nothing would be shared.
		if at, ok := slices.BinarySearchFunc(like, one.target, func(a assigned, t string) int { return strings.Compare(a.target, t) }); ok {
			one.target = like[at].target
		}
		name, address, ok := regions.SplitTargetID(one.target)
		if ok && address == one.address {
			one.address = address
		}
		if known := specs[name]; ok && proto.Equal(known, one.spec) {
			one.spec = known
		} else if ok {
			specs[name] = one.spec
		}
		out = append(out, one)
	}
	if slices.Equal(out, like) {
		return like
	}
	return out
}

// alive says that a controller's stream lives.
func (f *follow) alive(controller string) { f.mark(controller, time.Time{}) }

// lost says that a controller's stream has ended.
func (f *follow) lost(controller string, now time.Time) { f.mark(controller, now) }

func (f *follow) mark(controller string, gone time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, l := range f.lists {
		if l.controller == controller && (gone.IsZero() || l.gone.IsZero()) {
			marked := *l
			marked.gone = gone
			f.lists[i] = &marked
		}
	}
}

// expire drops the lists of controllers that have been gone for too long.
func (f *follow) expire(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.lists) > 1 {
		at := -1
		for i, l := range f.lists {
			if !l.gone.IsZero() && now.Sub(l.gone) >= goneAfter && (at < 0 || l.gone.Before(f.lists[at].gone)) {
				at = i
			}
		}
		if at < 0 {
			return
		}
		f.log.Info("assignments of a controller that is gone no longer count", "controller", f.lists[at].controller)
		f.lists = slices.Delete(f.lists, at, at+1)
		f.notify()
	}
}

func (f *follow) notify() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take returns the assignments, a list of each controller; none were sent yet
// when ok is false.
func (f *follow) take() (lists [][]assigned, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.lists {
		lists = append(lists, l.assigned)
	}
	return lists, len(f.lists) > 0
}

// peers returns the references and the fellow agents that any controller names.
func (f *follow) peers() (references, fellows []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lists) == 1 {
		return f.lists[0].references, f.lists[0].fellows
	}
	for _, l := range f.lists {
		references, fellows = append(references, l.references...), append(fellows, l.fellows...)
	}
	slices.Sort(references)
	slices.Sort(fellows)
	return slices.Compact(references), slices.Compact(fellows)
}

func (f *follow) current() regions.Generation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.generation
}
