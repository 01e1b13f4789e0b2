package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/fairlead-dns/fairlead/controller/feed"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// question is what the controller's process is asked; it answers with its usage.
type question struct {
	// Settled waits until the judge is ready with all agents and so many targets
	// are unhealthy, the others healthy.
	Settled *int
	// Profile begins a processor profile to a file; empty: ends it.
	Profile *string
	// Collect garbage before the answer.
	Collect bool
}

// beginning is what it says first: its address, and the memory that it has in use
// before it judges anything.
type beginning struct {
	Address string
	Memory  float64
}

// runController is the controller's process: a judge and a feed behind a gRPC
// server with the options of the real one.
func runController(in *json.Decoder, out *json.Encoder) error {
	var s setup
	if err := in.Decode(&s); err != nil {
		return err
	}
	cur, err := s.compile()
	if err != nil {
		return err
	}
	runtime.GC()
	runtime.GC()
	begins := beginning{Memory: used().Memory}
	judge, err := verdicts.New(verdicts.Options{Name: "controller"})
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	f := feed.New(feed.Options{Planner: &plans{current: cur, never: make(chan struct{})}, Judge: judge, Log: log})
	creds, err := s.Pair.credentials()
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.Creds(creds), grpc.MaxRecvMsgSize(64<<20), grpc.MaxConcurrentStreams(1000),
		grpc.StaticStreamWindowSize(1<<20), grpc.StaticConnWindowSize(4<<20),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 2 * time.Second, PermitWithoutStream: true}),
	)
	pb.RegisterAgentServiceServer(server, judge)
	pb.RegisterFeedServiceServer(server, f)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	begins.Address = l.Addr().String()
	if err := out.Encode(begins); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	judge.SetPlan(s.judged(cur))
	ended := make(chan error, 4)
	go func() { ended <- judge.Run(ctx) }()
	go func() { ended <- f.Run(ctx) }()
	go func() { ended <- server.Serve(l) }()
	go func() { ended <- answerController(in, out, judge, s.Agents) }()
	return <-ended
}

// answerController answers questions to the end of them.
func answerController(in *json.Decoder, out *json.Encoder, judge *verdicts.Judge, agents int) error {
	for {
		var q question
		if err := in.Decode(&q); err != nil {
			return err
		}
		at := time.Now()
		if q.Settled != nil {
			for ; !settled(judge.State(), agents, *q.Settled); at = time.Now() {
				time.Sleep(10 * time.Millisecond)
			}
		}
		if q.Profile != nil {
			if err := profile(*q.Profile); err != nil {
				return err
			}
		}
		if q.Collect {
			runtime.GC()
			runtime.GC()
		}
		u := used()
		u.At = at
		if err := out.Encode(u); err != nil {
			return err
		}
	}
}

func settled(st *verdicts.State, agents, unhealthy int) bool {
	if !st.Ready || st.AgentsFresh != agents {
		return false
	}
	for t := range st.All() {
		switch t.Last {
		case regions.Unhealthy:
			unhealthy--
		case regions.Unknown:
			return false
		}
	}
	return unhealthy == 0
}

// controller is the controller's process.
type controller struct {
	*process
	beginning
}

func startController(o *options, s *setup) (*controller, error) {
	p, err := startProcess(o, "controller", s)
	if err != nil {
		return nil, err
	}
	c := &controller{process: p}
	if err := p.read(&c.beginning); err != nil {
		p.stop()
		return nil, err
	}
	return c, nil
}

func (c *controller) use(q question) (u usage, err error) {
	err = c.ask(q, &u)
	return u, err
}

// settled waits until so many targets are unhealthy and all else is well.
func (c *controller) settled(unhealthy int) (usage, error) {
	return c.use(question{Settled: &unhealthy})
}

// watch is what it uses a second, watched for a while.
func (c *controller) watch(d time.Duration) (a time.Duration, err error) {
	before, err := c.use(question{})
	if err != nil {
		return 0, err
	}
	time.Sleep(d)
	after, err := c.use(question{})
	if err != nil {
		return 0, err
	}
	return time.Duration(float64(after.CPU-before.CPU) / after.At.Sub(before.At).Seconds()), nil
}
