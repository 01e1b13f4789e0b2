// Package usage remembers which endpoints were answered with, so that an operator
// who drains some can see when no cache holds them any more: when an answer with
// one was last given, for how long a compliant cache may keep one, and how many were
// given as the last resort. It may import proto, regions and regions/steer. Its data
// are the selections of the answers.
//
// To note an answer takes no lock and no memory. An endpoint's slot goes with its
// name from one configuration to the next; what was answered before the process
// started is not known, and counts as answered just then.
package usage

import (
	"math"
	"sync/atomic"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// Table has a slot for every endpoint of a configuration. To be had from New, and
// from For for the next configuration.
type Table struct {
	start time.Time
	base  *regions.Base
	first []int32 // by service: the slot of its first endpoint
	slots []*slot
	gone  []gone
}

// gone is an endpoint of a former configuration, where it was then.
type gone struct {
	service, endpoint, region, availabilityZone string
	*slot
}

// maxGone bounds them, should the configuration change all the time.
const maxGone = 100_000

// slot is what was answered with an endpoint, in seconds since the start; a part of
// one counts as a whole. A second's first answer writes, the others find it written.
type slot struct {
	// cached packs the second from which no compliant cache has an answer, and
	// under it that answer's TTL: of two the larger lasts longer.
	cached atomic.Uint64
	// last is the second by which the last answer was given; 0: none was.
	last atomic.Uint32
	// resorts counts the answers that were given though the endpoint is drained.
	resorts atomic.Uint64
}

// New returns a table without endpoints, of a process that starts.
func New(start time.Time) *Table {
	return &Table{start: start, base: regions.NewBase(nil, nil, nil, nil)}
}

// For returns the table for a configuration, with the slots of the endpoints that
// it has in common with this one, by service and name. Those that it has no more, or
// elsewhere, are remembered where they were while caches may have answers with them.
// Answers from the former configuration may go on to be noted in its own table.
func (t *Table) For(base *regions.Base, now time.Time) *Table {
	if base == t.base {
		return t
	}
	n := &Table{start: t.start, base: base, first: make([]int32, len(base.Services))}
	total := 0
	for i := range base.Services {
		n.first[i] = int32(total)
		total += len(base.Services[i].Endpoints)
	}
	n.slots = make([]*slot, total)
	carried := make([]bool, len(t.slots))
	for i := range base.Services {
		t.carry(n, int32(i), carried)
	}
	missing := 0
	for _, s := range n.slots {
		if s == nil {
			missing++
		}
	}
	fresh := make([]slot, missing) // and no more: while one is in use, all are
	for i := range base.Services {
		s := &base.Services[i]
		for j := range s.Endpoints {
			if k := int(n.first[i]) + j; n.slots[k] == nil {
				n.slots[k], fresh = &fresh[0], fresh[1:]
				// What the process before this one answered, it answered before the start.
				n.slots[k].cached.Store(uint64(s.TTL)<<32 | uint64(s.TTL))
			}
		}
	}
	n.gone = t.leave(carried, now)
	return n
}

// carry hands over the slots of a service's endpoints, and notes which.
func (t *Table) carry(n *Table, service int32, carried []bool) {
	s := &n.base.Services[service]
	was, ok := t.base.Service(s.Name)
	if !ok {
		return
	}
	old := t.base.Services[was].Endpoints
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		j := i // as a rule
		if j >= len(old) || old[j].Name != e.Name {
			for j = 0; j < len(old) && old[j].Name != e.Name; j++ {
			}
		}
		if j == len(old) {
			continue
		}
		from, to := int(t.first[was])+j, int(n.first[service])+i
		if old[j].AvailabilityZone == e.AvailabilityZone && t.base.Regions[old[j].Region].Name == n.base.Regions[e.Region].Name {
			n.slots[to], carried[from] = t.slots[from], true
			continue
		}
		// It has moved. What caches have of it counts in both places, what it answers
		// from now on where it is.
		moved := new(slot)
		moved.cached.Store(t.slots[from].cached.Load())
		moved.last.Store(t.slots[from].last.Load())
		n.slots[to] = moved
	}
}

// leave returns the endpoints that are there no more, those of before too, as far as
// caches may have answers with them.
func (t *Table) leave(carried []bool, now time.Time) []gone {
	var out []gone
	cached := func(s *slot) bool { return t.at(uint32(s.cached.Load() >> 32)).After(now) }
	for _, g := range t.gone {
		if cached(g.slot) {
			out = append(out, g)
		}
	}
	for i := range t.base.Services {
		s := &t.base.Services[i]
		for j := range s.Endpoints {
			e := &s.Endpoints[j]
			if k := int(t.first[i]) + j; !carried[k] && cached(t.slots[k]) {
				out = append(out, gone{s.Name, e.Name, t.base.Regions[e.Region].Name, e.AvailabilityZone, t.slots[k]})
			}
		}
	}
	return out[max(0, len(out)-maxGone):]
}

// Answered notes an answer of a service. A nil table notes nothing.
func (t *Table) Answered(service int32, sel *steer.Selection, now time.Time) {
	if t == nil {
		return
	}
	last := t.second(now)
	cached := uint64(last+min(sel.TTL, math.MaxUint32-last))<<32 | uint64(sel.TTL)
	first := int(t.first[service])
	for e := range sel.Endpoints {
		t.slots[first+int(e)].note(last, cached, sel.Drained)
	}
}

// second is the second since the start by which a moment has passed; never 0.
func (t *Table) second(now time.Time) uint32 {
	return uint32(min(max(now.Sub(t.start), 0)/time.Second, math.MaxUint32-1)) + 1
}

func (s *slot) note(last uint32, cached uint64, resort bool) {
	for was := s.cached.Load(); was < cached; was = s.cached.Load() {
		if s.cached.CompareAndSwap(was, cached) {
			break
		}
	}
	for was := s.last.Load(); was < last; was = s.last.Load() {
		if s.last.CompareAndSwap(was, last) {
			break
		}
	}
	if resort {
		s.resorts.Add(1)
	}
}

// Report says what was answered with the endpoints in a scope, as of a moment.
func (t *Table) Report(scope regions.Scope, now time.Time) *pb.UsageReport {
	r := &pb.UsageReport{}
	var cached uint64
	var last uint32
	add := func(s *slot) {
		r.LastResortAnswers += s.resorts.Load()
		cached, last = max(cached, s.cached.Load()), max(last, s.last.Load())
	}
	for i := range t.base.Services {
		s := &t.base.Services[i]
		if scope.Service != "" && scope.Service != s.Name {
			continue
		}
		for j := range s.Endpoints {
			e := &s.Endpoints[j]
			if !scope.Holds(s.Name, e.Name, t.base.Regions[e.Region].Name, e.AvailabilityZone) {
				continue
			}
			r.Endpoints++
			add(t.slots[int(t.first[i])+j])
		}
	}
	for i := range t.gone {
		if g := &t.gone[i]; scope.Holds(g.service, g.endpoint, g.region, g.availabilityZone) {
			add(g.slot)
		}
	}
	if last > 0 {
		ago := uint64(max(now.Sub(t.at(last)), 0).Milliseconds())
		r.LastAnswerMillis = &ago
	}
	if left := t.at(uint32(cached >> 32)).Sub(now); left > 0 {
		r.CachedMillis, r.Ttl = uint64((left + time.Millisecond - 1).Milliseconds()), uint32(cached)
	}
	return r
}

func (t *Table) at(second uint32) time.Time { return t.start.Add(time.Duration(second) * time.Second) }
