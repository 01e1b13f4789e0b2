package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// schedule is what happens in a run, by time since its beginning.
type schedule struct {
	controllers, nameservers int
	events                   []event
	quiet                    time.Duration // when the last fault has healed
	// probe is the target that dies and comes back before anything else happens;
	// -1: none.
	probe int
}

// event is one thing that happens.
type event struct {
	at   time.Duration
	text string
	do   func(*sim)
}

func (s *schedule) String() string {
	var b strings.Builder
	for _, e := range s.events {
		fmt.Fprintf(&b, "  %7.3fs %s\n", e.at.Seconds(), e.text)
	}
	return b.String()
}

// The parts of a run: first everything settles, then there are faults, then all
// of them have healed.
const (
	settling = 5 * time.Second
	faults   = 14 * time.Second
	// recovery bounds how long the truth may take to reach every nameserver after
	// that.
	recovery = 25 * time.Second
)

// drawing draws a schedule.
type drawing struct {
	*schedule
	r *rand.Rand
	w *compiled
	// lost is the region that is lost for good; "": none.
	lost string
}

func newSchedule(r *rand.Rand, w *compiled) *schedule {
	d := &drawing{schedule: &schedule{controllers: 2 + r.IntN(5)/4, nameservers: 3}, r: r, w: w}
	if d.probe = -1; r.IntN(5) == 0 {
		d.probe = r.IntN(len(w.targets))
	}
	for range 3 + r.IntN(6) {
		d.fault(settling + time.Duration(r.Int64N(int64(faults-4*time.Second))))
	}
	// One controller joins late; from where nothing is said otherwise, soon.
	d.add(settling+time.Duration(r.Int64N(int64(faults/2))), fmt.Sprintf("controller c%d joins", d.controllers), func(s *sim) {
		s.startController(s.controllers[len(s.controllers)-1])
	})
	slices.SortStableFunc(d.events, func(a, b event) int { return int(a.at - b.at) })
	d.quiet = settling + faults
	return d.schedule
}

func (d *drawing) add(at time.Duration, text string, do func(*sim)) {
	d.events = append(d.events, event{at, text, do})
}

// lasting adds a fault and its end.
func (d *drawing) lasting(at, most time.Duration, text string, begin, end func(*sim)) {
	until := min(at+200*time.Millisecond+time.Duration(d.r.Int64N(int64(most))), settling+faults-time.Second)
	until = max(until, at+100*time.Millisecond)
	d.add(at, text, begin)
	d.add(until, "end of: "+text, end)
}

func (d *drawing) region() string { return d.w.regions[d.r.IntN(len(d.w.regions))] }

// process is the index and the kind of any process.
func (d *drawing) process() (name string, of func(*sim) *process) {
	k := d.r.IntN(len(d.w.agents) + d.controllers + d.nameservers)
	switch n := len(d.w.agents); {
	case k < n:
		return d.w.agents[k].Name, func(s *sim) *process { return &s.agents[k].process }
	case k < n+d.controllers:
		k -= n
		return fmt.Sprintf("c%d", k+1), func(s *sim) *process { return &s.controllers[k].process }
	default:
		k -= n + d.controllers
		return fmt.Sprintf("ns%d", k+1), func(s *sim) *process { return &s.nameservers[k].process }
	}
}

// fault draws one fault that begins at a time.
func (d *drawing) fault(at time.Duration) {
	r := d.r
	cutBoth := func(text string, cuts ...cut) {
		d.lasting(at, 10*time.Second, text, func(s *sim) { s.cut(+1, cuts...) }, func(s *sim) { s.cut(-1, cuts...) })
	}
	switch r.IntN(19) {
	case 0, 1:
		a, b := d.region(), d.region()
		if a == b {
			cutBoth("region "+a+" cut off", cut{place(a), anywhere}, cut{anywhere, place(a)})
			return
		}
		cutBoth(fmt.Sprintf("partition %s | %s", a, b), cut{place(a), place(b)}, cut{place(b), place(a)})
	case 2:
		a, b := d.region(), d.region()
		if a == b {
			cutBoth("nothing leaves region "+a, cut{place(a), anywhere})
			return
		}
		cutBoth(fmt.Sprintf("one way cut %s → %s", a, b), cut{place(a), place(b)})
	case 3, 4:
		name, _ := d.process()
		if r.IntN(2) == 0 {
			cutBoth("nothing leaves "+name, cut{place(name), anywhere})
			return
		}
		cutBoth(name+" cut off", cut{place(name), anywhere}, cut{anywhere, place(name)})
	case 5, 6:
		name, of := d.process()
		d.lasting(at, 7*time.Second, "pause of "+name, func(s *sim) { s.pause(of(s), true) }, func(s *sim) { s.pause(of(s), false) })
	case 7:
		k := r.IntN(len(d.w.agents))
		d.lasting(at, 5*time.Second, "agent "+d.w.agents[k].Name+" restarts", func(s *sim) { s.stopAgent(s.agents[k]) }, func(s *sim) { s.startAgent(s.agents[k]) })
	case 8:
		k := r.IntN(d.controllers)
		d.lasting(at, 5*time.Second, fmt.Sprintf("controller c%d restarts", k+1), func(s *sim) { s.stopController(s.controllers[k]) }, func(s *sim) { s.startController(s.controllers[k]) })
	case 9:
		k, crash := r.IntN(d.nameservers), r.IntN(2) == 0
		d.lasting(at, 5*time.Second, fmt.Sprintf("nameserver ns%d restarts (crash %v)", k+1, crash),
			func(s *sim) { s.stopNameserver(s.nameservers[k], crash) }, func(s *sim) { s.startNameserver(s.nameservers[k]) })
	case 10:
		k, lie := r.IntN(len(d.w.agents)), lie(1+r.IntN(4))
		d.lasting(at, 8*time.Second, fmt.Sprintf("agent %s lies: %s", d.w.agents[k].Name, lie),
			func(s *sim) { s.lie(s.agents[k], lie) }, func(s *sim) { s.lie(s.agents[k], honest) })
	case 11:
		k := r.IntN(len(d.w.agents))
		skew := time.Duration(r.Int64N(int64(100*24*time.Hour))) - 50*24*time.Hour
		d.lasting(at, 8*time.Second, fmt.Sprintf("clock of %s is wrong by %s", d.w.agents[k].Name, skew.Round(time.Second)),
			func(s *sim) { s.skew(s.agents[k], skew) }, func(s *sim) { s.skew(s.agents[k], 0) })
	case 12, 13, 14:
		d.endpointFault(at)
	case 15:
		region, id := d.region(), fmt.Sprintf("drain-%d", len(d.events))
		lags := make([]time.Duration, d.controllers)
		for i := range lags {
			lags[i] = time.Duration(r.Int64N(int64(3 * time.Second)))
		}
		slow := r.IntN(d.controllers)
		lags[slow] += time.Duration(r.Int64N(int64(6 * time.Second)))
		d.lasting(at, 8*time.Second, fmt.Sprintf("drain of %s (learnt after %v)", region, lags),
			func(s *sim) { s.drain(id, region, lags) }, func(s *sim) { s.undrain(id, lags) })
	case 16, 17:
		d.add(at+2*time.Second, "every latch is released", func(s *sim) { s.release() })
	default:
		a, b := d.region(), d.region()
		by := 5*time.Millisecond + time.Duration(r.Int64N(int64(400*time.Millisecond)))
		d.lasting(at, 8*time.Second, fmt.Sprintf("slow by %s: %s → %s", by, a, b),
			func(s *sim) { s.slow(a, b, by) }, func(s *sim) { s.slow(a, b, 0) })
	}
}

// endpointFault draws something that is wrong with endpoints.
func (d *drawing) endpointFault(at time.Duration) {
	r := d.r
	t := d.w.targets[r.IntN(len(d.w.targets))]
	switch r.IntN(6) {
	case 0:
		region := d.region()
		d.lasting(at, 10*time.Second, "all endpoints of "+region+" die", func(s *sim) { s.setUp(false, s.in(region)...) }, func(s *sim) { s.setUp(true, s.in(region)...) })
	case 1:
		d.add(at, t.id+" dies for good", func(s *sim) { s.setUp(false, t.address) })
	case 2:
		every := 300*time.Millisecond + time.Duration(r.Int64N(int64(3*time.Second)))
		n := 0
		for next := at; next < settling+faults-time.Second; next += every {
			up := n%2 == 1
			d.add(next, fmt.Sprintf("%s flaps: up %v", t.id, up), func(s *sim) { s.setUp(up, t.address) })
			n++
		}
	case 3:
		if d.lost == "" {
			d.lost = d.region()
			lost := d.lost
			d.add(at, "region "+lost+" is lost for good", func(s *sim) { s.lose(lost) })
			return
		}
		fallthrough
	default:
		d.lasting(at, 10*time.Second, t.id+" dies", func(s *sim) { s.setUp(false, t.address) }, func(s *sim) { s.setUp(true, t.address) })
	}
}
