package verdicts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// Limits on what agents may send; what is beyond is refused or left out, and
// counted.
const (
	// MaxOpinions bounds the opinions of one message and of one agent.
	MaxOpinions = 100_000
	// MaxTargetID and MaxReason bound texts, in bytes.
	MaxTargetID = 512
	MaxReason   = 256
	// MaxGuests bounds the agents that report without being registered.
	MaxGuests = 64
)

// PauseLimit is how long the process may stand still before it counts as
// paused: then it trusts nothing it has heard before. One that was overloaded for
// so long, and worked, is not.
const PauseLimit = time.Second

// Options say how a judge works.
type Options struct {
	// Name is the controller's name, for logs.
	Name string
	// Incarnation is random per process; 0 draws one.
	Incarnation uint64
	// FreshFor is how long an agent's opinions count after its last message.
	// Default 3s.
	FreshFor time.Duration
	// SeedWait is how long a judge that cannot decide every target waits for
	// seeds and agents before it is ready with what it has. Default 5s.
	SeedWait time.Duration
	// CPU is the processor time that the process has used so far, by which a pause
	// of the process is told from an overload. Nil: the operating system's word.
	CPU func() time.Duration
	// Authorize says whether the caller may report as that agent; a gRPC status
	// error is passed on as it is. Nil accepts all.
	Authorize func(ctx context.Context, agent, region string) error

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (o *Options) validate() error {
	if o.FreshFor == 0 {
		o.FreshFor = 3 * time.Second
	}
	if o.SeedWait == 0 {
		o.SeedWait = 5 * time.Second
	}
	for o.Incarnation == 0 {
		o.Incarnation = rand.Uint64()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CPU == nil {
		o.CPU = cpuTime
	}
	if o.Authorize == nil {
		o.Authorize = func(context.Context, string, string) error { return nil }
	}
	var errs []error
	if o.FreshFor < 500*time.Millisecond {
		errs = append(errs, fmt.Errorf("verdicts: FreshFor is %s: want at least 500ms, two heartbeats of an agent", o.FreshFor))
	}
	if o.SeedWait < 0 {
		errs = append(errs, fmt.Errorf("verdicts: SeedWait is %s: want 0s or more", o.SeedWait))
	}
	return errors.Join(errs...)
}

// Plan is what to judge, and whose votes count. It is not changed after SetPlan.
type Plan struct {
	Generation regions.Generation
	// Agents are the registered vantages.
	Agents []Agent
	// Assignments name every target once. How ballots on a target are counted,
	// and how many vantages it gets, its check says.
	Assignments []*pb.Assignment
	// Regions holds, by assignment, the regions that the target stands in as an
	// endpoint: the guard asks which of them are lost as a whole. Optional.
	Regions [][]string
	// Latches are the regions of services with manual failback.
	Latches []LatchGroup
	// Guard is the mass-withdrawal guard's policy; the zero value holds nothing.
	Guard regions.Guard
	// Releases holds, by latch (regions.FailbackLatch, regions.GuardLatch), the
	// trip that is released with all before it.
	Releases map[string]uint64
}

// Agent is a registered vantage.
type Agent struct {
	Name, Region string
	// References answer TCP whenever the vantage has a network, and Address is
	// where its fellow agents reach it: by both it tells whether it is cut off.
	References []string
	Address    string
}

// LatchGroup is a region of a service that waits for a person once it was out of
// service by verdicts.
type LatchGroup struct {
	Service, Region string
	// Targets holds, by endpoint of the region, the target of each family; "" where
	// it has none. A host name stands under V4.
	Targets [][2]string
	// MinHealthyPercent of the endpoints keep the region in service; 0: any one.
	MinHealthyPercent int
	// Confirmed: the service follows what is confirmed (active-passive).
	Confirmed bool
	// Independent: A and AAAA choose by themselves, so that a region is out when
	// one family is. Otherwise an endpoint is up while one of its families is.
	Independent bool
}
