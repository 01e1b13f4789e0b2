package transport

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Server listens on UDP and TCP.
type Server struct {
	o     Options
	start time.Time
	addrs []netip.AddrPort
	udp   []*udpSocket
	tcp   *tcpServer

	panics    atomic.Uint64
	lastPanic atomic.Int64 // when one was logged, since start
}

// New binds the sockets. Run serves them; a server that never runs is closed
// with Close.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	groups, err := o.groups()
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, start: time.Now()}
	s.tcp = newTCPServer(s)
	var errs []error
	for _, g := range groups {
		b, err := s.o.bind(g)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, c := range b.udp {
			u, err := newUDPSocket(s, c)
			if err != nil {
				errs = append(errs, err)
			}
			s.udp = append(s.udp, u)
		}
		for _, l := range b.tcp {
			s.tcp.listeners = append(s.tcp.listeners, l)
			s.addrs = append(s.addrs, l.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort())
		}
	}
	if len(errs) > 0 {
		s.Close()
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// Addrs are the addresses in the order of Options, each served over UDP and
// TCP; :PORT gives one for each family.
func (s *Server) Addrs() []netip.AddrPort { return slices.Clone(s.addrs) }

// Close closes the sockets of a server that does not run.
func (s *Server) Close() {
	for _, u := range s.udp {
		u.conn.Close()
	}
	for _, l := range s.tcp.listeners {
		l.Close()
	}
}

// Run serves until the context ends, then lets responses under way finish for
// at most Options.Drain. It leaves no socket open and nothing running.
func (s *Server) Run(ctx context.Context) error {
	// A socket that dies by itself ends the others too.
	group, ctx := errgroup.WithContext(ctx)
	serve := func(f func(context.Context) error) { group.Go(func() error { return f(ctx) }) }
	for _, u := range s.udp {
		serve(u.serve)
	}
	for _, l := range s.tcp.listeners {
		serve(func(ctx context.Context) error { return s.tcp.accept(ctx, l) })
	}

	<-ctx.Done()
	// Wake whoever reads; who is answering finishes.
	for _, u := range s.udp {
		_ = u.conn.SetReadDeadline(s.start)
	}
	for _, l := range s.tcp.listeners {
		l.Close()
	}
	s.tcp.drain()
	forced := time.AfterFunc(s.o.Drain, func() {
		for _, u := range s.udp {
			u.conn.Close()
		}
		s.tcp.closeAll()
	})
	err := group.Wait()
	s.tcp.wg.Wait()
	forced.Stop()
	s.Close()
	return err
}

// panicLogInterval keeps a query that panics from filling the log.
const panicLogInterval = time.Minute

// handle calls the handler. A panic costs the one response, nothing else.
func (s *Server) handle(dst, query []byte, src netip.AddrPort, local netip.Addr, tcp bool) (resp []byte) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		resp = nil
		s.panics.Add(1)
		now, last := int64(time.Since(s.start)), s.lastPanic.Load()
		if (last == 0 || now-last > int64(panicLogInterval)) && s.lastPanic.CompareAndSwap(last, now) {
			s.o.Logger.Error("a query made the handler panic", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return s.o.Handler(dst, query, src, local, tcp)
}
