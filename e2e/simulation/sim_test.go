package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	plane "github.com/fairlead-dns/fairlead/controller"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// sim is one world that runs in a bubble.
type sim struct {
	seed   uint64
	world  *compiled
	net    *network
	began  time.Time
	broken defect
	lies   *rand.Rand // mu guards it
	wrong  *wrong
	dir    string

	reference   *host
	agents      []*agent
	controllers []*controller
	nameservers []*nameserver

	mu        sync.Mutex
	lost      bool                 // a region is
	endpoints map[string]*endpoint // by address
	history   []*planner.Current   // of generations, oldest first
	causes    causes
	held      holders
	drains    map[string]*drained // by id
	taken     []taken             // that are still to be checked
	trips     map[string]uint64   // the highest of each latch

	later sync.WaitGroup // controllers that learn of a generation with a lag
}

// endpoint is one address that is probed.
type endpoint struct {
	host *host
	up   bool
}

// lie is how an agent's outcomes differ from what it sees.
type lie uint8

const (
	honest lie = iota
	allDown
	allUp
	inverted
	atRandom
)

func (l lie) String() string {
	return [...]string{"honest", "all down", "all up", "inverted", "at random"}[l]
}

// wrong is what was found wrong with a run; the first few of it.
type wrong struct {
	seed  uint64
	mu    sync.Mutex
	found []string
	log   []string
}

const maxFound = 5

func (w *wrong) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.found) < maxFound {
		w.found = append(w.found, fmt.Sprintf(format, args...))
	}
}

func (w *wrong) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *wrong) any() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.found) > 0
}

func (s *sim) now() string { return fmt.Sprintf("%7.3fs", time.Since(s.began).Seconds()) }

func (s *sim) say(format string, args ...any) {
	s.wrong.say(s.now()+" "+format, args...)
	s.note("WRONG: "+format, args...)
}

func (s *sim) note(format string, args ...any) { s.wrong.note(s.now()+" "+format, args...) }

// defect breaks a rule at a boundary that the simulation controls.
type defect struct {
	name string
	// judged changes what judges are told.
	judged func(verdicts.Plan) verdicts.Plan
	// learnt changes the generation that a controller learns of, given all.
	learnt func(c *controller, cur *planner.Current, history []*planner.Current) *planner.Current
	// toNameserver changes what a nameserver gets on one stream from a controller,
	// fromNameserver what it sends.
	toNameserver   func() func(*pb.SubscribeResponse)
	fromNameserver func(*pb.SubscribeRequest)
	// fromAgent changes what an agent sends.
	fromAgent func(s *sim, a *agent, m *pb.ReportRequest)
	// regions is how many regions there are; 0: as drawn.
	regions int
	// subscribed is how many controllers a nameserver follows; 0: all.
	subscribed int
	// stopped is done to a nameserver that has stopped.
	stopped func(*nameserver)
}

// run runs the world of a seed in a bubble.
func run(t *testing.T, seed uint64, d defect, dir string) *wrong {
	r := seeded(seed)
	shape := randomShape(r)
	if d.regions > 0 {
		shape.Regions = d.regions
	}
	world := shape.compile() // outside of the bubble, since others share it
	sched := newSchedule(r, world)
	w := &wrong{seed: seed}
	dir = filepath.Join(dir, fmt.Sprint(seed))
	defer os.RemoveAll(dir)
	synctest.Test(t, func(*testing.T) {
		s := newSim(seed, world, d, w, dir)
		s.play(sched)
	})
	w.log = append([]string{fmt.Sprintf("seed %d: %+v, %d controllers", seed, world.shape, sched.controllers), sched.String()}, w.log...)
	return w
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x5eed)) }

func newSim(seed uint64, c *compiled, d defect, w *wrong, dir string) *sim {
	s := &sim{
		seed: seed, world: c, net: newNetwork(), began: time.Now(), broken: d, wrong: w, dir: dir,
		lies: rand.New(rand.NewPCG(seed, 1)), endpoints: map[string]*endpoint{}, drains: map[string]*drained{}, trips: map[string]uint64{},
	}
	s.reference = s.net.add("reference", "elsewhere")
	for _, t := range c.targets {
		s.endpoints[t.address] = &endpoint{host: s.net.add(t.address, t.region), up: true}
	}
	for _, a := range c.agents {
		at, err := netip.ParseAddrPort(a.Address)
		must(err)
		s.agents = append(s.agents, &agent{process: process{s: s, host: s.net.add(a.Name, a.Region)}, region: a.Region, at: at})
	}
	s.causes = newCauses(s)
	s.held = newHolders(len(c.targets))
	return s
}

func (s *sim) addController(i int) {
	name := fmt.Sprintf("c%d", i+1)
	c := &controller{process: process{s: s, host: s.net.add(name, s.world.regions[i%len(s.world.regions)])}, plans: newPlans()}
	s.controllers = append(s.controllers, c)
}

func (s *sim) addNameserver(i int) {
	name := fmt.Sprintf("ns%d", i+1)
	region := s.world.regions[i%len(s.world.regions)]
	s.nameservers = append(s.nameservers, &nameserver{
		process: process{s: s, host: s.net.add(name, region)}, region: region, dir: filepath.Join(s.dir, name),
	})
}

// judged is what a judge is told of a generation.
func (s *sim) judged(cur *planner.Current) verdicts.Plan {
	p := plane.JudgedBy(cur)
	if s.broken.judged != nil {
		p = s.broken.judged(p)
	}
	return p
}

// subscribed are the controllers that a nameserver is configured with.
func (s *sim) subscribed(n *nameserver) []*controller {
	if k := s.broken.subscribed; k > 0 {
		at := int(n.host.name[2]-'1') % len(s.controllers)
		return s.controllers[at : at+1]
	}
	return s.controllers
}

func (s *sim) isPaused(h *host) bool {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	return h.paused
}

// look is whether an agent's check reaches an endpoint, and whether that is up.
func (s *sim) look(a *agent, address string) (up, reached bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endpoints[address]
	return e.up, s.net.talk(a.host, e.host)
}

// lied is what an agent makes of an outcome.
func (s *sim) lied(a *agent, _ string, out check.Outcome) check.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	down := check.Outcome{Result: check.Failed, Reason: "a lie", Latency: time.Millisecond}
	up := check.Outcome{Result: check.Passed, Latency: time.Millisecond}
	switch a.lie {
	case allDown:
		return down
	case allUp:
		return up
	case inverted:
		if out.Result == check.Passed {
			return down
		}
		return up
	case atRandom:
		if s.lies.IntN(2) == 0 {
			return down
		}
		return up
	default:
		return out
	}
}

// reports intercepts what an agent sends.
func (s *sim) reports(a *agent) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		st, err := streamer(ctx, desc, cc, method, opts...)
		if err != nil {
			return nil, err
		}
		return &reportStream{st, s, a}, nil
	}
}

type reportStream struct {
	grpc.ClientStream
	s *sim
	a *agent
}

// SendMsg implements grpc.ClientStream.
func (r *reportStream) SendMsg(m any) error {
	if req, ok := m.(*pb.ReportRequest); ok {
		if beat := req.GetHeartbeat(); beat != nil {
			r.s.mu.Lock()
			beat.ClockMillis += r.a.skew.Milliseconds()
			r.s.mu.Unlock()
		}
		if f := r.s.broken.fromAgent; f != nil {
			f(r.s, r.a, req)
		}
	}
	return r.ClientStream.SendMsg(m)
}

// feeds intercepts what a nameserver gets and sends.
func (s *sim) feeds(*nameserver) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		st, err := streamer(ctx, desc, cc, method, opts...)
		if err != nil || s.broken.toNameserver == nil && s.broken.fromNameserver == nil || !strings.HasSuffix(method, "/Subscribe") {
			return st, err
		}
		f := &feedStream{ClientStream: st, from: s.broken.fromNameserver}
		if s.broken.toNameserver != nil {
			f.to = s.broken.toNameserver()
		}
		return f, nil
	}
}

type feedStream struct {
	grpc.ClientStream
	to   func(*pb.SubscribeResponse)
	from func(*pb.SubscribeRequest)
}

// RecvMsg implements grpc.ClientStream.
func (f *feedStream) RecvMsg(m any) error {
	err := f.ClientStream.RecvMsg(m)
	if resp, ok := m.(*pb.SubscribeResponse); ok && err == nil && f.to != nil {
		f.to(resp)
	}
	return err
}

// SendMsg implements grpc.ClientStream.
func (f *feedStream) SendMsg(m any) error {
	if req, ok := m.(*pb.SubscribeRequest); ok && f.from != nil {
		f.from(req)
	}
	return f.ClientStream.SendMsg(m)
}
