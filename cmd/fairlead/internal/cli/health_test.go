package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/replay"
)

// span is a time, in seconds, during which a vantage sees failures.
type span struct{ from, to float64 }

// records are what one vantage observed, once a second for some minutes from noon
// on.
func records(agent, region string, phase float64, minutes int, bad ...span) replay.Vantage {
	v := replay.Vantage{Agent: agent, Region: region, Registered: true}
	for t := phase; t < float64(minutes*60); t++ {
		o := replay.Observation{At: noon.Add(time.Duration(t * float64(time.Second))), Result: replay.Passed, Reason: "HTTP 200", Latency: time.Millisecond}
		for _, b := range bad {
			if t >= b.from && t < b.to {
				o.Result, o.Reason = replay.Failed, "HTTP 503"
			}
		}
		v.Observations = append(v.Observations, o)
	}
	return v
}

// sampleRerun is a replay of an outage, of a blip, and of targets to which nothing
// happened or that nobody looked at.
func sampleRerun(t *testing.T, asked bool) *rerun {
	t.Helper()
	spec := parse(t, `{apiVersion: fairlead/v1, kind: HealthCheck, metadata: {name: web}, spec: {interval: 1s, timeout: 500ms, rise: 2, fall: 2, tcp: {port: 80}}}`)[0].GetHealthCheck().GetSpec()
	r := &rerun{service: "www.example.test", check: "web", recovery: 10 * time.Second, silence: 3500 * time.Millisecond, trials: []trial{newTrial("configured", spec)}}
	if asked {
		other, err := (&replayOptions{fall: 4, damping: "off"}).asked(spec)
		if err != nil {
			t.Fatal(err)
		}
		r.trials = append(r.trials, newTrial("asked for", other))
	}
	three := func(bad ...span) []replay.Vantage {
		guest := records("guest", "eu-west", 0.5, 1)
		guest.Registered = false
		return []replay.Vantage{
			records("probe-ap", "ap-northeast", 0.1, 10, bad...), guest,
			records("probe-eu", "eu-west", 0.4, 10, bad...), records("probe-us", "us-east", 0.8, 10, bad...),
		}
	}
	for _, target := range []struct {
		address  string
		vantages []replay.Vantage
	}{
		{"192.0.2.10", three(span{60, 120}, span{240, 243})}, {"192.0.2.11", three()},
		{"192.0.2.12", []replay.Vantage{{Agent: "probe-eu", Region: "eu-west", Registered: true}}},
	} {
		one := &replayed{id: "web@" + target.address, endpoints: []string{"eu-" + target.address[8:]}}
		one.run(r.trials, target.vantages, r.recovery, spec)
		r.targets = append(r.targets, one)
	}
	r.missing = []string{"probe-au: not connected"}
	return r
}

func TestPrintReplay(t *testing.T) {
	both, alone := sampleRerun(t, true), sampleRerun(t, false)
	printed(t, "replay", &printer{}, func(p *printer) { both.print(p, true) })
	printed(t, "replay-wide", &printer{wide: true}, func(p *printer) { both.print(p, false) })
	printed(t, "replay-colour", &printer{colour: true}, func(p *printer) { both.print(p, true) })
	printed(t, "replay-configured", &printer{}, func(p *printer) { alone.print(p, false) })
	text, err := both.yaml()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "replay-yaml", string(text))
	// Both notations say the same.
	var fromYAML, fromJSON any
	if err := yaml.Unmarshal(text, &fromYAML); err != nil {
		t.Fatal(err)
	}
	if text, err = both.json(); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &fromJSON); err != nil {
		t.Fatal(err)
	}
	if a, b := fmt.Sprint(fromYAML), fmt.Sprint(fromJSON); a != b {
		t.Errorf("YAML has %s\nJSON has %s", a, b)
	}
	// Nothing was recorded at all.
	alone.targets = alone.targets[2:]
	p := &printer{}
	alone.print(p, true)
	want := `www.example.test, health check web: nothing was recorded in that time
not heard: probe-au: not connected; counted as silent
not replayed: eu-12 web@192.0.2.12: no vantage that counts recorded anything of this target
`
	if p.String() != want {
		t.Errorf("got\n%swant\n%s", p, want)
	}
}

func TestConclusion(t *testing.T) {
	report := func(missed, blips, falsely int, detections ...time.Duration) *replay.Report {
		r := &replay.Report{From: noon, To: noon.Add(time.Hour), Blips: blips, FalseFailovers: make([]replay.Transition, falsely)}
		for _, d := range detections {
			r.Outages = append(r.Outages, replay.Outage{Began: noon, Turned: noon, Detected: noon.Add(d)})
		}
		for range missed {
			r.Outages = append(r.Outages, replay.Outage{Began: noon, Turned: noon})
		}
		return r
	}
	s := time.Second
	for _, c := range []struct {
		was, is *replay.Report
		want    string
	}{
		{report(0, 0, 0), nil, "Nothing failed in that time that thresholds could decide about."},
		{report(1, 2, 1, 3*s, s, 2*s), nil, "The configured thresholds find 3 of 4 outages, in 2s in the median and 3s at worst; failovers for nothing: 1. Try others, as --fall 4."},
		{report(1, 0, 0), nil, "The configured thresholds find 0 of 1 outage; failovers for nothing: 0. Try others, as --fall 4."},
		{report(0, 2, 0, s), report(0, 2, 0, s), "The thresholds that are asked for would have changed nothing in that time."},
		{report(0, 0, 2, s), report(1, 0, 0, 2500*time.Millisecond), "With the thresholds that are asked for, outages are found 1.5s later in the median (2.5s, not 1s); missed outages: 1, not 0; failovers for nothing: 0, not 2."},
		{report(0, 0, 0, 3*s), report(0, 0, 1, 900*time.Millisecond), "With the thresholds that are asked for, outages are found 2.1s sooner in the median (900ms, not 3s); failovers for nothing: 1, not 0."},
	} {
		r := &rerun{trials: []trial{{name: "configured", thresholds: health.Thresholds{Fall: 3}}}, targets: []*replayed{{reports: []*replay.Report{c.was}}}}
		if c.is != nil {
			r.trials, r.targets[0].reports = append(r.trials, trial{name: "asked for"}), append(r.targets[0].reports, c.is)
		}
		if got := r.conclusion(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

const replayYAML = `apiVersion: fairlead/v1
kind: Service
metadata: {name: www.example.test}
spec:
  zone: example.test
  policy: nearest
  healthCheck: web
  endpoints:
    - {name: eu-1, region: eu-west, addresses: [192.0.2.10, "2001:DB8:0::10"]}
    - {name: eu-2, region: eu-west, addresses: [192.0.2.10]}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: static.example.test}
spec: {zone: example.test, policy: nearest, endpoints: [{name: eu-1, region: eu-west, addresses: [192.0.2.10]}]}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {interval: 1s, timeout: 500ms, rise: 2, fall: 2, vantages: VANTAGES, tcp: {port: 80}}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-ap}
spec: {region: ap-northeast}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-eu}
spec: {region: eu-west}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-us}
spec: {region: us-east}
`

// part is what an agent tells of a target, in a message.
func part(v replay.Vantage, target string, from, to int, now time.Time) *pb.GetHistoryResponse {
	h := &pb.ObservationHistory{Target: target, Outcomes: []*pb.ObservationOutcome{
		{Result: pb.ObservationResult_OBSERVATION_RESULT_PASSED, Reason: "connected"},
		{Result: pb.ObservationResult_OBSERVATION_RESULT_FAILED, Reason: "connection refused"},
	}}
	for _, o := range v.Observations[from:to] {
		h.AgeMillis = append(h.AgeMillis, uint64(now.Sub(o.At).Milliseconds()))
		h.LatencyMicros = append(h.LatencyMicros, 100)
		h.Outcome = append(h.Outcome, uint32(o.Result-replay.Passed))
	}
	return &pb.GetHistoryResponse{Agent: v.Agent, Region: v.Region, Registered: v.Registered, Histories: []*pb.ObservationHistory{h}}
}

// replayFake is a controller whose agents tell of one outage, of a minute.
func replayFake(t *testing.T, vantages int, asked *pb.GetHistoryRequest) *fake {
	all := parse(t, strings.Replace(replayYAML, "VANTAGES", fmt.Sprint(vantages), 1))
	return &fake{
		list: func(r *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
			resp := &pb.ListResourcesResponse{Generation: gen(5)}
			for _, res := range all {
				if config.Kind(res) == r.GetKind() && (r.GetName() == "" || r.GetName() == config.Name(res)) {
					resp.Resources = append(resp.Resources, res)
				}
			}
			if len(resp.Resources) == 0 {
				return nil, status.Errorf(codes.NotFound, "no %s %q", r.GetKind(), r.GetName())
			}
			return resp, nil
		},
		history: func(r *pb.GetHistoryRequest, s pb.InsightService_GetHistoryServer) error {
			asked.Service, asked.Endpoint, asked.MaxAgeMillis = r.Service, r.Endpoint, r.MaxAgeMillis
			now := noon.Add(10 * time.Minute)
			for i, region := range []string{"ap-northeast", "eu-west"} {
				v := records([]string{"probe-ap", "probe-eu"}[i], region, 0.1+0.3*float64(i), 10, span{60, 120})
				// A long answer comes in parts.
				for k := 0; k < 600; k += 150 {
					if err := s.Send(part(v, "web@192.0.2.10", k, k+150, now)); err != nil {
						return err
					}
				}
			}
			return s.Send(&pb.GetHistoryResponse{Missing: []string{"probe-us: not connected"}})
		},
	}
}

func TestReplay(t *testing.T) {
	var asked pb.GetHistoryRequest
	t.Setenv("FAIRLEAD_CONTROLLER", serve(t, replayFake(t, 0, &asked)))
	r := run(t, "", "health", "replay", "--service", "WWW.example.test.", "--fall", "4", "--since", "10m")
	r.want(t, exitDone, ", by 2 agents in 1200 checks of 2 targets\nnot heard: probe-us: not connected; counted as silent\n",
		"configured     2     2  majority", "asked for      2     4  majority",
		"not replayed: eu-1 web@2001:db8::10: no vantage that counts recorded anything of this target\n")
	r.matches(t, `www\.example\.test, health check web: \S+ recorded, until `,
		`\neu-1, eu-2 web@192\.0\.2\.10  configured        1      1       0 +[0-9.]+s +[0-9.]+s      0      0        2\.0\n`,
		`\n +asked for         1      1       0 +[0-9.]+s +[0-9.]+s      0      0        2\.0\n`,
		`outages are found \S+ later in the median \(\S+, not \S+\)\.`)
	if strings.Contains(r.out, "█") {
		t.Error("it draws, and nobody asked")
	}
	if asked.GetService() != "www.example.test" || asked.GetEndpoint() != "" || asked.GetMaxAgeMillis() != 600_000 {
		t.Errorf("asked %v", &asked)
	}
	// Thresholds as they are configured are not compared with themselves.
	r = run(t, "", "health", "replay", "--service", "www.example.test", "--fall", "2", "--quorum", "majority", "--damping", "default", "--endpoint", "eu-2", "--draw")
	r.want(t, exitDone, "of 1 target\n", "The configured thresholds find 1 of 1 outage, in ", "Try others, as --fall 3.", "probe-ap    ▁▁▁▁▁", "probe-us    ····", "configured  ▁▁▁▁▁")
	if strings.Contains(r.out, "asked for ") || asked.GetEndpoint() != "eu-2" {
		t.Errorf("%v\n%s", &asked, r.out)
	}
	run(t, "", "health", "replay", "--service", "www.example.test", "--quorum", "at-least=3", "-o", "wide").want(t, exitDone,
		"asked for      2     2  at-least=3", "missed outages: 1, not 0", "  missed\n", "probe-us  us-east       silent")
	run(t, "", "health", "replay", "--service", "www.example.test", "--rise", "3", "-o", "json").want(t, exitDone,
		`"service": "www.example.test"`, `"medianDetection": "`, `"rise": 3`, `"missing": [`)
	run(t, "", "health", "replay", "--service", "www.example.test", "-o", "yaml").want(t, exitDone, "\nhealthCheck: web\n", "\n            detection: ")
	run(t, "", "health", "replay", "--service", "static.example.test").want(t, exitFailed, `service "static.example.test" has no health check`)
	run(t, "", "health", "replay", "--service", "nowhere.test").want(t, exitFailed, `no Service "nowhere.test"`)
}

// A check that wants fewer vantages than there are is judged by those that have
// seats: who is away keeps the seat of its region.
func TestReplayOfFewVantages(t *testing.T) {
	var asked pb.GetHistoryRequest
	for k, want := range [][2]int{{0, 1}, {2, 0}, {1, 0}, {0, 1}} {
		t.Setenv("FAIRLEAD_CONTROLLER", serve(t, replayFake(t, k, &asked)))
		r := run(t, "", "health", "replay", "--service", "www.example.test", "--endpoint", "eu-2", "-o", "wide")
		r.want(t, exitDone)
		if got := [2]int{strings.Count(r.out, "  no: "+health.WhyNotSeated+"  "), strings.Count(r.out, "  silent  ")}; got != want {
			t.Errorf("%d vantages: %d without a seat and silent, want %d\n%s", k, got, want, r.out)
		}
	}
}

func TestReplayFails(t *testing.T) {
	var asked pb.GetHistoryRequest
	f := replayFake(t, 0, &asked)
	t.Setenv("FAIRLEAD_CONTROLLER", serve(t, f))
	for _, c := range []struct {
		answer error
		want   string
	}{
		{status.Error(codes.ResourceExhausted, "4 questions about history are under way: try again in a while"), "fairlead: over a limit: 4 questions about history are under way"},
		{status.Error(codes.PermissionDenied, "no"), "fairlead: not allowed: no\n"},
		{status.Error(codes.Unimplemented, "no"), "does not know this call; is it of an older version?"},
		{status.Error(codes.Unavailable, "the controller is stopping"), "the controller is stopping"},
	} {
		f.history = func(*pb.GetHistoryRequest, pb.InsightService_GetHistoryServer) error { return c.answer }
		run(t, "", "health", "replay", "--service", "www.example.test").want(t, exitFailed, c.want)
	}
	// What makes no sense is refused, not guessed at.
	f.history = func(_ *pb.GetHistoryRequest, s pb.InsightService_GetHistoryServer) error {
		return s.Send(&pb.GetHistoryResponse{Agent: "probe-eu", Region: "eu-west", Histories: []*pb.ObservationHistory{{Target: "web@192.0.2.10", AgeMillis: []uint64{1}}}})
	}
	run(t, "", "health", "replay", "--service", "www.example.test").want(t, exitFailed, `agent probe-eu: the history of "web@192.0.2.10" has 1 ages, 0 latencies`)
}

func TestThresholdsInWords(t *testing.T) {
	for _, c := range []struct{ quorum, damping, wantQuorum, wantDamping string }{
		{"", "", "majority", "from recovery 2 on, 30s to 10m"},
		{"strict", "off", "strict", "off"},
		{"any-healthy", "recoveries=3", "any-healthy", "from recovery 3 on, 30s to 10m"},
		{"at-least=2", "hold=1m, max-hold=1h", "at-least=2", "from recovery 2 on, 1m to 1h"},
	} {
		s, err := (&replayOptions{quorum: c.quorum, damping: c.damping}).asked(&pb.HealthCheckSpec{})
		if err != nil {
			t.Error(err)
		} else if q, d := quorumWords(s), dampingWords(s); q != c.wantQuorum || d != c.wantDamping {
			t.Errorf("%q and %q: %q and %q, want %q and %q", c.quorum, c.damping, q, d, c.wantQuorum, c.wantDamping)
		}
	}
}
