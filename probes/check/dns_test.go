package check

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func dnsSpec(p *pb.DnsProbe) *pb.HealthCheckSpec {
	return &pb.HealthCheckSpec{Timeout: durationpb.New(ample), Probe: &pb.HealthCheckSpec_Dns{Dns: p}}
}

// serveDNS answers UDP and TCP on one port.
func serveDNS(t *testing.T, h dns.HandlerFunc) uint32 {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil { // another's
			l.Close()
			continue
		}
		done := make(chan struct{}, 2)
		for _, s := range []*dns.Server{{Listener: l, Handler: h}, {PacketConn: pc, Handler: h}} {
			go func() { s.ActivateAndServe(); done <- struct{}{} }()
		}
		t.Cleanup(func() { l.Close(); pc.Close(); <-done; <-done })
		return portOf(l.Addr())
	}
	t.Fatal("no port is free for both UDP and TCP")
	return 0
}

// datagrams answers each datagram with those that a function makes of it.
func datagrams(t *testing.T, answer func(query []byte) [][]byte) uint32 {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, d := range answer(buf[:n]) {
				pc.WriteTo(d, from)
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return uint32(pc.LocalAddr().(*net.UDPAddr).Port)
}

func rr(t testing.TB, text string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDNS(t *testing.T) {
	t.Parallel()
	zone := map[string][]dns.RR{
		"www.example.test.A":       {rr(t, "www.example.test. 5 IN CNAME eu.example.test."), rr(t, "eu.example.test. 5 IN A 192.0.2.1"), rr(t, "eu.example.test. 5 IN A 192.0.2.2")},
		"www.example.test.AAAA":    {rr(t, "www.example.test. 5 IN AAAA 2001:db8::1")},
		"example.test.MX":          {rr(t, "example.test. 5 IN MX 10 Mail.Example.TEST.")},
		"example.test.TXT":         {rr(t, `example.test. 5 IN TXT "v=spf1 -all" "two"`)},
		"example.test.SOA":         {rr(t, "example.test. 5 IN SOA ns.example.test. hostmaster.example.test. 7 1 1 1 1")},
		"_s._tcp.example.test.SRV": {rr(t, "_s._tcp.example.test. 5 IN SRV 0 5 443 www.example.test.")},
		"large.example.test.TXT":   nil,
	}
	for i := range 20 {
		zone["large.example.test.TXT"] = append(zone["large.example.test.TXT"], rr(t, fmt.Sprintf("large.example.test. 5 IN TXT %q", strings.Repeat(string(rune('a'+i)), 100))))
	}
	type seen struct {
		network   string
		recursive bool
	}
	queries := make(chan seen, 10)
	h := func(w dns.ResponseWriter, q *dns.Msg) {
		queries <- seen{w.LocalAddr().Network(), q.RecursionDesired}
		m := new(dns.Msg).SetReply(q)
		question := q.Question[0]
		var ok bool
		if m.Answer, ok = zone[strings.ToLower(question.Name)+dns.TypeToString[question.Qtype]]; !ok {
			m.Rcode = dns.RcodeNameError
		}
		switch question.Name {
		case "servfail.test.":
			m.Rcode = dns.RcodeServerFailure
		case "refused.test.":
			m.Rcode, m.Question = dns.RcodeRefused, nil
		case "silent.test.":
			return
		}
		if w.LocalAddr().Network() == "udp" {
			m.Truncate(dns.MinMsgSize)
		}
		w.WriteMsg(m)
	}
	port := serveDNS(t, h)
	tcp := pb.DnsTransport_DNS_TRANSPORT_TCP
	for _, tc := range []struct {
		name     string
		p        *pb.DnsProbe
		result   Result
		reason   string
		networks string
	}{
		{"an address", &pb.DnsProbe{Name: "www.example.test"}, Passed, "DNS NOERROR", "udp"},
		{"in capitals", &pb.DnsProbe{Name: "WWW.Example.TEST.", Type: "a"}, Passed, "DNS NOERROR", "udp"},
		{"expected", &pb.DnsProbe{Name: "www.example.test", ExpectedAnswers: []string{"192.0.2.2"}}, Passed, "DNS NOERROR", "udp"},
		{"all expected", &pb.DnsProbe{Name: "www.example.test", ExpectedAnswers: []string{"192.0.2.2", "192.0.2.1"}}, Passed, "DNS NOERROR", "udp"},
		{"one is missing", &pb.DnsProbe{Name: "www.example.test", ExpectedAnswers: []string{"192.0.2.1", "192.0.2.3"}}, Failed, "DNS NOERROR, an expected answer is missing", "udp"},
		{"IPv6, spelled otherwise", &pb.DnsProbe{Name: "www.example.test", Type: "AAAA", ExpectedAnswers: []string{"2001:0DB8:0::0001"}}, Passed, "DNS NOERROR", "udp"},
		{"MX, without the dot", &pb.DnsProbe{Name: "example.test", Type: "MX", ExpectedAnswers: []string{"10  mail.example.test"}}, Passed, "DNS NOERROR", "udp"},
		{"MX, another preference", &pb.DnsProbe{Name: "example.test", Type: "MX", ExpectedAnswers: []string{"20 mail.example.test."}}, Failed, "DNS NOERROR, an expected answer is missing", "udp"},
		{"TXT", &pb.DnsProbe{Name: "example.test", Type: "TXT", ExpectedAnswers: []string{`"v=spf1 -all" two`}}, Passed, "DNS NOERROR", "udp"},
		{"SRV", &pb.DnsProbe{Name: "_s._tcp.example.test", Type: "SRV", ExpectedAnswers: []string{"0 5 443 WWW.example.test."}}, Passed, "DNS NOERROR", "udp"},
		{"no such name", &pb.DnsProbe{Name: "nx.example.test"}, Failed, "DNS NXDOMAIN", "udp"},
		{"no such name, expected", &pb.DnsProbe{Name: "nx.example.test", ExpectedRcode: "nxdomain"}, Passed, "DNS NXDOMAIN", "udp"},
		{"server failure", &pb.DnsProbe{Name: "servfail.test"}, Failed, "DNS SERVFAIL", "udp"},
		{"refused without a question", &pb.DnsProbe{Name: "refused.test"}, Failed, "DNS REFUSED", "udp"},
		{"truncated", &pb.DnsProbe{Name: "large.example.test", Type: "TXT", ExpectedAnswers: []string{strings.Repeat("t", 100)}}, Passed, "DNS NOERROR", "udp tcp"},
		{"TCP", &pb.DnsProbe{Name: "www.example.test", Transport: tcp, ExpectedAnswers: []string{"192.0.2.1"}}, Passed, "DNS NOERROR", "tcp"},
		{"silent", &pb.DnsProbe{Name: "silent.test"}, Failed, "timeout after 300ms waiting for the response", "udp"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.p.Port, tc.p.RecursionDesired = port, tc.name == "an address"
			spec := dnsSpec(tc.p)
			spec.Timeout = durationpb.New(timeFor(tc.reason))
			out := mustNew(t, spec, loopback).Probe(t.Context(), "127.0.0.1")
			expect(t, out, tc.result, tc.reason)
			for _, network := range strings.Fields(tc.networks) {
				if got := <-queries; got != (seen{network, tc.p.RecursionDesired}) {
					t.Errorf("asked %+v, want %s", got, network)
				}
			}
			if len(queries) > 0 {
				t.Errorf("asked %d times more", len(queries))
			}
			if out.Phases.FirstByte <= 0 {
				t.Errorf("phases %+v", out.Phases)
			}
		})
	}
	expect(t, mustNew(t, dnsSpec(&pb.DnsProbe{Name: ".", Port: closedPort(t)}), loopback).Probe(t.Context(), "127.0.0.1"), Failed, "connection refused")
}

// What comes over UDP may be anybody's: only the reply to the query counts.
func TestHostileDNS(t *testing.T) {
	reply := func(query []byte, change func(*dns.Msg)) []byte {
		q := new(dns.Msg)
		if q.Unpack(query) != nil {
			return nil
		}
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{rr(t, q.Question[0].Name+" 5 IN A 192.0.2.1")}
		change(m)
		b, _ := m.Pack()
		return b
	}
	wrong := map[string]func([]byte) []byte{
		"another id":       func(q []byte) []byte { return reply(q, func(m *dns.Msg) { m.Id++ }) },
		"another question": func(q []byte) []byte { return reply(q, func(m *dns.Msg) { m.Question[0].Name = "other.test." }) },
		"another type":     func(q []byte) []byte { return reply(q, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX }) },
		"no question":      func(q []byte) []byte { return reply(q, func(m *dns.Msg) { m.Question = nil }) },
		"a query":          func(q []byte) []byte { return q },
		"an update":        func(q []byte) []byte { return reply(q, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }) },
		"cut short":        func(q []byte) []byte { b := reply(q, func(*dns.Msg) {}); return b[:len(b)-3] },
		"empty":            func([]byte) []byte { return []byte{} },
		"garbage":          func([]byte) []byte { return []byte(strings.Repeat("\xc0\x0c", 700)) },
	}
	for name, change := range wrong {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alone := datagrams(t, func(q []byte) [][]byte { return [][]byte{change(q)} })
			before := datagrams(t, func(q []byte) [][]byte { return [][]byte{change(q), reply(q, func(*dns.Msg) {})} })
			flood := datagrams(t, func(q []byte) (all [][]byte) {
				for range 2 * maxDatagrams {
					all = append(all, change(q))
				}
				return all
			})
			probe := func(port uint32, timeout time.Duration) Outcome {
				s := dnsSpec(&pb.DnsProbe{Name: "www.example.test", Port: port, ExpectedAnswers: []string{"192.0.2.1"}})
				s.Timeout = durationpb.New(timeout)
				return mustNew(t, s, loopback).Probe(t.Context(), "127.0.0.1")
			}
			expect(t, probe(before, ample), Passed, "DNS NOERROR")
			expect(t, probe(flood, ample), Failed, "no valid DNS response")
			if name == "garbage" || name == "another id" {
				expect(t, probe(alone, scant), Failed, "no valid DNS response")
			}
		})
	}
	over := func(answer func(c net.Conn, query []byte)) uint32 {
		return serve(t, func(c net.Conn) {
			var length [2]byte
			io.ReadFull(c, length[:])
			query := make([]byte, binary.BigEndian.Uint16(length[:]))
			io.ReadFull(c, query)
			answer(c, query)
		})
	}
	for _, tc := range []struct {
		name   string
		port   uint32
		reason string
	}{
		{"another id", over(func(c net.Conn, q []byte) {
			b := reply(q, func(m *dns.Msg) { m.Id++ })
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
		}), "no valid DNS response"},
		{"nothing", over(func(net.Conn, []byte) {}), "connection closed without a response"},
		{"no length", over(func(c net.Conn, _ []byte) { c.Write([]byte{0, 0}) }), "no valid DNS response"},
		{"half", over(func(c net.Conn, q []byte) { c.Write([]byte{0xff, 0xff}); c.Write(q) }), "connection closed without a response"},
		{"endless", over(func(c net.Conn, _ []byte) { endless(c, "x") }), "no valid DNS response"},
		{"HTTP", over(func(c net.Conn, _ []byte) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }), "connection closed without a response"},
	} {
		t.Run("TCP "+tc.name, func(t *testing.T) {
			p := &pb.DnsProbe{Name: "www.example.test", Port: tc.port, Transport: pb.DnsTransport_DNS_TRANSPORT_TCP}
			bounded(t, func() {
				expect(t, mustNew(t, dnsSpec(p), loopback).Probe(t.Context(), "127.0.0.1"), Failed, tc.reason)
			})
		})
	}
}
