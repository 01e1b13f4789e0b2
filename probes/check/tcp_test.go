package check

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func tcpProbe(timeout time.Duration, p *pb.TcpProbe) *pb.HealthCheckSpec {
	return &pb.HealthCheckSpec{Timeout: durationpb.New(timeout), Probe: &pb.HealthCheckSpec_Tcp{Tcp: p}}
}

func TestTCPConversation(t *testing.T) {
	t.Parallel()
	authority := newCA(t)
	redis := func(c net.Conn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		if line == "PING\r\n" {
			io.WriteString(c, "+PO")
			time.Sleep(20 * time.Millisecond)
			io.WriteString(c, "NG\r\n")
			c.Read(make([]byte, 1)) // it stays open
		}
		io.WriteString(c, "-ERR\r\n")
	}
	plain := serve(t, redis)
	secure := serveTLS(t, authority.config(t, leaf{}), func(c *tls.Conn) { redis(c) })
	greets := serve(t, func(c net.Conn) { io.WriteString(c, "220 mail.example.test ESMTP\r\n"); c.Read(make([]byte, 1)) })
	mute := serve(t, func(c net.Conn) { c.Read(make([]byte, 8<<10)) })
	ours := &pb.TlsOptions{CaCertificates: authority.text}
	for _, tc := range []struct {
		name   string
		p      *pb.TcpProbe
		result Result
		reason string
	}{
		{"in two pieces", &pb.TcpProbe{Port: plain, Send: "PING\r\n", Expect: "+PONG"}, Passed, "answered as expected"},
		{"matches", &pb.TcpProbe{Port: plain, Send: "PING\r\n", ExpectMatches: `^\+PONG\r\n$`}, Passed, "answered as expected"},
		{"both", &pb.TcpProbe{Port: plain, Send: "PING\r\n", Expect: "PO", ExpectMatches: `NG`}, Passed, "answered as expected"},
		{"one of both", &pb.TcpProbe{Port: plain, Send: "PANG\r\n", Expect: "ERR", ExpectMatches: `NG`}, Failed, "the answer is not as expected"},
		{"something else", &pb.TcpProbe{Port: plain, Send: "PANG\r\n", Expect: "+PONG"}, Failed, "the answer is not as expected"},
		{"nothing", &pb.TcpProbe{Port: mute, Send: "PING\r\n", Expect: "+PONG"}, Failed, "connection closed without a response"},
		{"waits", &pb.TcpProbe{Port: plain, Send: "PING\r\n", Expect: "-"}, Failed, "timeout after 300ms waiting for the expected answer"},
		{"greeting", &pb.TcpProbe{Port: greets, Expect: "220 "}, Passed, "answered as expected"},
		{"only sends", &pb.TcpProbe{Port: mute, Send: "QUIT\r\n"}, Passed, "connected"},
		{"over TLS", &pb.TcpProbe{Port: secure, Send: "PING\r\n", Expect: "+PONG", Tls: ours}, Passed, "answered as expected"},
		{"TLS only", &pb.TcpProbe{Port: secure, Tls: ours}, Passed, "connected"},
		{"TLS, unknown authority", &pb.TcpProbe{Port: secure, Tls: &pb.TlsOptions{}}, Failed, "certificate signed by an unknown authority"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := mustNew(t, tcpProbe(timeFor(tc.reason), tc.p), loopback).Probe(t.Context(), "127.0.0.1")
			expect(t, out, tc.result, tc.reason)
			if tc.reason == "answered as expected" && out.Phases.FirstByte <= 0 {
				t.Errorf("phases %+v", out.Phases)
			}
		})
	}
}

// Probes come from the stated source address, for every kind of connection.
func TestSourceAddress(t *testing.T) {
	from := make(chan string, 1)
	port := serve(t, func(c net.Conn) { from <- c.RemoteAddr().(*net.TCPAddr).IP.String() })
	o := loopback
	o.SourceIPv4, o.SourceIPv6 = netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("::1")
	expect(t, mustNew(t, tcpSpec(ample, port), o).Probe(t.Context(), "127.0.0.1"), Passed, "connected")
	if got := <-from; got != "127.0.0.9" {
		t.Errorf("the connection came from %s", got)
	}
	o.SourceIPv4 = netip.MustParseAddr("192.0.2.77") // not of this host
	expect(t, mustNew(t, tcpSpec(ample, port), o).Probe(t.Context(), "127.0.0.1"), Abstained, "this agent's host lacks its IPv4 source address")
	expect(t, mustNew(t, dnsSpec(&pb.DnsProbe{Name: "."}), o).Probe(t.Context(), "127.0.0.1"), Abstained, "this agent's host lacks its IPv4 source address")

	for _, o := range []Options{{SourceIPv4: netip.MustParseAddr("::1")}, {SourceIPv6: netip.MustParseAddr("127.0.0.1")}, {SourceIPv6: netip.MustParseAddr("::ffff:127.0.0.1")}} {
		if _, err := New(tcpSpec(ample, 80), o); err == nil || !strings.Contains(err.Error(), "address of this host, as") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
