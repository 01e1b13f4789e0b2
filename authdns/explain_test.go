package authdns

import (
	"context"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// dig asks as people do.
func (s *server) dig(args string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	at := netip.MustParseAddrPort(s.addr)
	all := append([]string{"@" + at.Addr().String(), "-p", strings.TrimPrefix(s.addr, at.Addr().String()+":"), "+tries=1", "+time=10"}, strings.Fields(args)...)
	out, err := exec.CommandContext(ctx, "dig", all...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("dig %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// What dig says to those who may ask, and to others.
func TestExplainByDig(t *testing.T) {
	c := startController(t)
	c.publishWith(t, 5, &pb.OverrideSet{Overrides: []*pb.Override{
		{Id: "ov-1", Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: "us-east"}, Author: "carol", Reason: "new kernel"},
	}})
	c.judge(map[string]pb.HealthStatus{"10": up, "20": up, "30": up})
	o := options(t, filepath.Join(t.TempDir(), "snapshots"), c.addr)
	o.DebugClients = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s := run(t, o)
	c.eventually(t, "health fresh", func() bool {
		return strings.Contains(s.dig("CH TXT www.example.test.explain.fairlead +short"), "HEALTHY")
	})
	if _, err := pb.NewBreakGlassServiceClient(s.grpc).CreateBreakGlass(t.Context(), drainRequest("bg-1", "eu-west")); err != nil {
		t.Fatal(err)
	}
	out := s.dig("CH TXT www.example.test.explain.fairlead +subnet=193.0.6.0/24")
	at := 0
	for _, want := range []string{
		`flags: qr aa rd;`, `CLIENT-SUBNET: 193\.0\.6\.0/24/24`,
		`"ns-1: generation 1\.5, health fresh, verdicts \d\.\d s old"`,
		`"client 193\.0\.6\.0 in [0-9./]+: NL, EU by [^;]+ of [0-9-]+; ranked by nearest"`,
		`"service www\.example\.test A: policy nearest, rung drained, TTL 30 s, scope /\d+"`,
		`"answer: 192\.0\.2\.10"`,
		`"region 1 eu-west, \d+ km, out of service, answers: first of the ranking that is healthy, though drained .*"`,
		`"- eu-1 192\.0\.2\.10 drained by break-glass, answers: break-glass drain of region eu-west by anonymous: flood; measured: HEALTHY for .*"`,
		`"region 2 us-east, \d+ km, out of service: .*"`,
		`"- us-1 192\.0\.2\.20 drained by drain: drain of region us-east by carol: new kernel; measured: HEALTHY for .*"`,
		`"override ov-1: drain of region us-east by carol: new kernel"`,
		`"break-glass bg-1: drain of region eu-west by anonymous, (1h0m0s|59m\d+s) left: flood"`,
		`"Nothing undrained is healthy: eu-west answers although it is drained.*"`,
	} {
		found := regexp.MustCompile(want).FindStringIndex(out[at:])
		if found == nil {
			t.Errorf("no %s after %q", want, out[:at])
			continue
		}
		at += found[0]
	}
	if out := s.dig("CH TXT _aaaa.www.example.test.explain.fairlead +tcp +short"); !strings.Contains(out, "service www.example.test AAAA: ") || !strings.Contains(out, "answer: none") {
		t.Errorf("AAAA over TCP: %s", out)
	}
	if out := s.dig("CH TXT nope.example.test.explain.fairlead +short"); !strings.Contains(out, "error: not a service: nope.example.test. does not exist (NXDOMAIN)") {
		t.Errorf("no service: %s", out)
	}
	// Not so often that answers would wait for it.
	m := new(dns.Msg).SetQuestion("www.example.test.explain.fairlead.", dns.TypeTXT)
	m.Question[0].Qclass = dns.ClassCHAOS
	m.SetEdns0(1232, false)
	over := false
	for range 2000 {
		r, _, err := (&dns.Client{Timeout: 10 * time.Second}).Exchange(m, s.addr)
		if err != nil {
			t.Fatal(err)
		}
		if over = len(r.Answer) == 1 && strings.Contains(r.Answer[0].String(), "error: ns-1 explains 20 answers a second"); over {
			break
		}
	}
	if !over {
		t.Error("as many are explained as anybody likes")
	}
	// Counted as any other query.
	if s.ask("www.example.test.", dns.TypeA).Rcode != dns.RcodeSuccess {
		t.Error("no answer")
	}
	s.stop()
	o = options(t, o.SnapshotDir, c.addr)
	s = run(t, o)
	out = s.dig("CH TXT www.example.test.explain.fairlead")
	if !strings.Contains(out, "status: REFUSED") || !strings.Contains(out, "EDE: 18 (Prohibited)") || strings.Contains(out, "192.0.2.10") {
		t.Errorf("to others: %s", out)
	}
}
