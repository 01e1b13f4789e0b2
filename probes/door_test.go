package probes

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The agent's part of the door: what a probe can be made to reach, and what of
// it comes back. The rest of the table is at the head of controller/door_test.go.
//
//	resolved once, that address checked, that one dialled   check: TestRebinding, TestNamesAreResolvedAndGuarded
//	refused by default: loopback, link-local, multicast, …  check: TestGuard, TestGuardAgainstNetip
//	redirects are checked again, each                       check: TestRedirects, TestGuardFollow
//	nothing that a target sends comes back                  TestNothingOfATargetComesBack
//	an opinion has no field for another vantage             TestWhatAnAgentSays

// planted is in everything that the targets of the test send.
const planted = "hunter2"

// planter answers each connection on loopback with a function.
func planter(t *testing.T, answer func(net.Conn)) uint32 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answer(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return uint32(l.Addr().(*net.TCPAddr).Port)
}

// says answers an HTTP request with a text.
func says(t *testing.T, response string) uint32 {
	return planter(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil || line == "\r\n" {
				break
			}
		}
		_, _ = io.WriteString(c, response)
	})
}

// Whoever may write a health check could read what lies behind an agent, if
// anything of the answers came back as the reason: bodies, headers, status
// texts, error messages, records.
func TestNothingOfATargetComesBack(t *testing.T) {
	body := "HTTP/1.1 %d " + planted + "\r\nX-Secret: " + planted + "\r\nContent-Length: 7\r\n\r\n" + planted
	http := func(port uint32, edit func(*pb.HttpProbe)) *pb.HealthCheckSpec {
		p := &pb.HttpProbe{Port: port, Path: "/", BodyContains: "something else"}
		if edit != nil {
			edit(p)
		}
		return &pb.HealthCheckSpec{Probe: &pb.HealthCheckSpec_Http{Http: p}}
	}
	grpcServer := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		return status.Error(codes.FailedPrecondition, planted)
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- grpcServer.Serve(l) }()
	defer func() { grpcServer.Stop(); <-served }()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dnsServer := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{planted}}}
		_ = w.WriteMsg(m)
	})}
	answered := make(chan struct{})
	go func() { defer close(answered); _ = dnsServer.ActivateAndServe() }()
	defer func() { pc.Close(); <-answered }()

	follow := func(p *pb.HttpProbe) { p.MaxRedirects = 3 }
	redirect := func(to string) uint32 {
		return says(t, "HTTP/1.1 302 Found\r\nLocation: "+to+"\r\nContent-Length: 7\r\n\r\n"+planted)
	}
	for name, spec := range map[string]*pb.HealthCheckSpec{
		"body":             http(says(t, fmt.Sprintf(body, 200)), nil),
		"body, expression": http(says(t, fmt.Sprintf(body, 200)), func(p *pb.HttpProbe) { p.BodyContains, p.BodyMatches = "", "^x" }),
		"status":           http(says(t, fmt.Sprintf(body, 503)), nil),
		"redirect":         http(redirect("http://"+planted+".invalid/"+planted), nil),
		"redirect, far":    http(redirect("http://169.254.169.254/"+planted), follow),
		"redirect, odd":    http(redirect("gopher://"+planted), follow),
		"no HTTP":          http(says(t, planted+" "+planted+"\r\n\r\n"), nil),
		"bad header":       http(says(t, "HTTP/1.1 200 OK\r\n"+planted+"\r\n\r\n"), nil),
		"bad length":       http(says(t, "HTTP/1.1 200 OK\r\nContent-Length: "+planted+"\r\n\r\n"), nil),
		"bad status":       http(says(t, "HTTP/1.1 "+planted+" OK\r\n\r\n"), nil),
		"bad chunk":        http(says(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+planted+"\r\n"), nil),
		"TCP":              {Probe: &pb.HealthCheckSpec_Tcp{Tcp: &pb.TcpProbe{Port: planter(t, func(c net.Conn) { _, _ = io.WriteString(c, planted) }), Expect: "x"}}},
		"TLS":              {Probe: &pb.HealthCheckSpec_Tcp{Tcp: &pb.TcpProbe{Port: planter(t, func(c net.Conn) { _, _ = io.WriteString(c, planted) }), Tls: &pb.TlsOptions{}}}},
		"gRPC":             {Probe: &pb.HealthCheckSpec_Grpc{Grpc: &pb.GrpcProbe{Port: uint32(l.Addr().(*net.TCPAddr).Port)}}},
		"DNS":              {Probe: &pb.HealthCheckSpec_Dns{Dns: &pb.DnsProbe{Port: uint32(pc.LocalAddr().(*net.UDPAddr).Port), Name: "x.test", Type: "TXT", ExpectedAnswers: []string{`"x"`}}}},
	} {
		spec.Timeout = durationpb.New(10 * time.Second)
		c, err := check.New(spec, check.Options{Version: "test", Guard: check.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out := c.Probe(t.Context(), "127.0.0.1")
		if out.Result == check.Passed && name != "redirect" {
			t.Errorf("%s: passed: the test tests nothing", name)
		}
		if out.Reason == "" || strings.Contains(strings.ToLower(fmt.Sprintf("%+v", out)), planted) {
			t.Errorf("%s: %+v", name, out)
		}
	}
}

// All that an agent can say after its hello, which its certificate is held
// against: no field says for which vantage, and none has room for a body.
func TestWhatAnAgentSays(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	var walk func(m protoreflect.MessageDescriptor)
	walk = func(m protoreflect.MessageDescriptor) {
		if seen[m.FullName()] || strings.HasPrefix(string(m.FullName()), "google.") {
			return
		}
		seen[m.FullName()] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			switch name := string(f.Name()); {
			case f.Kind() == protoreflect.BytesKind:
				t.Errorf("%s is of bytes", f.FullName())
			case strings.Contains(name, "agent") || strings.Contains(name, "vantage") || strings.Contains(name, "body"):
				t.Errorf("an agent says %s", f.FullName())
			case f.Message() != nil && name != "hello":
				walk(f.Message())
			}
		}
	}
	walk((&pb.ReportRequest{}).ProtoReflect().Descriptor())
	if len(seen) < 5 {
		t.Errorf("only %v", seen)
	}
}
