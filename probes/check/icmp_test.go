package check

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/icmp"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func icmpSpec(p *pb.IcmpProbe) *pb.HealthCheckSpec {
	return &pb.HealthCheckSpec{Timeout: durationpb.New(ample), Probe: &pb.HealthCheckSpec_Icmp{Icmp: p}}
}

// mayPing skips a test, loudly, where the kernel lets this process send no ICMP.
// There the check abstains and says so.
func mayPing(t *testing.T) {
	t.Helper()
	out := mustNew(t, icmpSpec(nil), loopback).Probe(t.Context(), "127.0.0.1")
	if out.Result == Abstained && strings.Contains(out.Reason, "may not send ICMP") {
		t.Skipf("NOT TESTED: the kernel refuses ICMP to this process (%s)", out.Reason)
	}
}

func TestICMP(t *testing.T) {
	mayPing(t)
	for _, target := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(target, "0"))
		if err != nil {
			t.Logf("NOT TESTED: this host has no %s: %v", target, err)
			continue
		}
		l.Close()
		for _, size := range []uint32{0, 1, 7, 64, maxPayload} {
			out := mustNew(t, icmpSpec(&pb.IcmpProbe{PayloadSize: size}), loopback).Probe(t.Context(), target)
			if out.Result != Passed {
				t.Errorf("%s, %d bytes: %s %q", target, size, out.Result, out.Reason)
			}
			if out.Phases.FirstByte <= 0 || out.Phases.FirstByte > out.Latency {
				t.Errorf("%s, %d bytes: phases %+v of %s", target, size, out.Phases, out.Latency)
			}
		}
	}
	o := loopback
	o.SourceIPv4 = netip.MustParseAddr("127.0.0.9")
	expect(t, mustNew(t, icmpSpec(nil), o).Probe(t.Context(), "127.0.0.1"), Passed, "echo reply")
	o.SourceIPv4 = netip.MustParseAddr("192.0.2.77")
	expect(t, mustNew(t, icmpSpec(nil), o).Probe(t.Context(), "127.0.0.1"), Abstained, "this agent's host lacks its IPv4 source address")
	expect(t, mustNew(t, icmpSpec(nil), Options{}).Probe(t.Context(), "127.0.0.1"), Abstained, "refused: a loopback address; --allow-target allows it")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out := mustNew(t, icmpSpec(nil), loopback).Probe(ctx, "127.0.0.1"); out.Result == Failed {
		t.Errorf("cancelled: %s %q", out.Result, out.Reason)
	}
}

// Many checks at once, each with its own reply.
func TestICMPTogether(t *testing.T) {
	mayPing(t)
	c := mustNew(t, icmpSpec(nil), loopback)
	const n = 50
	outs := make(chan Outcome, n)
	for range n {
		go func() { outs <- c.Probe(t.Context(), "127.0.0.1") }()
	}
	for range n {
		expect(t, <-outs, Passed, "echo reply")
	}
}

// What is the reply to an echo, and what only looks like it.
func TestEchoReply(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		e := newEcho(defaultPayload, v6, true)
		request, err := e.request()
		if err != nil {
			t.Fatal(err)
		}
		reply := append([]byte(nil), request...)
		reply[0] = 0
		protocol := 1
		if v6 {
			reply[0], protocol = 129, 58
		}
		if m, err := icmp.ParseMessage(protocol, reply); err != nil || m.Type.Protocol() != protocol {
			t.Fatalf("the reply is none: %v", err)
		}
		if !e.answeredBy(reply) {
			t.Error("the reply is not taken")
		}
		for name, change := range map[string]func([]byte) []byte{
			"the request itself": func(b []byte) []byte { return request },
			"unreachable":        func(b []byte) []byte { b[0] = 3; return b },
			"a code":             func(b []byte) []byte { b[1] = 1; return b },
			"another id":         func(b []byte) []byte { b[5]++; return b },
			"another sequence":   func(b []byte) []byte { b[7]++; return b },
			"another payload":    func(b []byte) []byte { b[9]++; return b },
			"short":              func(b []byte) []byte { return b[:len(b)-1] },
			"long":               func(b []byte) []byte { return append(b, 0) },
			"header only":        func(b []byte) []byte { return b[:7] },
			"nothing":            func(b []byte) []byte { return nil },
		} {
			if e.answeredBy(change(append([]byte(nil), reply...))) {
				t.Errorf("%s is taken for the reply", name)
			}
		}
		// The kernel sets the id of a datagram socket.
		e.raw = false
		reply[5]++
		if !e.answeredBy(reply) {
			t.Error("the reply to a datagram socket is not taken")
		}
	}
}

func TestDenied(t *testing.T) {
	if denied(nil) || denied(errors.New("x")) || !denied(os.NewSyscallError("socket", os.ErrPermission)) {
		t.Error("what the kernel denies is not recognized")
	}
}
