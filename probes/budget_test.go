package probes

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/probes/check"
)

// Whatever is asked for, ends and is given up: no bound is broken, each check
// that is wanted begins, and those of one address in the order in which they
// were asked for.
func TestBudgetProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := &Options{
			MaxConcurrent: rapid.IntRange(1, 6).Draw(t, "concurrent"), MaxRate: rapid.SampledFrom([]int{5, 50, 1000}).Draw(t, "rate"),
			MaxConcurrentPerAddress: rapid.IntRange(1, 3).Draw(t, "per address"), MaxRatePerAddress: rapid.SampledFrom([]int{2, 20, 1000}).Draw(t, "address rate"),
		}
		b := newBudget(o, func(stage) {})
		now := start
		var jobs, active []*job
		starts, byAddress := []time.Time{}, map[string][]time.Time{}
		order := map[string][]*job{} // that asked and have not begun, by address
		begun := func(j *job) {
			if j.gone || j.state != running {
				t.Fatalf("%s begins, gone %t, state %d", j.address, j.gone, j.state)
			}
			active = append(active, j)
			starts, byAddress[j.address] = append(starts, now), append(byAddress[j.address], now)
			first := order[j.address][0]
			if first != j {
				t.Fatalf("a check of %s overtook another one", j.address)
			}
			order[j.address] = order[j.address][1:]
			if len(active) > o.MaxConcurrent {
				t.Fatalf("%d checks at once, want %d", len(active), o.MaxConcurrent)
			}
			here := 0
			for _, other := range active {
				if other.address == j.address {
					here++
				}
			}
			if here > o.MaxConcurrentPerAddress {
				t.Fatalf("%d checks of %s at once, want %d", here, j.address, o.MaxConcurrentPerAddress)
			}
		}
		drain := func() {
			for j := b.due(now); j != nil; j = b.due(now) {
				begun(j)
			}
		}
		end := func(i int) {
			j := active[i]
			active = append(active[:i:i], active[i+1:]...)
			b.done(j)
			drain()
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1, 2:
				if n := len(jobs); n > 0 && rapid.Bool().Draw(t, "again") {
					if j := jobs[rapid.IntRange(0, n-1).Draw(t, "job")]; j.state == idle {
						order[j.address] = append(order[j.address], j)
						if b.ask(j, now) {
							begun(j)
						}
					}
					continue
				}
				j := &job{page: &page{}, address: rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "example.test"}).Draw(t, "address")}
				b.enter(j)
				jobs = append(jobs, j)
				order[j.address] = append(order[j.address], j)
				if b.ask(j, now) {
					begun(j)
				}
			case 3:
				if n := len(active); n > 0 {
					end(rapid.IntRange(0, n-1).Draw(t, "ends"))
				}
			case 4:
				if n := len(jobs); n > 0 && rapid.IntRange(0, 2).Draw(t, "leaves") == 0 {
					i := rapid.IntRange(0, n-1).Draw(t, "job")
					j := jobs[i]
					jobs = append(jobs[:i:i], jobs[i+1:]...)
					j.gone = true
					b.leave(j)
					for i, other := range order[j.address] {
						if other == j {
							order[j.address] = append(order[j.address][:i:i], order[j.address][i+1:]...)
							break
						}
					}
				}
			case 5:
				until := now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * time.Millisecond)
				for at, waits := b.next(); waits && at.Before(until); at, waits = b.next() {
					now = at
					drain()
				}
				now = until
				drain()
			}
		}
		// In the end all that was asked for has begun, and nothing is left behind.
		for rounds := 0; ; rounds++ {
			drain()
			for len(active) > 0 {
				end(0)
			}
			at, waits := b.next()
			if !waits {
				break
			}
			if rounds > 1000 {
				t.Fatal("checks wait for ever")
			}
			now = at
		}
		for address, left := range order {
			if len(left) > 0 {
				t.Fatalf("%d checks of %s never began", len(left), address)
			}
		}
		if b.waiting != 0 || b.free != o.MaxConcurrent || b.queue.len() != 0 {
			t.Fatalf("left: %+v", b)
		}
		for _, j := range jobs {
			j.gone = true
			b.leave(j)
		}
		if len(b.places) != 0 {
			t.Fatalf("%d addresses are remembered", len(b.places))
		}
		spaced(t, "all", starts, o.MaxRate, 1)
		for address, times := range byAddress {
			// Those that wait for a slot of the agent come on top.
			spaced(t, address, times, o.MaxRatePerAddress, 1+o.MaxConcurrentPerAddress)
		}
	})
}

// spaced holds moments against a rate: in any time d there are at most rate × (d +
// burst), and some more.
func spaced(t *rapid.T, what string, times []time.Time, rate, more int) {
	for i := range times {
		for k := i; k < len(times); k++ {
			if most := float64(more) + (times[k].Sub(times[i])+burst).Seconds()*float64(rate); float64(k-i+1) > most+1e-6 {
				t.Fatalf("%s: %d checks in %s at %d a second", what, k-i+1, times[k].Sub(times[i]), rate)
			}
		}
	}
}

func TestFIFO(t *testing.T) {
	var f fifo[int]
	in, out, most := 0, 0, 0
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		if r.IntN(2) == 0 {
			f.push(in)
			in++
		} else if f.len() > 0 {
			if got := f.pop(); got != out {
				t.Fatalf("popped %d, want %d", got, out)
			}
			out++
		}
		if most = max(most, in-out); f.len() != in-out || len(f.items) > 2*most+2 {
			t.Fatalf("%d items in room for %d, want %d", f.len(), len(f.items), in-out)
		}
	}
}

// sameAddress makes n checks of one address.
func sameAddress(revision int64, n int) []string {
	var targets []string
	for i := range n {
		targets = append(targets, fmt.Sprintf("c%d@192.0.2.1", i))
	}
	return targets
}

// assignsAt sends assignments whose address is what comes after the @.
func (c *controller) assignsAt(revision int64, targets ...string) {
	a := assignments(revision, targets...)
	for _, one := range a.Assignments {
		_, one.Address, _ = strings.Cut(one.Target, "@")
	}
	c.sends(a)
}

func TestOneAddressIsNotHammered(t *testing.T) {
	few := func(o *Options) { o.MaxConcurrentPerAddress, o.MaxRatePerAddress = 2, 10 }
	inBubbleWith(t, []string{"c1"}, few, func(t *testing.T, s *scene, cs []*controller) {
		s.world.setTakes(50 * time.Millisecond)
		cs[0].assignsAt(1, append(sameAddress(1, 15), "c0@192.0.2.2")...)
		sleep(10 * time.Second)
		n := len(s.world.checks("192.0.2.1"))
		if n < 95 || n > 103 || s.world.most > 3 {
			t.Errorf("%d checks of the address in 10s and %d at once, want 100 and 2", n, s.world.most)
		}
		// Every check is delayed, none is left out for good, and another address is not
		// touched by it.
		if n := len(s.world.checks("192.0.2.2")); n < 9 {
			t.Errorf("another address was checked %d times in 10s", n)
		}
		for _, id := range append(sameAddress(1, 15), "c0@192.0.2.2") {
			if got := letter(cs[0].opinion(id).GetStatus()); got != "H" {
				t.Errorf("%s: %s", id, got)
			}
		}
		// Three times as many cannot be vouched for.
		cs[0].assignsAt(2, append(sameAddress(2, 80), "c0@192.0.2.2")...)
		sleep(20 * time.Second)
		o := cs[0].opinion("c79@192.0.2.1")
		for i := 0; !strings.Contains(o.GetReason(), "overdue") && i < 50; i++ {
			sleep(200 * time.Millisecond)
			o = cs[0].opinion("c79@192.0.2.1")
		}
		if !strings.Contains(o.GetReason(), "too many are wanted of this address") {
			t.Errorf("opinion %v", o)
		}
		if got := letter(cs[0].opinion("c0@192.0.2.2").GetStatus()); got != "H" {
			t.Errorf("another address: %s", got)
		}
	})
}

func TestTotalRate(t *testing.T) {
	few := func(o *Options) { o.MaxRate = 5 }
	inBubbleWith(t, []string{"c1"}, few, func(t *testing.T, s *scene, cs []*controller) {
		var targets []string
		for i := range 10 {
			targets = append(targets, fmt.Sprintf("c@192.0.2.%d", i))
		}
		cs[0].assignsAt(1, targets...)
		sleep(20 * time.Second)
		total := 0
		for i := range 10 {
			n := len(s.world.checks(fmt.Sprintf("192.0.2.%d", i)))
			total += n
			if n < 8 || n > 12 {
				t.Errorf("target %d was checked %d times, want 10", i, n)
			}
		}
		if total < 99 || total > 102 {
			t.Errorf("%d checks in 20s at 5 a second", total)
		}
	})
}

// After the first failure of a healthy target the next checks follow quickly, and
// only until it is unhealthy or has passed.
func TestRapidConfirm(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		s.world.setTakes(10 * time.Millisecond)
		cs[0].assigns(1, "t/10s/200ms", "u/10s")
		sleep(11 * time.Second)
		fails := check.Outcome{Result: check.Failed, Reason: "connection refused"}
		gaps := func(target string) []time.Duration {
			times := s.world.checks(target)
			var gaps []time.Duration
			for i := range times[1:] {
				gaps = append(gaps, times[i+1].Sub(times[i]))
			}
			return gaps
		}
		near := func(got, want time.Duration) bool { return (got - want).Abs() <= 10*time.Second/jitter }
		s.world.set("t", fails)
		s.world.set("u", fails)
		before := len(gaps("t"))
		sleep(25 * time.Second)
		got := gaps("t")[before:]
		if len(got) < 4 || !near(got[0], 10*time.Second) || got[1] != 200*time.Millisecond || got[2] != 200*time.Millisecond || got[3] < 5*time.Second {
			t.Errorf("checks of t come after %v", got)
		}
		if o := cs[0].opinion("t"); letter(o.GetStatus()) != "U" {
			t.Errorf("t: %v", o)
		}
		for _, gap := range gaps("u")[1:] {
			if !near(gap, 10*time.Second) {
				t.Errorf("without rapid confirm a check comes after %s", gap)
			}
		}
		// An unhealthy target is not hurried, and one failure among successes brings one
		// quick check.
		s.world.set("t", up)
		sleep(25 * time.Second)
		if o := cs[0].opinion("t"); letter(o.GetStatus()) != "H" {
			t.Fatalf("t: %v", o)
		}
		before = len(gaps("t"))
		s.world.set("t", fails)
		for len(gaps("t")) == before {
			sleep(20 * time.Millisecond)
		}
		sleep(20 * time.Millisecond) // it has ended
		s.world.set("t", up)
		sleep(12 * time.Second)
		got = gaps("t")[before:]
		if len(got) < 3 || got[1] != 200*time.Millisecond || got[2] < 5*time.Second {
			t.Errorf("checks of t come after %v", got)
		}
	})
}
