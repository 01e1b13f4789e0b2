package probes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead-dns/fairlead/probes/check"
)

// The rhythm in which an agent looks whether it is cut off.
const (
	peersEvery   = time.Second
	peersTimeout = 950 * time.Millisecond
	// peersFall is how many rounds in a row must find nobody.
	peersFall = 3
	// peersFirst is how many are asked at first. The others are asked only when
	// none of these has answered after peersPatience, so that a large fleet does
	// not keep itself busy.
	peersFirst    = 4
	peersPatience = 300 * time.Millisecond
	// addressPause is how long the next address of a peer waits for an answer of
	// those before (RFC 8305 section 5), and addressesMost how many are tried at once.
	addressPause  = 150 * time.Millisecond
	addressesMost = 4
)

// isolation tells whether the vantage itself is cut off: whether, three times in a
// row, none of its references and fellow agents could be reached by TCP. A refused
// connection is an answer. Any answer ends it. Without references and fellows that
// may be probed it cannot tell, and says that it is not.
type isolation struct {
	guard   *check.Guard
	dial    func(context.Context, netip.AddrPort) (net.Conn, error)
	resolve func(ctx context.Context, hostPort string) ([]netip.AddrPort, error)
	log     *slog.Logger
	m       *metrics

	// Owned by the goroutine that calls round.
	random *rand.Rand
	fails  int
	warned map[string]bool // peers that the guard refuses

	mu     sync.Mutex
	reason string
	since  time.Time
}

func newIsolation(o *Options, m *metrics) *isolation {
	return &isolation{
		guard: check.NewGuard(o.AllowTargets), dial: o.Dial, resolve: resolve, log: o.Log, m: m,
		random: o.random(ofIsolation), warned: map[string]bool{},
	}
}

// why says why the vantage is cut off and since when; "": it is not.
func (i *isolation) why() (reason string, since time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reason, i.since
}

// run looks around until ctx ends. peers are asked for anew in every round.
func (i *isolation) run(ctx context.Context, peers func() (references, fellows []string)) {
	every := time.NewTicker(peersEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			references, fellows := peers()
			i.round(ctx, references, fellows)
		}
	}
}

// round asks the peers once.
func (i *isolation) round(ctx context.Context, references, fellows []string) {
	peers := make([]*peer, 0, len(references)+len(fellows))
	for n, address := range append(references[:len(references):len(references)], fellows...) {
		peers = append(peers, &peer{address: address, reference: n < len(references)})
	}
	i.random.Shuffle(len(peers), func(a, b int) { peers[a], peers[b] = peers[b], peers[a] })
	reached := i.ask(ctx, peers)
	if ctx.Err() != nil {
		return
	}
	var refs, others int
	for _, p := range peers {
		switch {
		case p.refused != nil:
			if !i.warned[p.address] {
				i.warned[p.address] = true
				i.log.Warn("a reference or fellow agent does not count", "address", p.address, "why", p.refused)
			}
		case p.reference:
			refs++
		default:
			others++
		}
	}
	switch {
	case reached || refs+others == 0:
		i.fails = 0
		i.set("")
	default:
		if i.fails++; i.fails >= peersFall {
			i.set(nobody(refs, others))
		}
	}
}

// nobody says who cannot be reached.
func nobody(references, fellows int) string {
	var who []string
	if references > 0 {
		who = append(who, count(references, "reference"))
	}
	if fellows > 0 {
		who = append(who, count(fellows, "fellow agent"))
	}
	return "none of " + strings.Join(who, " and ") + " can be reached"
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

func (i *isolation) set(reason string) {
	i.mu.Lock()
	was := i.reason
	if (was == "") != (reason == "") {
		i.since = time.Now()
	}
	i.reason = reason
	i.mu.Unlock()
	switch {
	case was == "" && reason != "":
		i.m.isolated.Set(1)
		i.log.Warn("this agent is isolated: its opinions have no vote", "why", reason)
	case was != "" && reason == "":
		i.m.isolated.Set(0)
		i.log.Info("this agent is no longer isolated")
	}
}

// peer is a reference or a fellow agent.
type peer struct {
	address   string
	reference bool
	refused   error // why it may not be probed
}

// ask asks peers until one has answered or all have failed. In the first case not
// all of them were asked.
func (i *isolation) ask(ctx context.Context, peers []*peer) (reached bool) {
	ctx, cancel := context.WithTimeout(ctx, peersTimeout)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	answers := make(chan bool, len(peers))
	ask := func(peers []*peer) {
		for _, p := range peers {
			running.Go(func() { answers <- i.reach(ctx, p) })
		}
	}
	first := min(peersFirst, len(peers))
	ask(peers[:first])
	patience := time.NewTimer(peersPatience)
	defer patience.Stop()
	for asked, failed := first, 0; failed < len(peers); {
		select {
		case ok := <-answers:
			if ok {
				return true
			}
			failed++
		case <-patience.C:
			ask(peers[asked:])
			asked = len(peers)
			continue
		}
		if failed == asked {
			ask(peers[asked:])
			asked = len(peers)
		}
	}
	return false
}

// reach tells whether a peer answers, at any of its addresses.
func (i *isolation) reach(ctx context.Context, p *peer) bool {
	addrs, err := i.resolve(ctx, p.address)
	if err != nil {
		return false
	}
	var refused error
	allowed := make([]netip.AddrPort, 0, len(addrs))
	for _, addr := range addrs {
		if err := i.guard.Check(addr.Addr()); err != nil {
			refused = err
		} else {
			allowed = append(allowed, addr)
		}
	}
	if len(allowed) == 0 {
		p.refused = refused
		return false
	}
	return i.any(ctx, alternate(allowed))
}

// any tells whether one of the addresses of a peer answers. One that swallows
// packets must not use up the time of the others, as that of an IPv6 whose path is
// broken would: they are tried one shortly after the other, and the next at once
// when one has failed.
func (i *isolation) any(ctx context.Context, addrs []netip.AddrPort) bool {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	answers := make(chan bool, len(addrs))
	pause := time.NewTimer(addressPause)
	defer pause.Stop()
	tried, failed := 0, 0
	try := func() {
		if tried == len(addrs) || tried-failed == addressesMost {
			return
		}
		addr := addrs[tried]
		tried++
		running.Go(func() { answers <- i.answers(ctx, addr) })
		pause.Reset(addressPause)
	}
	for try(); failed < len(addrs); try() {
		select {
		case ok := <-answers:
			if ok {
				return true
			}
			failed++
		case <-pause.C:
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// answers tells whether something answers at an address.
func (i *isolation) answers(ctx context.Context, addr netip.AddrPort) bool {
	conn, err := i.dial(ctx, addr)
	if err == nil {
		conn.Close()
	}
	return err == nil || errors.Is(err, syscall.ECONNREFUSED)
}

// alternate puts addresses of the two families in turns, the first one's first
// (RFC 8305 section 4): many of a family that is broken would use up the time of
// the other.
func alternate(addrs []netip.AddrPort) []netip.AddrPort {
	var first, other []netip.AddrPort
	for _, addr := range addrs {
		if addr.Addr().Is4() == addrs[0].Addr().Is4() {
			first = append(first, addr)
		} else {
			other = append(other, addr)
		}
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for n := range max(len(first), len(other)) {
		out = append(out, first[min(n, len(first)):min(n+1, len(first))]...)
		out = append(out, other[min(n, len(other)):min(n+1, len(other))]...)
	}
	return out
}

// resolve finds the addresses of HOST:PORT.
func resolve(ctx context.Context, hostPort string) ([]netip.AddrPort, error) {
	if addr, err := netip.ParseAddrPort(hostPort); err == nil {
		return []netip.AddrPort{addr}, nil
	}
	host, text, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, fmt.Errorf("%q: want HOST:PORT: %w", hostPort, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q: want a port from 1 to 65535: %w", hostPort, err)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, a := range addrs {
		out = append(out, netip.AddrPortFrom(a.Unmap(), uint16(port)))
	}
	return out, nil
}
