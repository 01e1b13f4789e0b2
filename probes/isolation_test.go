package probes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// network answers, refuses or swallows connections by address.
type network struct {
	mu    sync.Mutex
	says  map[string]error // nil: it connects; not there: nothing comes back
	tries map[string]int
}

func newNetwork() *network { return &network{says: map[string]error{}, tries: map[string]int{}} }

func (n *network) set(address string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.says[address] = err
}

func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.says)
}

func (n *network) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	n.tries[to.String()]++
	err, ok := n.says[to.String()]
	n.mu.Unlock()
	switch {
	case !ok:
		<-ctx.Done()
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	}
	here, there := net.Pipe()
	there.Close()
	return here, nil
}

func (n *network) tried(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tries[address]
}

func withPeers(revision int64, references, fellows []string) *pb.Assignments {
	a := assignments(revision, "t")
	a.References, a.Fellows = references, fellows
	return a
}

func TestIsolation(t *testing.T) {
	n := newNetwork()
	var references, fellows []string
	for i := range 2 {
		references = append(references, fmt.Sprintf("192.0.2.%d:443", i+1))
	}
	for i := range 3 {
		fellows = append(fellows, fmt.Sprintf("198.51.100.%d:8082", i+1))
	}
	options := func(o *Options) { o.Dial = n.dial }
	inBubbleWith(t, []string{"c1"}, options, func(t *testing.T, s *scene, cs []*controller) {
		isolated := func() (why string) {
			cs[0].with(func() { why = cs[0].isolated })
			if got := s.Status().Isolated; got != why {
				t.Errorf("the status says %q, the heartbeat %q", got, why)
			}
			return why
		}
		// Nobody is named: it cannot tell.
		cs[0].assigns(1, "t")
		sleep(10 * time.Second)
		if why := isolated(); why != "" {
			t.Errorf("without references: %q", why)
		}
		// One that answers is enough, and a refusal is an answer.
		n.set(fellows[2], syscall.ECONNREFUSED)
		cs[0].sends(withPeers(2, references, fellows))
		sleep(10 * time.Second)
		if why := isolated(); why != "" {
			t.Errorf("with a fellow that answers: %q", why)
		}
		n.cut()
		sleep(2 * time.Second)
		if why := isolated(); why != "" {
			t.Errorf("too early: %q", why)
		}
		sleep(3500 * time.Millisecond)
		if why, want := isolated(), "none of 2 references and 3 fellow agents can be reached"; why != want {
			t.Errorf("cut off: %q, want %q", why, want)
		}
		// It goes on probing and reporting.
		s.world.set("t", down)
		sleep(5 * time.Second)
		if got := cs[0].table(); got != "t=U" {
			t.Errorf("table %s", got)
		}
		// Its peers change while it is cut off.
		cs[0].sends(withPeers(3, references[:1], nil))
		sleep(2 * time.Second)
		if why, want := isolated(), "none of 1 reference can be reached"; why != want {
			t.Errorf("cut off: %q, want %q", why, want)
		}
		n.set(references[0], nil)
		sleep(2 * time.Second)
		if why := isolated(); why != "" {
			t.Errorf("with a reference that answers again: %q", why)
		}
		// A controller that repeats its assignments as unchanged repeats the peers too.
		n.cut()
		cs[0].sends(&pb.Assignments{Generation: &pb.Generation{Epoch: 1, Revision: 4}, Unchanged: true})
		sleep(6 * time.Second)
		if why := isolated(); why == "" {
			t.Error("the references are forgotten")
		}
		cs[0].sends(withPeers(5, nil, nil))
		sleep(2 * time.Second)
		if why := isolated(); why != "" {
			t.Errorf("without references again: %q", why)
		}
	})
}

// round runs one round and returns what it holds then.
func (i *isolation) once(t *testing.T, references, fellows []string) string {
	i.round(t.Context(), references, fellows)
	why, _ := i.why()
	return why
}

func testIsolation(t *testing.T, n *network, log slog.Handler) *isolation {
	m, err := newMetrics(nil, newHistory(start, minHistory))
	if err != nil {
		t.Fatal(err)
	}
	return newIsolation(&Options{Dial: n.dial, Log: slog.New(log), Seed: 1}, m)
}

// Peers that the guard refuses are not probed, do not count, and are named once.
func TestRefusedPeersDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var log strings.Builder
		i := testIsolation(t, n, slog.NewTextHandler(&log, nil))
		refused := []string{"127.0.0.1:443", "[fe80::1]:80"}
		for range 5 {
			if why := i.once(t, refused, nil); why != "" {
				t.Errorf("refused peers only: %q", why)
			}
		}
		for range 5 {
			i.once(t, append(refused, "192.0.2.1:443"), []string{"127.0.0.2:8082", "no port", "192.0.2.2:99999"})
		}
		if why, _ := i.why(); why != "none of 1 reference and 2 fellow agents can be reached" {
			t.Errorf("isolated: %q", why)
		}
		for _, address := range append(refused, "127.0.0.2:8082") {
			if got := strings.Count(log.String(), `address=`+address) + strings.Count(log.String(), `address="`+address); got != 1 {
				t.Errorf("%s is named %d times in:\n%s", address, got, log.String())
			}
			if n.tried(address) != 0 {
				t.Errorf("%s was connected to", address)
			}
		}
	})
}

// A large fleet does not ask everybody in every round, and finds the one that
// answers all the same.
func TestFewPeersAreAskedWhenTheyAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		i := testIsolation(t, n, slog.DiscardHandler)
		var fellows []string
		total := func() (sum int) {
			for _, f := range fellows {
				sum += n.tried(f)
			}
			return sum
		}
		for k := range 50 {
			fellows = append(fellows, fmt.Sprintf("192.0.2.%d:8082", k))
			n.set(fellows[k], nil)
		}
		for range 20 {
			i.once(t, nil, fellows)
		}
		if got := total(); got > 20*peersFirst {
			t.Errorf("%d connections in 20 rounds", got)
		}
		for k := range fellows[1:] {
			n.set(fellows[k+1], errors.New("connection reset"))
		}
		for range 20 {
			if why := i.once(t, nil, fellows); why != "" {
				t.Fatalf("one of 50 answers: %q", why)
			}
		}
		n.cut()
		n.set(fellows[7], nil)
		for range 5 {
			if why := i.once(t, nil, fellows); why != "" {
				t.Fatalf("one of 50 answers: %q", why)
			}
		}
		// An answer in the last round but one begins the count anew.
		n.cut()
		i.once(t, nil, fellows)
		i.once(t, nil, fellows)
		n.set(fellows[7], nil)
		i.once(t, nil, fellows)
		n.cut()
		i.once(t, nil, fellows)
		if why := i.once(t, nil, fellows); why != "" {
			t.Errorf("after two rounds: %q", why)
		}
		if why := i.once(t, nil, fellows); why != "none of 50 fellow agents can be reached" {
			t.Errorf("after three rounds: %q", why)
		}
	})
}

// A peer is reached when any of its addresses answers, however many others swallow
// what is sent to them; no more than some are tried at once.
func TestPeersOfSeveralAddresses(t *testing.T) {
	v6 := func(n int) string { return fmt.Sprintf("[2001:db8::%d]:443", n) }
	v4 := func(n int) string { return fmt.Sprintf("192.0.2.%d:443", n) }
	reset := errors.New("connection reset")
	for name, test := range map[string]struct {
		addresses []string
		says      map[string]error
		isolated  bool
	}{
		"IPv6 is swallowed":             {[]string{v6(1), v4(1)}, map[string]error{v4(1): nil}, false},
		"a refusal after a swallowed":   {[]string{v6(1), v4(1)}, map[string]error{v4(1): syscall.ECONNREFUSED}, false},
		"many of IPv6 are swallowed":    {[]string{v6(1), v6(2), v6(3), v6(4), v6(5), v4(1), v4(2)}, map[string]error{v4(1): nil}, false},
		"many fail before the last":     {[]string{v4(1), v4(2), v4(3), v4(4), v4(5), v4(6), v6(1)}, map[string]error{v4(1): reset, v4(2): reset, v4(3): reset, v4(4): reset, v4(5): reset, v4(6): nil}, false},
		"the guard refuses the first":   {[]string{"127.0.0.1:443", v4(1)}, map[string]error{v4(1): nil}, false},
		"all are swallowed":             {[]string{v6(1), v6(2), v6(3), v4(1), v4(2), v4(3)}, nil, true},
		"all fail":                      {[]string{v6(1), v4(1)}, map[string]error{v6(1): reset, v4(1): reset}, true},
		"the guard refuses all of them": {[]string{"127.0.0.1:443", "[fe80::1]:443"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				for address, err := range test.says {
					n.set(address, err)
				}
				var log strings.Builder
				i := testIsolation(t, n, slog.NewTextHandler(&log, nil))
				i.resolve = func(context.Context, string) (out []netip.AddrPort, err error) {
					for _, a := range test.addresses {
						out = append(out, netip.MustParseAddrPort(a))
					}
					return out, nil
				}
				var most, running atomic.Int32
				i.dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
					if now := running.Add(1); now > most.Load() {
						most.Store(now)
					}
					defer running.Add(-1)
					return n.dial(ctx, to)
				}
				for range peersFall {
					i.once(t, []string{"reference.example:443"}, nil)
					if left := running.Load(); left != 0 {
						t.Errorf("%d connections are still being made", left)
					}
				}
				if why, _ := i.why(); (why != "") != test.isolated {
					t.Errorf("isolated: %q", why)
				}
				if most.Load() > addressesMost {
					t.Errorf("%d at once", most.Load())
				}
				if n.tried("127.0.0.1:443")+n.tried("[fe80::1]:443") != 0 {
					t.Error("an address was tried that the guard refuses")
				}
				if refused := strings.Contains(log.String(), "does not count"); refused != (test.says == nil && !test.isolated) {
					t.Errorf("log:\n%s", &log)
				}
			})
		})
	}
}

// When an address answers, the ones after it are left alone.
func TestFirstAddressThatAnswersIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.set("[2001:db8::1]:443", nil)
		i := testIsolation(t, n, slog.DiscardHandler)
		i.resolve = func(context.Context, string) ([]netip.AddrPort, error) {
			return []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:443"), netip.MustParseAddrPort("192.0.2.1:443")}, nil
		}
		for range 5 {
			i.once(t, []string{"reference.example:443"}, nil)
		}
		if got := n.tried("192.0.2.1:443"); got != 0 {
			t.Errorf("the second was tried %d times", got)
		}
	})
}

// Over real sockets: a listener, a port where nobody listens, and a name.
func TestPeersOverSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := l.Addr().String()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses := gone.Addr().String()
	gone.Close()
	defer l.Close()
	var o Options
	_ = o.validate()
	m, err := newMetrics(nil, newHistory(start, minHistory))
	if err != nil {
		t.Fatal(err)
	}
	o.AllowTargets = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	i := newIsolation(&o, m)
	_, port, _ := net.SplitHostPort(open)
	for _, address := range []string{open, refuses, net.JoinHostPort("localhost", port)} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if !i.reach(ctx, &peer{address: address}) {
			t.Errorf("%s is not reached", address)
		}
		cancel()
	}
}
