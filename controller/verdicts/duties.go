package verdicts

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health/seats"
)

// duties are what agents are assigned.
type duties struct {
	// all are the assignments of the plan, by target. One that did not change is
	// the same pointer as in the plan before.
	all []*pb.Assignment
	// due: who probes what may have changed.
	due bool
}

// duty is what one agent is assigned. It is never written to: agents with equal
// duties may share one, and one whose duty is the same pointer as before is told
// that nothing has changed.
type duty struct {
	assignments         []*pb.Assignment
	references, fellows []string
}

// order is a duty as of a generation.
type order struct {
	*duty
	generation regions.Generation
}

// message puts an order on the wire; unchanged: the agent has that duty.
func (o order) message(unchanged bool) *pb.Assignments {
	m := &pb.Assignments{Generation: &pb.Generation{Epoch: o.generation.Epoch, Revision: o.generation.Revision}}
	if unchanged {
		m.Unchanged = true
		return m
	}
	m.Assignments, m.References, m.Fellows = o.assignments, o.references, o.fellows
	return m
}

// assign takes the assignments of a plan, sorted by target.
func (d *duties) assign(list []planned) {
	before := make(map[string]*pb.Assignment, len(d.all))
	for _, a := range d.all {
		before[a.GetTarget()] = a
	}
	all := make([]*pb.Assignment, len(list))
	for i := range list {
		a := list[i].assignment
		if old := before[a.GetTarget()]; old != nil && (old == a || proto.Equal(old, a)) {
			a = old
		}
		all[i] = a
	}
	if !slices.Equal(all, d.all) {
		d.all = all
	}
}

// reseat gives the seats out anew, of targets whose checks want fewer vantages
// than there are. Agents that have been silent for long lose theirs to others of
// their own region.
func (t *tally) reseat(time.Time) {
	gone := func(name string) bool { return t.vantages[name].gone }
	for i := range t.dockets {
		d := &t.dockets[i]
		var next []int
		if d.wanted > 0 && d.wanted < len(t.roster) {
			names := seats.Of(t.table.index.ids[i], d.wanted, t.roster, gone)
			next = make([]int, len(names))
			for k, name := range names {
				next[k] = t.vantages[name].column
			}
			slices.Sort(next)
		}
		if !slices.Equal(next, d.seats) || (next == nil) != (d.seats == nil) {
			d.seats = next
			t.duties.due = true
			t.mark(i)
		}
	}
}

// assign tells every agent what it is to probe, where that may have changed.
func (t *tally) assign() {
	if !t.duties.due || !t.planned {
		return
	}
	t.duties.due = false
	lists := t.lists()
	addresses := make([]string, 0, len(t.roster))
	in := map[string]int{} // how many of them by region
	for _, v := range t.voters {
		if v.agent.Address != "" {
			addresses = append(addresses, v.agent.Address)
			in[v.region]++
		}
	}
	slices.Sort(addresses)
	var shared *duty // the newest one made: most agents' differ in their fellows only
	for k, v := range t.voters {
		next := &duty{assignments: t.duties.all, references: v.agent.References}
		if len(next.references) > 0 || enough(v, in) {
			next.fellows = others(addresses, v.agent.Address)
		}
		if lists != nil && v.registered {
			next.assignments = lists[k]
		}
		switch {
		case v.duty != nil && v.duty.equal(next):
			next = v.duty
		case shared != nil && shared.equal(next):
			next = shared
		}
		shared, v.duty = next, next
		if v.session != nil {
			v.session.assign(next, t.generation)
		}
	}
}

// enough tells whether an agent's fellows alone can tell it that it is cut off: they
// stand in two regions at least, counting its own. Where they stand in one, that
// region may be gone just as well, and an agent that took it for its own fault
// would keep a dead region in service.
func enough(v *vantage, in map[string]int) bool {
	n := len(in)
	if v.agent.Address != "" && in[v.region] == 1 {
		n-- // nobody but itself
	}
	return n >= 2
}

// lists are the assignments by index of voters; nil: everybody has all of them.
func (t *tally) lists() [][]*pb.Assignment {
	if !slices.ContainsFunc(t.dockets, func(d docket) bool { return d.seats != nil }) {
		return nil
	}
	lists := make([][]*pb.Assignment, len(t.voters))
	at := make([]int, t.slots.width)
	for k, v := range t.voters {
		at[v.column] = k
	}
	for i := range t.dockets {
		seated := t.dockets[i].seats
		if seated != nil {
			for _, column := range seated {
				lists[at[column]] = append(lists[at[column]], t.duties.all[i])
			}
			continue
		}
		for k := range lists {
			lists[k] = append(lists[k], t.duties.all[i])
		}
	}
	return lists
}

func (d *duty) equal(e *duty) bool {
	return slices.Equal(d.assignments, e.assignments) && slices.Equal(d.references, e.references) && slices.Equal(d.fellows, e.fellows)
}

// others are the addresses but one.
func others(addresses []string, own string) []string {
	if own == "" {
		return addresses
	}
	return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { return a == own })
}
