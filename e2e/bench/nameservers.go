package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"github.com/fairlead-dns/fairlead/authdns/feed"
	"github.com/fairlead-dns/fairlead/authdns/follow"
	"github.com/fairlead-dns/fairlead/regions"
)

const (
	// startLimit is how long nameservers may take to serve, and changeLimit how
	// long a change may take to reach all of them, before it is an error.
	startLimit  = 10 * time.Minute
	changeLimit = time.Minute
	// atATime is how many nameservers compile their plan at a time.
	atATime = 4
)

// connect connects as agents and nameservers do.
func connect(address string, s *setup) (*grpc.ClientConn, error) {
	creds, err := s.Pair.credentials()
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(creds), grpc.WithNoProxy(),
		grpc.WithStaticStreamWindowSize(1<<20), grpc.WithStaticConnWindowSize(4<<20),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 20 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}))
}

// followers are what the process of the nameservers is told: how many follow
// which controller.
type followers struct {
	setup
	Controller string
	Count      int
}

// order is what it is asked then, one of these.
type order struct {
	// Await times a change of targets. It is answered twice: when the nameservers
	// are watched, and when all have views with it.
	Await []int
	Want  regions.Status
	// Quiet waits until no view has changed for so long.
	Quiet time.Duration
	// Profile begins a processor profile to a file; empty: ends it.
	Profile *string
}

// reply is every answer.
type reply struct {
	Error string
	// At is when each nameserver had the change. The processes are on one machine,
	// so they have one clock.
	At    []time.Time
	Usage usage
}

// nameservers are followers with a subscription each, without sockets for
// queries and without a disk: hundreds of them share this process.
type nameservers struct {
	followers
	all    []*follow.Follower
	conns  []*grpc.ClientConn
	cancel context.CancelFunc
	ended  sync.WaitGroup
	// awaited is the change that is being timed; nil: none.
	awaited   atomic.Pointer[awaited]
	changedAt atomic.Int64 // when the last view changed, in Unix nanoseconds
}

// awaited is a change of verdicts, until all nameservers have views with it.
type awaited struct {
	targets []int32
	want    regions.Status
	at      []atomic.Int64 // by nameserver, in Unix nanoseconds; 0: not yet
	left    atomic.Int64
	all     chan struct{} // closed when all have it
}

// runNameservers is the process of the nameservers: it answers when all serve, and
// then order by order.
func runNameservers(in *json.Decoder, out *json.Encoder) error {
	n := &nameservers{}
	if err := in.Decode(&n.followers); err != nil {
		return err
	}
	tell := func(at []time.Time, err error) error {
		r := reply{At: at, Usage: used()}
		if err != nil {
			r.Error = err.Error()
		}
		return out.Encode(r)
	}
	err := n.startAll()
	defer n.stop()
	if err := tell(nil, err); err != nil {
		return err
	}
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			return err
		}
		var at []time.Time
		var err error
		switch {
		case o.Await != nil:
			var w *awaited
			if w, err = n.watch(o.Await, o.Want); err == nil {
				if err = tell(nil, nil); err != nil {
					return err
				}
				at, err = n.await(w)
			}
		case o.Quiet > 0:
			n.quiet(o.Quiet)
		case o.Profile != nil:
			err = profile(*o.Profile)
		}
		if err := tell(at, err); err != nil {
			return err
		}
	}
}

// startAll starts all nameservers and waits until they serve targets that are
// healthy.
func (n *nameservers) startAll() error {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	g := errgroup.Group{}
	g.SetLimit(atATime)
	end := time.Now().Add(startLimit)
	for i := range n.Count {
		f, err := n.start(ctx, log, i)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error {
			for time.Now().Before(end) {
				if v := f.Serving(); v != nil && v.View.State(0).Verdict == regions.Healthy {
					return nil
				}
				time.Sleep(20 * time.Millisecond)
			}
			return fmt.Errorf("nameserver %d does not serve after %v", i+1, startLimit)
		})
	}
	return g.Wait()
}

func (n *nameservers) start(ctx context.Context, log *slog.Logger, i int) (*follow.Follower, error) {
	f := follow.New(follow.Options{
		Name: fmt.Sprintf("ns-%d", i+1), Region: regionName(i % n.Regions), Version: "bench", Log: log,
		Publish: func(v *follow.Serving) { n.published(i, v) },
	})
	conn, err := connect(n.Controller, &n.setup)
	if err != nil {
		return nil, err
	}
	sub := feed.New(feed.Options{Controller: n.Controller, Conn: conn, Log: log, Hello: f.Hello, Wake: f.Wake, Report: f.Report})
	f.Add(sub)
	n.all, n.conns = append(n.all, f), append(n.conns, conn)
	n.ended.Go(func() { _ = f.Run(ctx) })
	n.ended.Go(func() { _ = sub.Run(ctx) })
	return f, nil
}

// published is called with everything that a nameserver newly answers from.
func (n *nameservers) published(i int, v *follow.Serving) {
	now := time.Now().UnixNano()
	n.changedAt.Store(now)
	w := n.awaited.Load()
	if w == nil || w.at[i].Load() != 0 {
		return
	}
	for _, t := range w.targets {
		if v.View.State(t).Verdict != w.want {
			return
		}
	}
	w.at[i].Store(now)
	if w.left.Add(-1) == 0 {
		close(w.all)
	}
}

// watch begins to wait for a change.
func (n *nameservers) watch(targets []int, want regions.Status) (*awaited, error) {
	w := &awaited{want: want, at: make([]atomic.Int64, len(n.all)), all: make(chan struct{})}
	p := n.all[0].Serving().Plan
	for _, t := range targets {
		i, ok := p.Target(targetID(t))
		if !ok {
			return nil, fmt.Errorf("no target %s", targetID(t))
		}
		w.targets = append(w.targets, i)
	}
	w.left.Store(int64(len(n.all)))
	n.awaited.Store(w)
	return w, nil
}

func (n *nameservers) await(w *awaited) ([]time.Time, error) {
	defer n.awaited.Store(nil)
	select {
	case <-w.all:
	case <-time.After(changeLimit):
		return nil, fmt.Errorf("%d of %d nameservers do not have a change after %v", w.left.Load(), len(n.all), changeLimit)
	}
	at := make([]time.Time, len(w.at))
	for i := range w.at {
		at[i] = time.Unix(0, w.at[i].Load())
	}
	return at, nil
}

// quiet waits until nothing has changed for so long.
func (n *nameservers) quiet(d time.Duration) {
	for {
		time.Sleep(d)
		if time.Since(time.Unix(0, n.changedAt.Load())) >= d {
			return
		}
	}
}

func (n *nameservers) stop() {
	n.cancel()
	n.ended.Wait()
	for _, c := range n.conns {
		c.Close()
	}
}

// nameserverProcess is the process of the nameservers.
type nameserverProcess struct{ *process }

// startNameservers starts so many in a process and waits until all serve.
func startNameservers(o *options, c *controller, s *setup, count int) (*nameserverProcess, error) {
	p, err := startProcess(o, "nameservers", followers{*s, c.Address, count})
	if err != nil {
		return nil, err
	}
	n := &nameserverProcess{p}
	if _, err := n.next(); err != nil {
		p.stop()
		return nil, err
	}
	return n, nil
}

// next is the next answer.
func (n *nameserverProcess) next() (r reply, err error) {
	if err = n.read(&r); err == nil && r.Error != "" {
		err = fmt.Errorf("the process of the nameservers: %s", r.Error)
	}
	return r, err
}

// tell gives an order and takes the answer.
func (n *nameserverProcess) tell(o order) (reply, error) {
	if err := n.Encode(o); err != nil {
		return reply{}, fmt.Errorf("the process of the nameservers: %w", err)
	}
	return n.next()
}

// await times a change, which send makes.
func (n *nameserverProcess) await(want regions.Status, targets []int, send func()) (times, error) {
	if _, err := n.tell(order{Await: targets, Want: want}); err != nil {
		return nil, err
	}
	began := time.Now()
	send()
	r, err := n.next()
	if err != nil {
		return nil, err
	}
	took := make(times, len(r.At))
	for i, at := range r.At {
		took[i] = at.Sub(began)
	}
	return took, nil
}
