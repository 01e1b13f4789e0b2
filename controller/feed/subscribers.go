package feed

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

const (
	// keepGone is how long a nameserver that left stays in the status.
	keepGone = 24 * time.Hour
	// maxSubscribers bounds the nameservers that are remembered.
	maxSubscribers = 10_000
	// maxText bounds what a nameserver says of itself, in bytes.
	maxText = 1024
)

// subscriber is one nameserver's newest stream. Server.mu guards it.
type subscriber struct {
	name, region, installation string
	connected                  bool
	generation                 regions.Generation
	refusal                    string
	following                  bool
	healthAge                  time.Duration // when heard
	healthState                string
	heardAt                    time.Time
	breakGlass                 []held
	trouble                    string // with them
	// queries are what it is to be asked, asked who waits for its answers.
	queries chan *pb.UsageQuery
	asked   map[uint64]chan<- usage
}

// checkHello checks what will be kept and shown.
func checkHello(h *pb.NameserverHello) error {
	switch {
	case h == nil || h.GetNameserver() == "":
		return status.Error(codes.InvalidArgument, "the first message must be a hello with the nameserver's name")
	case len(h.GetNameserver()) > 63:
		return status.Errorf(codes.InvalidArgument, "nameserver: a name of %d bytes, at most 63", len(h.GetNameserver()))
	case len(h.GetRegion()) > 63:
		return status.Errorf(codes.InvalidArgument, "region: a name of %d bytes, at most 63", len(h.GetRegion()))
	case len(h.GetInstallation()) > 64:
		return status.Errorf(codes.InvalidArgument, "installation: %d bytes, at most 64", len(h.GetInstallation()))
	}
	return nil
}

// join enters a stream; it replaces an older one of the same name. Two
// processes with one name are both fed, and the newer one is shown.
func (s *Server) join(h *pb.NameserverHello) (*subscriber, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	sub := &subscriber{
		name: h.GetNameserver(), region: h.GetRegion(), installation: h.GetInstallation(),
		connected: true, heardAt: now, generation: generation(h.GetGeneration()),
		queries: make(chan *pb.UsageQuery, maxQueries), asked: map[uint64]chan<- usage{},
	}
	old := s.subs[sub.name]
	if old == nil && len(s.subs) >= maxSubscribers && !s.forget(now) {
		return nil, status.Errorf(codes.ResourceExhausted, "%d nameservers are connected already", maxSubscribers)
	}
	if old != nil && old.connected {
		s.opts.Log.Warn("nameserver subscribed again while it is connected; are there two processes with one --name?", "nameserver", sub.name)
	}
	s.subs[sub.name] = sub
	var was []held
	if old != nil {
		was = old.breakGlass
	}
	s.holds(sub, h.GetBreakGlass(), was, now)
	s.opts.Log.Info("nameserver subscribed", "nameserver", sub.name, "region", sub.region, "generation", sub.generation.String())
	s.opts.Planner.Saw(sub.name, sub.generation, sub.installation)
	s.notify()
	return sub, nil
}

// forget drops the nameservers that left long ago, or else the one that left
// first; false when all are connected.
func (s *Server) forget(now time.Time) bool {
	var first *subscriber
	n := len(s.subs)
	for name, sub := range s.subs {
		switch {
		case sub.connected:
		case now.Sub(sub.heardAt) > keepGone:
			delete(s.subs, name)
		case first == nil || sub.heardAt.Before(first.heardAt):
			first = sub
		}
	}
	if len(s.subs) == n && first != nil {
		delete(s.subs, first.name)
	}
	return len(s.subs) < n
}

// current tells whether a stream is its nameserver's newest.
func (s *Server) current(sub *subscriber) bool { return s.subs[sub.name] == sub }

func (s *Server) leave(sub *subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.connected, sub.following = false, false
	sub.answersNoMore()
	if s.current(sub) {
		s.opts.Log.Info("nameserver left", "nameserver", sub.name)
		s.opts.Planner.Lost(sub.name)
		s.notify()
	}
}

func shortened(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "")
}

func (s *Server) acknowledge(sub *subscriber, a *pb.PlanAcknowledgement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.heardAt = time.Now()
	sub.generation = generation(a.GetGeneration())
	sub.refusal = shortened(a.GetRefusal())
	if cur := s.opts.Planner.Current(); sub.installation == "" && cur != nil {
		sub.installation = cur.Head.GetInstallation() // it has its first generation from us
	}
	s.revive(sub)
	if s.current(sub) {
		s.opts.Planner.Saw(sub.name, sub.generation, sub.installation)
		s.notify()
	}
}

func (s *Server) heard(sub *subscriber, f *pb.Following) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.heardAt, sub.following, sub.healthAge = time.Now(), f.GetFollowing(), healthpb.Age(f.GetHealthAgeMillis())
	if sub.healthState = f.GetHealthState(); !slices.Contains(healthStates, sub.healthState) {
		sub.healthState = "" // of another version
	}
	if f.GetBreakGlass() != nil {
		s.holds(sub, f.GetBreakGlass(), sub.breakGlass, sub.heardAt)
	}
	s.revive(sub)
}

// revive makes a stream that speaks the nameserver's own again when the one
// that replaced it has left. After a pause of this controller the streams that
// a nameserver opened meanwhile join in any order, the dead among them last.
// mu is held.
func (s *Server) revive(sub *subscriber) {
	if cur := s.subs[sub.name]; cur == nil || cur == sub || cur.connected {
		return
	}
	s.subs[sub.name] = sub
	s.opts.Planner.Saw(sub.name, sub.generation, sub.installation)
	s.notify()
}

// notify wakes Wait. mu is held.
func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// healthStates is what the age of its verdicts makes them at a nameserver.
var healthStates = []string{"fresh", "frozen", "fail-open"}

// Nameserver is one nameserver as the feed knows it.
type Nameserver struct {
	Name, Region string
	Installation string // whose generation it serves; empty: not known
	Connected    bool
	Generation   regions.Generation
	Refusal      string
	Following    bool
	HeardAt      time.Time
	// HealthAge is how old the verdicts are that it answers by, HealthState what
	// that makes them; empty: it has not said.
	HealthAge   time.Duration
	HealthState string
}

// Nameservers lists the nameservers that are or were subscribed, by name.
func (s *Server) Nameservers() []Nameserver {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var out []Nameserver
	for _, n := range s.subs {
		if n.connected || now.Sub(n.heardAt) <= keepGone {
			out = append(out, Nameserver{n.name, n.region, n.installation, n.connected, n.generation, n.refusal, n.following, n.heardAt, n.healthAge + now.Sub(n.heardAt), n.healthState})
		}
	}
	slices.SortFunc(out, func(a, b Nameserver) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Wait returns when every nameserver that is connected, and every registered
// one, serves the generation or a newer one of its epoch, or when ctx ends; it
// says which do and which do not, and why where that is known.
func (s *Server) Wait(ctx context.Context, gen regions.Generation, registered []string) *pb.Convergence {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		c := s.Convergence(gen, registered)
		if len(c.GetMissing()) == 0 {
			return c
		}
		select {
		case <-ctx.Done():
			return c
		case <-s.stopped:
			return c
		case <-changed:
		}
	}
}

// Convergence is what Wait says now.
func (s *Server) Convergence(gen regions.Generation, registered []string) *pb.Convergence {
	c := &pb.Convergence{Reasons: map[string]string{}}
	installation := ""
	if cur := s.opts.Planner.Current(); cur != nil {
		installation = cur.Head.GetInstallation()
	}
	absent := make(map[string]bool, len(registered))
	for _, name := range registered {
		absent[name] = true
	}
	for _, n := range s.Nameservers() {
		if !n.Connected {
			continue
		}
		delete(absent, n.Name)
		serves, why := n.serves(gen, installation)
		if serves {
			c.Serving = append(c.Serving, n.Name)
			continue
		}
		c.Missing = append(c.Missing, n.Name)
		if why != "" {
			c.Reasons[n.Name] = why
		}
	}
	for name := range absent {
		c.Missing = append(c.Missing, name)
		c.Reasons[name] = "it is not connected to this controller"
	}
	slices.Sort(c.Missing)
	return c
}

// serves tells whether a nameserver serves a generation or one after it, and
// if not, why, where more is known than that it is late. A higher number alone
// is none after it: another installation counts by itself, and a restore begins
// an epoch that may lack what was changed in the one before.
func (n *Nameserver) serves(gen regions.Generation, installation string) (ok bool, why string) {
	switch {
	case foreign(n.Installation, installation):
		return false, fmt.Sprintf("it serves generation %v of another installation, %q; this is %q", n.Generation, n.Installation, installation)
	case n.Generation.Epoch > gen.Epoch:
		return false, fmt.Sprintf("it serves generation %v, of a later epoch: the store was restored meanwhile, or this controller's is an old copy; look whether the change is there", n.Generation)
	case n.Generation.Compare(gen) >= 0:
		return true, ""
	case n.Refusal != "":
		return false, "it refuses a generation: " + n.Refusal
	}
	return false, ""
}

// foreign tells whether an installation is another one than ours, as far as both
// are known.
func foreign(theirs, ours string) bool { return theirs != "" && ours != "" && theirs != ours }

func generation(g *pb.Generation) regions.Generation {
	return regions.Generation{Epoch: g.GetEpoch(), Revision: g.GetRevision()}
}
