package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/health/replay"
	"github.com/fairlead-dns/fairlead/regions/health/seats"
)

// historyPatience is how long controllers wait for agents to tell their history;
// it comes on top of --timeout.
const historyPatience = 10 * time.Second

func (a *app) replay(ctx context.Context, o replayOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	// Wrong thresholds are told without asking anybody.
	if _, err := o.asked(&pb.HealthCheckSpec{}); err != nil {
		return err
	}
	return a.with(ctx, historyPatience, func(ctx context.Context, c *client) error {
		r, err := a.rerun(ctx, c, o)
		if err != nil {
			return err
		}
		switch o.output {
		case formatJSON:
			return a.write(r.json())
		case formatYAML:
			return a.write(r.yaml())
		}
		p := a.printer()
		p.wide = o.output == formatWide
		r.print(p, o.draw)
		return a.write(p.Bytes(), nil)
	})
}

// rerun fetches what is configured and what was observed, and replays it.
func (a *app) rerun(ctx context.Context, c *client, o replayOptions) (*rerun, error) {
	res, err := c.one(ctx, config.KindService, strings.ToLower(strings.TrimSuffix(o.service, ".")))
	if err != nil {
		return nil, err
	}
	service := res.GetService()
	name := service.GetSpec().GetHealthCheck()
	if name == "" {
		return nil, fmt.Errorf("service %q has no health check: there is nothing to replay", config.Name(res))
	}
	if res, err = c.one(ctx, config.KindHealthCheck, name); err != nil {
		return nil, err
	}
	spec := res.GetHealthCheck().GetSpec()
	r := &rerun{service: service.GetMetadata().GetName(), check: name, silence: 3*spec.GetInterval().AsDuration() + spec.GetTimeout().AsDuration()}
	other, err := o.asked(spec)
	if err != nil {
		return nil, err
	}
	r.trials = append(r.trials, newTrial("configured", spec))
	if asked := newTrial("asked for", other); asked.words() != r.trials[0].words() {
		r.trials = append(r.trials, asked)
	}
	agents, err := c.list(ctx, config.KindAgent, "")
	if err != nil {
		return nil, err
	}
	stop := a.progress(true, "asking the agents")
	h, err := c.history(ctx, &pb.GetHistoryRequest{Service: r.service, Endpoint: o.endpoint, MaxAgeMillis: healthpb.Millis(o.since)})
	stop()
	if err != nil {
		return nil, err
	}
	r.missing, r.recovery = h.missing, o.recovery
	for _, t := range replayTargets(service, name, o.endpoint) {
		t.run(r.trials, h.vantages(t.id, int(spec.GetVantages()), agents.GetResources()), o.recovery, spec)
		r.targets = append(r.targets, t)
	}
	return r, nil
}

// trial is one set of thresholds.
type trial struct {
	name       string
	spec       *pb.HealthCheckSpec
	thresholds health.Thresholds
	policy     health.Policy
}

func newTrial(name string, s *pb.HealthCheckSpec) trial {
	return trial{name, s, health.Thresholds{Rise: int(s.GetRise()), Fall: int(s.GetFall())}, healthpb.Policy(s)}
}

// words are a trial's thresholds; equal words mean equal thresholds.
func (t trial) words() [4]string {
	return [4]string{fmt.Sprint(t.thresholds.Rise), fmt.Sprint(t.thresholds.Fall), quorumWords(t.spec), dampingWords(t.spec)}
}

// rerun is what a replay gave, of all targets.
type rerun struct {
	service, check string
	trials         []trial // configured, and asked for where that differs
	targets        []*replayed
	missing        []string
	recovery       time.Duration
	silence        time.Duration // for how long a vantage may record nothing
}

// replayed is what the replay of one target gave.
type replayed struct {
	id        string
	endpoints []string
	vantages  []replay.Vantage
	reports   []*replay.Report // by trial; none when why says why
	why       string
}

// replayTargets are the targets of a service, in the order of its endpoints.
func replayTargets(s *pb.Service, check, only string) (all []*replayed) {
	add := func(endpoint, address string) {
		id := regions.TargetID(check, address)
		if i := slices.IndexFunc(all, func(t *replayed) bool { return t.id == id }); i >= 0 {
			all[i].endpoints = append(all[i].endpoints, endpoint)
			return
		}
		all = append(all, &replayed{id: id, endpoints: []string{endpoint}})
	}
	for _, e := range s.GetSpec().GetEndpoints() {
		if only != "" && e.GetName() != only {
			continue
		}
		for _, text := range e.GetAddresses() {
			if addr, err := netip.ParseAddr(text); err == nil {
				text = addr.String()
			}
			add(e.GetName(), text)
		}
		if e.GetCname() != "" {
			add(e.GetName(), strings.TrimSuffix(e.GetCname(), "."))
		}
	}
	return all
}

func (t *replayed) run(trials []trial, vantages []replay.Vantage, recovery time.Duration, check *pb.HealthCheckSpec) {
	t.vantages = slices.SortedFunc(slices.Values(vantages), func(a, b replay.Vantage) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Agent, b.Agent)) // as in a report
	})
	for _, trial := range trials {
		report, err := replay.Run(vantages, replay.Options{
			Thresholds: trial.thresholds, Policy: trial.policy, Recovery: recovery,
			Interval: check.GetInterval().AsDuration(), Timeout: check.GetTimeout().AsDuration(),
		})
		if err != nil {
			t.why, t.reports = err.Error(), nil
			return
		}
		t.reports = append(t.reports, report)
	}
}

// observed is what the agents answered.
type observed struct {
	agents  []*witness
	missing []string
}

// witness is what one agent answered.
type witness struct {
	name, region string
	registered   bool
	of           map[string][]replay.Observation // by target
}

// history asks a controller for what its agents observed. A long answer comes in
// parts, each with ages as of when it was sent.
func (c *client) history(ctx context.Context, req *pb.GetHistoryRequest) (*observed, error) {
	stream, err := c.GetHistory(ctx, req)
	if err != nil {
		return nil, c.conns.broken(err)
	}
	h := &observed{}
	for {
		part, err := stream.Recv()
		now := time.Now()
		if errors.Is(err, io.EOF) {
			return h, nil
		}
		if err != nil {
			return nil, c.conns.broken(err)
		}
		h.missing = append(h.missing, part.GetMissing()...)
		if part.GetAgent() == "" {
			continue
		}
		w := h.witness(part)
		for _, o := range part.GetHistories() {
			more, err := replay.Observations(o, now)
			if err != nil {
				return nil, fmt.Errorf("agent %s: %w", w.name, err)
			}
			w.of[o.GetTarget()] = append(w.of[o.GetTarget()], more...)
		}
	}
}

func (h *observed) witness(part *pb.GetHistoryResponse) *witness {
	for _, w := range h.agents {
		if w.name == part.GetAgent() && w.region == part.GetRegion() {
			return w
		}
	}
	w := &witness{name: part.GetAgent(), region: part.GetRegion(), registered: part.GetRegistered(), of: map[string][]replay.Observation{}}
	h.agents = append(h.agents, w)
	return w
}

// vantages are what all agents observed of a target. Registered ones that are
// silent are among them: they count in the quorum. Where the check wants fewer
// vantages than there are, those have seats that the controllers would give them
// to, if those who observed nothing were away.
func (h *observed) vantages(target string, wanted int, agents []*pb.Resource) (all []replay.Vantage) {
	var roster []seats.Agent
	for _, r := range agents {
		roster = append(roster, seats.Agent{Name: config.Name(r), Region: r.GetAgent().GetSpec().GetRegion()})
	}
	for _, w := range h.agents {
		if seen := w.of[target]; len(seen) > 0 {
			registered := w.registered && slices.Contains(roster, seats.Agent{Name: w.name, Region: w.region})
			slices.SortStableFunc(seen, func(a, b replay.Observation) int { return a.At.Compare(b.At) })
			all = append(all, replay.Vantage{Agent: w.name, Region: w.region, Registered: registered, Observations: seen})
		}
	}
	index := func(name string) int {
		return slices.IndexFunc(all, func(v replay.Vantage) bool { return v.Registered && v.Agent == name })
	}
	seated := seats.Of(target, wanted, roster, func(name string) bool { return index(name) < 0 })
	for _, g := range roster {
		seat := slices.Contains(seated, g.Name)
		if i := index(g.Name); i >= 0 {
			all[i].NoSeat = !seat
		} else {
			all = append(all, replay.Vantage{Agent: g.Name, Region: g.Region, Registered: true, NoSeat: !seat})
		}
	}
	return all
}

// broken is the error of a stream that a controller refused or did not end.
func (c *controllers) broken(err error) error {
	st := status.Convert(err)
	if st.Code() == codes.Unavailable {
		return c.unavailable([]attempt{{addr: c.all[c.next].addr, reached: true, message: st.Message()}}, false)
	}
	return &callError{addr: c.all[c.next].addr, st: st, note: noteFor(st.Code(), false)}
}
