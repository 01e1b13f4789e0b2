package probes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Whatever is recorded, closed and opened: what is read of a target is the last
// part of what was recorded, the memory is bounded, and of all that is forgotten
// nothing is newer than the chunk that any target still has behind its newest.
func TestHistoryProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 8).Draw(t, "chunks")
		h := newHistory(start, most*chunkSize)
		names := []string{"a", "b", "c", "d"}
		open, model := map[string]*trail{}, map[string][]seen{}
		now := start
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "target")
			tr := open[name]
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what < 7:
				if tr == nil {
					tr = h.open(name)
					open[name] = tr
				}
				for range rapid.IntRange(1, perChunk).Draw(t, "observations") {
					now = now.Add(time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond)
					out := check.Outcome{
						Result: check.Result(rapid.IntRange(0, 2).Draw(t, "result")), Reason: rapid.SampledFrom([]string{"", "x", "y", "z"}).Draw(t, "reason"),
						Latency: time.Duration(rapid.IntRange(0, 1_000_000).Draw(t, "latency")) * time.Microsecond,
					}
					had := len(model[name])
					h.add(tr, now, out)
					model[name] = append(model[name], seen{what: whatOf(out), age: now.Sub(start), latency: out.Latency})
					if got := readAll(h, name, now); len(got) == 0 && had > 0 && most > len(names) {
						t.Fatalf("%s has room for nothing", name)
					}
				}
			case tr == nil:
			case what < 9:
				h.close(tr, false)
				open[name] = nil
			default:
				h.close(tr, true)
				open[name], model[name] = nil, nil
			}
			if h.bytes() > most*chunkSize {
				t.Fatalf("%d bytes, want at most %d", h.bytes(), most*chunkSize)
			}
			uses := map[what]int{}
			for _, name := range names {
				got, all := readAll(h, name, now), model[name]
				if len(got) > len(all) {
					t.Fatalf("%s: %d observations, %d were recorded", name, len(got), len(all))
				}
				for i, o := range got {
					want := all[len(all)-len(got)+i]
					want.age = now.Sub(start) - want.age
					// A target that finds no chunk at all loses its newest, not its oldest.
					if o != want && most > len(names) {
						t.Fatalf("%s: observation %d is %v, want %v", name, i, o, want)
					}
					uses[o.what]++
				}
			}
			for w := range uses {
				if _, known := h.index[w]; !known && w.reason != "" {
					t.Fatalf("the outcome %v is in use and free", w)
				}
			}
		}
		// All of it is given back.
		for _, tr := range open {
			if tr != nil {
				h.close(tr, false)
			}
		}
		for h.fullFirst != none {
			h.recycle()
		}
		if len(h.index) != 0 || len(h.unused) != len(h.owners) || len(h.trails) != 0 {
			t.Fatalf("left: outcomes %v, %d of %d owners, trails %v", h.index, len(h.owners)-len(h.unused), len(h.owners), h.trails)
		}
	})
}

func whatOf(o check.Outcome) what { return what{o.Result, o.Reason} }

func readAll(h *history, target string, now time.Time) []seen {
	var all []seen
	for from, more := uint64(0), true; more; {
		all, from, more = h.read(all, target, from, 0, 7, now)
	}
	return all
}

// Targets that are checked often and seldom reach back equally far.
func TestHistoryReachesBackEquallyFar(t *testing.T) {
	h := newHistory(start, 64*chunkSize)
	often, seldom := h.open("often"), h.open("seldom")
	now := start
	for i := range 50_000 {
		now = now.Add(time.Second)
		h.add(often, now, check.Outcome{Result: check.Passed})
		if i%20 == 0 {
			h.add(seldom, now, check.Outcome{Result: check.Failed, Reason: "timeout"})
		}
	}
	far := map[string]time.Duration{}
	for _, target := range []string{"often", "seldom"} {
		far[target] = readAll(h, target, now)[0].age
	}
	if far["seldom"] < far["often"] || far["seldom"]-far["often"] > 2*20*perChunk*time.Second || h.oldest(now) != far["seldom"] {
		t.Errorf("they reach back %v, at most %s", far, h.oldest(now))
	}
	if got := len(readAll(h, "often", now)); got < 40*perChunk {
		t.Errorf("%d observations in 64 chunks", got)
	}
}

func TestHistoryOfManyReasons(t *testing.T) {
	h := newHistory(start, 128<<10)
	tr := h.open("t")
	for i := range 2 * maxOutcomes {
		h.add(tr, start, check.Outcome{Result: check.Failed, Reason: fmt.Sprint(i)})
	}
	got := readAll(h, "t", start)
	first, last := got[0].what, got[len(got)-1].what
	if len(got) != 2*maxOutcomes || first != (what{check.Failed, "0"}) || last != (what{check.Failed, ""}) || len(h.outcomes) != maxOutcomes {
		t.Errorf("%d observations from %v to %v", len(got), first, last)
	}
	// Room for reasons comes back with the room for observations.
	for range h.most * perChunk {
		h.add(tr, start, check.Outcome{Result: check.Passed})
	}
	h.add(tr, start, check.Outcome{Result: check.Failed, Reason: "new"})
	if got := readAll(h, "t", start); got[len(got)-1].reason != "new" || len(h.index) != 2 {
		t.Errorf("%d outcomes, last observation %v", len(h.index), got[len(got)-1])
	}
}

// record fills the history of n targets.
func record(h *history, now time.Time, targets []string, n int, reason func(i int) string) {
	for _, target := range targets {
		tr := h.open(target)
		for i := range n {
			at := now.Add(time.Duration(i-n) * time.Second)
			h.add(tr, at, check.Outcome{Result: check.Failed, Reason: reason(i), Latency: time.Duration(i) * time.Millisecond})
		}
	}
}

// join puts the messages of an answer together, and checks their form.
func join(t *testing.T, id uint64, replies []*pb.HistoryReply) map[string][]seen {
	t.Helper()
	all := map[string][]seen{}
	for i, r := range replies {
		if r.GetId() != id || r.GetLast() != (i == len(replies)-1) {
			t.Fatalf("message %d of %d has id %d, last %t", i, len(replies), r.GetId(), r.GetLast())
		}
		if n := proto.Size(r); n > maxReply+2<<10 {
			t.Fatalf("message %d has %d bytes", i, n)
		}
		for _, h := range r.GetHistories() {
			for k, age := range h.GetAgeMillis() {
				o := h.GetOutcomes()[h.GetOutcome()[k]]
				all[h.GetTarget()] = append(all[h.GetTarget()], seen{
					what{check.Failed, o.GetReason()}, time.Duration(age) * time.Millisecond, time.Duration(h.GetLatencyMicros()[k]) * time.Microsecond,
				})
			}
		}
	}
	return all
}

func TestAnswers(t *testing.T) {
	now := start.Add(time.Hour)
	for name, c := range map[string]struct {
		targets, each int
		reason        func(int) string
		maxAge        time.Duration
	}{
		"nothing":              {1, 0, nil, 0},
		"few of many":          {1000, 20, func(int) string { return "connection refused" }, 0},
		"many of one":          {1, 20_000, func(i int) string { return fmt.Sprint("HTTP ", i%5) }, 0},
		"the last minute":      {50, 500, func(int) string { return "HTTP 503" }, time.Minute},
		"each with its reason": {3, 1000, func(i int) string { return strings.Repeat(fmt.Sprint(i%10), 240) + fmt.Sprint(i) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(start, 1<<23)
			var targets []string
			for i := range c.targets {
				targets = append(targets, fmt.Sprintf("web@192.0.2.%d", i))
			}
			record(h, now, targets, c.each, c.reason)
			a := newAnswer(&pb.HistoryQuery{Id: 7, Targets: append(targets, "unknown@192.0.2.1"), MaxAgeMillis: uint64(c.maxAge.Milliseconds())})
			var replies []*pb.HistoryReply
			for len(replies) == 0 || !replies[len(replies)-1].GetLast() {
				replies = append(replies, a.next(h, now))
			}
			got := join(t, 7, replies)
			for _, target := range targets {
				var want []seen
				for _, o := range readAll(h, target, now) {
					if c.maxAge == 0 || o.age <= c.maxAge {
						want = append(want, o)
					}
				}
				if c.each > 0 && c.maxAge == 0 && len(want) != c.each || !slices.Equal(got[target], want) {
					t.Fatalf("%s: %d observations came, want %d", target, len(got[target]), len(want))
				}
			}
			if _, ok := got["unknown@192.0.2.1"]; ok {
				t.Error("a target without history has one")
			}
		})
	}
}

// What a checked target saw can be asked for over the stream.
func TestHistoryOverTheStream(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		cs[0].assigns(1, "t", "u")
		sleep(10 * time.Second)
		s.world.set("t", down)
		sleep(5 * time.Second)
		cs[0].assigns(2, "t", "u:81")
		sleep(3 * time.Second)
		cs[0].asks(&pb.HistoryQuery{Id: 3, Targets: []string{"t", "u", "v"}})
		sleep(time.Second)
		cs[0].with(func() {
			if len(cs[0].replies) != 1 || !cs[0].replies[0].GetLast() {
				t.Fatalf("replies %v", cs[0].replies)
			}
			for _, h := range cs[0].replies[0].GetHistories() {
				n := len(h.GetAgeMillis())
				switch h.GetTarget() {
				case "t":
					if n < 16 || len(h.GetOutcomes()) != 2 || h.GetOutcomes()[h.GetOutcome()[n-1]].GetReason() != down.Reason {
						t.Errorf("history %v", h)
					}
				case "u":
					if n > 4 {
						t.Errorf("the history of the check before is not forgotten: %v", h)
					}
				default:
					t.Errorf("history %v", h)
				}
			}
		})
		if st := s.Status(); st.HistoryBytes == 0 || st.HistoryAge < 15*time.Second {
			t.Errorf("status %+v", st)
		}
		// Too much at once is refused, and the stream goes on.
		cs[0].asks(&pb.HistoryQuery{Id: 4, Targets: make([]string, maxQueryTargets+1)})
		sleep(time.Second)
		if got := cs[0].table(); got != "t=U u=H" || len(cs[0].replies) != 1 || !s.Status().Controllers[0].Connected {
			t.Errorf("table %s, %d replies", got, len(cs[0].replies))
		}
	})
}

// While a long answer is under way, opinions and heartbeats come as they do to a
// controller that has asked for nothing.
func TestAnswersDelayNoOpinions(t *testing.T) {
	inBubble(t, []string{"asks", "other"}, func(t *testing.T, s *scene, cs []*controller) {
		asks, other := cs[0], cs[1]
		var targets []string
		for i := range 100 {
			targets = append(targets, fmt.Sprintf("web@192.0.2.%d", i))
		}
		record(s.history, time.Now(), targets, 2500, func(int) string { return "HTTP 503" })
		asks.assigns(1, "t/200ms")
		sleep(5 * time.Second)
		for _, c := range cs {
			c.with(func() { c.beats = 0 })
		}
		for id := range uint64(2) {
			asks.asks(&pb.HistoryQuery{Id: id, Targets: targets})
		}
		s.world.set("t", down)
		for letter(other.opinion("t").GetStatus()) != "U" {
			sleep(time.Millisecond)
			if a, b := asks.opinion("t"), other.opinion("t"); a.GetStatus() != b.GetStatus() || a.GetWavering() != b.GetWavering() {
				t.Fatalf("the one that asks is told %v, the other one %v", a, b)
			}
		}
		asks.with(func() {
			if n := len(asks.replies); n < 10 || asks.replies[n-1].GetLast() {
				t.Fatalf("the opinion comes after %d messages of the answer", n)
			}
		})
		sleep(time.Second)
		beats := func(c *controller) (n int) { c.with(func() { n = c.beats }); return n }
		if a, b := beats(asks), beats(other); a < 5 || a != b {
			t.Errorf("the one that asks got %d heartbeats, the other one %d", a, b)
		}
		// It ends, and the second query is answered.
		sleep(time.Minute)
		asks.with(func() {
			at := slices.IndexFunc(asks.replies, func(r *pb.HistoryReply) bool { return r.GetLast() }) + 1
			for id, replies := range [][]*pb.HistoryReply{asks.replies[:at], asks.replies[at:]} {
				got := join(t, uint64(id), replies)
				for _, target := range targets {
					if len(got[target]) != 2500 {
						t.Fatalf("answer %d: %d observations of %s", id, len(got[target]), target)
					}
				}
			}
		})
	})
}
