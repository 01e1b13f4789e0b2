package replay_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/replay"
)

var epoch = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// at is a moment of the records, in seconds.
func at(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * float64(time.Second))) }

// span is a time, in seconds, during which a vantage sees something else than
// success; what '.' is nothing at all, '?' an abstention, 'F' a failure.
type span struct {
	from, to float64
	what     byte
}

// vantage records once a second from its phase on.
func vantage(name, region string, phase, length float64, spans ...span) replay.Vantage {
	v := replay.Vantage{Agent: name, Region: region, Registered: true}
	for t := phase; t < length; t++ {
		o := replay.Observation{At: at(t), Result: replay.Passed, Reason: "connected"}
		skip := false
		for _, s := range spans {
			if t >= s.from && t < s.to {
				skip = s.what == '.'
				switch s.what {
				case 'F':
					o.Result, o.Reason = replay.Failed, "connection refused"
				case '?':
					o.Result, o.Reason = replay.Abstained, "no route"
				}
			}
		}
		if !skip {
			v.Observations = append(v.Observations, o)
		}
	}
	return v
}

// three are three regions of a vantage each, that see the same.
func three(length float64, spans ...span) []replay.Vantage {
	return []replay.Vantage{
		vantage("probe-ap", "ap", 0.1, length, spans...),
		vantage("probe-eu", "eu", 0.4, length, spans...),
		vantage("probe-us", "us", 0.8, length, spans...),
	}
}

var usual = replay.Options{Thresholds: health.Thresholds{Rise: 2, Fall: 2}, Interval: time.Second, Timeout: 500 * time.Millisecond}

func run(t interface{ Fatal(...any) }, vs []replay.Vantage, o replay.Options) *replay.Report {
	r, err := replay.Run(vs, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// story is the transitions as "HEALTHY@0.8 UNHEALTHY@31.4".
func story(r *replay.Report) string {
	var words []string
	for _, t := range r.Transitions {
		words = append(words, fmt.Sprintf("%s@%g", t.To, t.At.Sub(epoch).Seconds()))
	}
	return strings.Join(words, " ")
}

func TestReplay(t *testing.T) {
	fall := func(n int) replay.Options {
		o := usual
		o.Thresholds.Fall = n
		return o
	}
	undamped := usual
	undamped.Policy.Damping.Off = true
	one := func(o replay.Options, rule health.Rule, k int) replay.Options {
		o.Policy.Rule, o.Policy.UnhealthyRegions = rule, k
		return o
	}
	outage := span{30, 90, 'F'}
	lies := span{30, 90, 'F'}
	flap := func(n int, period, down float64) (spans []span) {
		for i := range n {
			from := 10 + float64(i)*period
			spans = append(spans, span{from, from + down, 'F'})
		}
		return spans
	}
	for _, c := range []struct {
		name     string
		vantages []replay.Vantage
		options  replay.Options
		story    string
		outages  string // of each: detection or missed, and restoration
		blips    int
		vain     int
		changes  int
	}{
		{
			"nothing happens", three(100), usual,
			"HEALTHY@0.4", "", 0, 0, 0,
		},
		{
			// The first failing observation is that of ap at 30.1; eu's second at 31.4
			// makes the majority.
			"a clean outage", three(120, outage), usual,
			"HEALTHY@0.4 UNHEALTHY@31.4 HEALTHY@91.4", "1.3s/1s", 0, 0, 2,
		},
		{
			"a clean outage, fall 1", three(120, outage), fall(1),
			"HEALTHY@0.4 UNHEALTHY@30.4 HEALTHY@91.4", "300ms/1s", 0, 0, 2,
		},
		{
			"a clean outage, fall 5", three(120, outage), fall(5),
			"HEALTHY@0.4 UNHEALTHY@34.4 HEALTHY@91.4", "4.3s/1s", 0, 0, 2,
		},
		{
			"an outage that is shorter than fall", three(120, span{30, 45, 'F'}), fall(20),
			"HEALTHY@0.4", "missed", 0, 0, 0,
		},
		{
			"an outage that goes on", three(120, span{100, 200, 'F'}), usual,
			"HEALTHY@0.4 UNHEALTHY@101.4", "1.3s/-", 0, 0, 1,
		},
		{
			"an outage from the beginning", three(60, span{0, 40, 'F'}), usual,
			"UNHEALTHY@1.4 HEALTHY@41.4", "1.3s/1s", 0, 0, 1,
		},
		{
			"the records end too early to tell", three(35, span{30, 200, 'F'}), usual,
			"HEALTHY@0.4 UNHEALTHY@31.4", "", 0, 0, 1,
		},
		{
			"a blip that the thresholds ride out", three(120, span{30, 33, 'F'}), fall(4),
			"HEALTHY@0.4", "", 1, 0, 0,
		},
		{
			"a blip that they do not", three(120, span{30, 33, 'F'}), usual,
			"HEALTHY@0.4 UNHEALTHY@31.4 HEALTHY@34.4", "", 1, 1, 2,
		},
		{
			"another notion of a blip", three(120, span{30, 33, 'F'}),
			replay.Options{Thresholds: usual.Thresholds, Interval: time.Second, Timeout: time.Second, Recovery: 2 * time.Second},
			"HEALTHY@0.4 UNHEALTHY@31.4 HEALTHY@34.4", "1.3s/1s", 0, 0, 2,
		},
		{
			"flapping, undamped", three(200, flap(6, 30, 15)...), undamped,
			"HEALTHY@0.4 UNHEALTHY@11.4 HEALTHY@26.4 UNHEALTHY@41.4 HEALTHY@56.4 UNHEALTHY@71.4 HEALTHY@86.4 " +
				"UNHEALTHY@101.4 HEALTHY@116.4 UNHEALTHY@131.4 HEALTHY@146.4 UNHEALTHY@161.4 HEALTHY@176.4",
			"1.3s/1s 1.3s/1s 1.3s/1s 1.3s/1s 1.3s/1s 1.3s/1s", 0, 0, 12,
		},
		{
			// The second recovery waits for 30s, within which it fails again; the last
			// one for longer than is recorded.
			"flapping, damped", three(200, flap(6, 30, 15)...), usual,
			"HEALTHY@0.4 UNHEALTHY@11.4 HEALTHY@26.4 UNHEALTHY@41.4", "1.3s/1s 1.3s/- 0s/- 0s/- 0s/- 0s/-", 0, 0, 3,
		},
		{
			// Time alone ends the hold: at the second of eu's and us's passes and 30s.
			"damped, and then quiet", three(200, flap(2, 30, 15)...), usual,
			"HEALTHY@0.4 UNHEALTHY@11.4 HEALTHY@26.4 UNHEALTHY@41.4 HEALTHY@86.4", "1.3s/1s 1.3s/31s", 0, 0, 4,
		},
		{
			"one vantage lies", []replay.Vantage{three(120)[0], three(120)[1], vantage("probe-us", "us", 0.8, 120, lies)}, usual,
			"HEALTHY@0.4", "", 0, 0, 0,
		},
		{
			"one vantage lies, and one region is enough",
			[]replay.Vantage{three(120)[0], three(120)[1], vantage("probe-us", "us", 0.8, 120, lies)}, one(usual, health.AtLeast, 1),
			"HEALTHY@0.8 UNHEALTHY@31.8 HEALTHY@91.8", "", 0, 1, 2,
		},
		{
			"an outage that one vantage does not see, and any is enough",
			[]replay.Vantage{three(120, outage)[0], three(120, outage)[1], vantage("probe-us", "us", 0.8, 120)}, one(usual, health.AnyHealthy, 0),
			"HEALTHY@0.1", "missed", 0, 0, 0,
		},
		{
			// It has failed for long when the others join it: the outage is theirs.
			"one vantage fails long before", []replay.Vantage{three(120, outage)[0], three(120, outage)[1], vantage("probe-us", "us", 0.8, 120, span{5, 90, 'F'})}, usual,
			"HEALTHY@0.4 UNHEALTHY@31.1 HEALTHY@91.4", "1s/1s", 0, 0, 2,
		},
		{
			"unregistered vantages and those without a seat say nothing",
			append(three(120), replay.Vantage{Agent: "guest", Region: "xx", Observations: three(120, outage)[0].Observations},
				replay.Vantage{Agent: "spare", Region: "yy", Registered: true, NoSeat: true, Observations: three(120, outage)[0].Observations}),
			one(usual, health.AtLeast, 1),
			"HEALTHY@0.8", "", 0, 0, 0,
		},
		{
			// The two that are left find the outage; the third is silent and weakens both
			// sides alike.
			"a gap of one vantage", []replay.Vantage{three(120, outage)[0], three(120, outage)[1], vantage("probe-us", "us", 0.8, 120, span{20, 100, '.'})}, usual,
			"HEALTHY@0.4 UNHEALTHY@31.4 HEALTHY@91.4", "1.3s/1s", 0, 0, 2,
		},
		{
			// Silence is no evidence: the outage falls into it whole.
			"a gap of all", three(120, span{25, 95, '.'}), usual,
			"HEALTHY@0.4", "", 0, 0, 0,
		},
		{
			"a gap of all during an outage", three(120, outage, span{40, 60, '.'}), usual,
			"HEALTHY@0.4 UNHEALTHY@31.4 HEALTHY@91.4", "1.3s/1s", 0, 0, 2,
		},
		{
			"abstentions", three(120, span{30, 60, '?'}), usual,
			"HEALTHY@0.4", "", 0, 0, 0,
		},
		{
			"two regions, one of them goes with its vantage", []replay.Vantage{
				vantage("probe-eu", "eu", 0.4, 120, outage), vantage("probe-us", "us", 0.8, 120, span{30, 120, '.'}),
			}, usual,
			"HEALTHY@0.8 UNHEALTHY@33.3 HEALTHY@91.4", "2.9s/1s", 0, 0, 2,
		},
		{
			"two regions disagree", []replay.Vantage{vantage("probe-eu", "eu", 0.4, 120, outage), vantage("probe-us", "us", 0.8, 120)}, usual,
			"HEALTHY@0.8", "", 0, 0, 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, c.vantages, c.options)
			if got := story(r); got != c.story {
				t.Errorf("the verdict is %s, want %s", got, c.story)
			}
			var outages []string
			for _, o := range r.Outages {
				after := "-"
				if d, ok := o.Restoration(); ok {
					after = d.String()
				}
				word := o.Detection().String() + "/" + after
				if o.Missed() {
					word = "missed"
				}
				outages = append(outages, word)
			}
			if got := strings.Join(outages, " "); got != c.outages || r.Blips != c.blips || len(r.FalseFailovers) != c.vain || r.Changes() != c.changes {
				t.Errorf("outages %q, %d blips, %d false failovers, %d changes; want %q, %d, %d, %d",
					got, r.Blips, len(r.FalseFailovers), r.Changes(), c.outages, c.blips, c.vain, c.changes)
			}
		})
	}
}

func TestReport(t *testing.T) {
	vs := three(7200, span{30, 90, 'F'}, span{3000, 3003, 'F'}, span{5000, 5100, '.'})
	vs[2] = vantage("probe-us", "us", 0.8, 7200, span{100, 200, '.'}, span{300, 310, '?'})
	r := run(t, vs, usual)
	if n := r.Changes(); n != 4 || r.ChangesPerHour() < 1.99 || r.ChangesPerHour() > 2.01 {
		t.Errorf("%d changes, %g an hour", n, r.ChangesPerHour())
	}
	if len(r.FalseFailovers) != 1 || r.FalseFailovers[0].Reason != "2 of 3 regions say UNHEALTHY, 1 HEALTHY and 0 cannot tell" {
		t.Errorf("false failovers %+v", r.FalseFailovers)
	}
	if got := r.Detections(); len(got) != 1 || got[0] != 1300*time.Millisecond || r.Missed() != 0 {
		t.Errorf("detections %v", got)
	}
	if r.Undecided < 95*time.Second || r.Undecided > 105*time.Second {
		t.Errorf("undecided for %s", r.Undecided)
	}
	want := replay.Coverage{
		Agent: "probe-us", Region: "us", Counts: true, Passed: 7090, Abstained: 10, Gaps: 1, First: at(0.8), Last: at(7199.8),
	}
	if got := r.Vantages[2]; got != want {
		t.Errorf("coverage %+v, want %+v", got, want)
	}
	if !r.From.Equal(at(0.1)) || !r.To.Equal(at(7199.8)) {
		t.Errorf("from %s to %s", r.From, r.To)
	}
}

func TestWhatCannotBeReplayed(t *testing.T) {
	guest := vantage("guest", "eu", 0, 10)
	guest.Registered = false
	for want, vs := range map[string][]replay.Vantage{
		"no vantage counts":  {guest},
		"recorded anything":  {{Agent: "a", Region: "eu", Registered: true}, guest},
		`"a" in region "eu"`: {vantage("a", "eu", 0, 10), vantage("a", "eu", 0, 10)},
	} {
		if _, err := replay.Run(vs, usual); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

// genRecords draws two to five vantages in up to three regions, that see different
// things for different times.
func genRecords(t *rapid.T) []replay.Vantage {
	var vs []replay.Vantage
	for i := range rapid.IntRange(1, 5).Draw(t, "vantages") {
		var spans []span
		for range rapid.IntRange(0, 4).Draw(t, "spans") {
			from := rapid.Float64Range(0, 100).Draw(t, "from")
			spans = append(spans, span{from, from + rapid.Float64Range(0, 40).Draw(t, "length"), rapid.SampledFrom([]byte("F.?F")).Draw(t, "what")})
		}
		region := rapid.SampledFrom([]string{"eu", "us", "ap"}).Draw(t, "region")
		vs = append(vs, vantage(fmt.Sprint("probe-", i), region, rapid.Float64Range(0, 1).Draw(t, "phase"), 120, spans...))
	}
	return vs
}

// Equal records give equal reports, in whatever order they come, and what is given
// is left as it is.
func TestReplayIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vs := genRecords(t)
		first, err := replay.Run(vs, usual)
		if err != nil {
			return
		}
		mixed := rapid.Permutation(vs).Draw(t, "order")
		for i := range mixed {
			mixed[i].Observations = rapid.Permutation(mixed[i].Observations).Draw(t, "observations")
		}
		before := fmt.Sprint(mixed)
		if again := run(t, mixed, usual); !reflect.DeepEqual(first, again) {
			t.Fatalf("%+v\n%+v", first, again)
		}
		if fmt.Sprint(mixed) != before {
			t.Fatal("the records were changed")
		}
	})
}

// The report adds up: the raw outages, the failovers, and the verdicts between.
func TestReportAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := usual
		o.Thresholds = health.Thresholds{Rise: rapid.IntRange(1, 4).Draw(t, "rise"), Fall: rapid.IntRange(1, 4).Draw(t, "fall")}
		o.Policy.Rule = health.Rule(rapid.IntRange(0, 3).Draw(t, "rule"))
		o.Policy.Damping.Off = rapid.Bool().Draw(t, "damping")
		r, err := replay.Run(genRecords(t), o)
		if err != nil {
			return
		}
		last := regions.Unknown
		for i, tr := range r.Transitions {
			if tr.From != last || tr.To == last || tr.To == regions.Unknown || i > 0 && tr.At.Before(r.Transitions[i-1].At) {
				t.Fatalf("transitions %+v", r.Transitions)
			}
			last = tr.To
		}
		found := 0
		for i, out := range r.Outages {
			end := out.Ended
			if end.IsZero() {
				end = r.To
			}
			if out.Began.After(out.Turned) || end.Sub(out.Began) < r.Recovery || i > 0 && out.Turned.Before(r.Outages[i-1].Ended) {
				t.Fatalf("outage %+v", out)
			}
			if !out.Detected.IsZero() {
				if found++; out.Already || out.Missed() || out.Detected.Before(out.Turned) || out.Detected.After(end) {
					t.Fatalf("outage %+v", out)
				}
			}
		}
		if found != len(r.Detections()) || r.Undecided < 0 || r.Undecided > r.To.Sub(r.From) {
			t.Fatalf("%d found, %d detections, undecided for %s of %s", found, len(r.Detections()), r.Undecided, r.To.Sub(r.From))
		}
	})
}

// With thresholds of one, no damping and the default rule the verdict is the raw
// majority: nothing is missed, and only blips are for nothing.
func TestVerdictsOfThresholdOneAreTheYardstick(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := usual
		o.Thresholds = health.Thresholds{Rise: 1, Fall: 1}
		o.Policy.Damping.Off = true
		r, err := replay.Run(genRecords(t), o)
		if err != nil {
			return
		}
		for _, out := range r.Outages {
			if out.Missed() || !out.Detected.Equal(out.Turned) {
				t.Fatalf("outage %+v", out)
			}
		}
		if len(r.FalseFailovers) > r.Blips {
			t.Fatalf("%d false failovers and %d blips", len(r.FalseFailovers), r.Blips)
		}
	})
}

func TestIntervalIsTakenFromTheRecords(t *testing.T) {
	o := usual
	o.Interval = 0
	vs := three(120, span{30, 90, 'F'}, span{95, 105, '.'})
	if a, b := run(t, vs, usual), run(t, vs, o); !reflect.DeepEqual(a, b) {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func TestObservationsOffTheWire(t *testing.T) {
	h := &pb.ObservationHistory{
		Target: "web@192.0.2.1", AgeMillis: []uint64{3000, 2000, 1000, 500}, LatencyMicros: []uint32{1, 2, 3, 4}, Outcome: []uint32{0, 1, 2, 3},
		Outcomes: []*pb.ObservationOutcome{
			{Result: pb.ObservationResult_OBSERVATION_RESULT_PASSED, Reason: "HTTP 200"},
			{Result: pb.ObservationResult_OBSERVATION_RESULT_FAILED, Reason: "HTTP 503"},
			{Result: pb.ObservationResult_OBSERVATION_RESULT_ABSTAINED, Reason: "no route"},
			{Result: 77},
		},
	}
	got, err := replay.Observations(h, epoch)
	want := []replay.Observation{
		{At: at(-3), Result: replay.Passed, Reason: "HTTP 200", Latency: time.Microsecond},
		{At: at(-2), Result: replay.Failed, Reason: "HTTP 503", Latency: 2 * time.Microsecond},
		{At: at(-1), Result: replay.Abstained, Reason: "no route", Latency: 3 * time.Microsecond},
		{At: at(-0.5), Result: replay.Abstained, Latency: 4 * time.Microsecond},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	h.Outcome[2] = 4
	if _, err := replay.Observations(h, epoch); err == nil || !strings.Contains(err.Error(), "outcome 4 of 4") {
		t.Errorf("an outcome that is not there: %v", err)
	}
	h.Outcome = h.Outcome[:3]
	if _, err := replay.Observations(h, epoch); err == nil || !strings.Contains(err.Error(), "equally many") {
		t.Errorf("lists of different lengths: %v", err)
	}
}

func BenchmarkRun(b *testing.B) {
	vs := three(3600, span{30, 90, 'F'}, span{1000, 1002, 'F'})
	b.ReportAllocs()
	for b.Loop() {
		run(b, vs, usual)
	}
}
