package answer_test

import (
	"context"
	"log/slog"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-dns/fairlead/authdns/answer"
	"github.com/fairlead-dns/fairlead/authdns/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers from the fixture over real sockets.
func serve(t *testing.T) netip.AddrPort {
	t.Helper()
	r, err := answer.New(answer.Options{NSID: "ns-1"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := transport.New(transport.Options{
		Addrs: []string{"127.0.0.1:0"}, Logger: slog.New(slog.DiscardHandler),
		Handler: func(dst, query []byte, src netip.AddrPort, _ netip.Addr, tcp bool) []byte {
			via := answer.UDP
			if tcp {
				via = answer.TCP
			}
			out, _ := r.Respond(dst, answer.Query{Wire: query, Source: src.Addr(), Transport: via, Now: time.Now()}, answer.Fixture())
			return out
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.Addrs()[0]
}

// TestDig asks with dig, which knows the protocol better than any test here:
// it complains of malformed responses, of questions that do not match, of a
// client subnet that is not echoed.
func TestDig(t *testing.T) {
	addr := serve(t)
	for _, tt := range []struct {
		args string
		want []string // regular expressions
	}{
		{"www.example.test A +short", []string{`^192\.0\.2\.201\n$`}},
		{"WwW.eXample.TEST A", []string{`(?m)^;WwW\.eXample\.TEST\.\s+IN\s+A$`, `(?m)^WwW\.eXample\.TEST\.\s+30\s+IN\s+A\s+192\.0\.2\.201$`, `flags: qr aa rd;`, `recursion requested but not available`}},
		{"www.example.test A +tcp +norec", []string{`flags: qr aa;`, `192\.0\.2\.201`, `\(TCP\)`}},
		{"www.example.test A +noedns", []string{`192\.0\.2\.201`, `ADDITIONAL: 0`}},
		{"www.example.test A +subnet=198.51.100.9/24", []string{`CLIENT-SUBNET: 198\.51\.100\.0/24/24`, `192\.0\.2\.10[12]`}},
		{"www.example.test AAAA +subnet=2001:db8:a::/48", []string{`CLIENT-SUBNET: 2001:db8:a::/48/48`, `2001:db8::101`}},
		{"www.example.test A +subnet=0", []string{`CLIENT-SUBNET: 0\.0\.0\.0/0/0|CLIENT-SUBNET: 0/0/0`, `192\.0\.2\.201`}},
		{"nope.example.test A +nsid", []string{`status: NXDOMAIN`, `NSID: .*\("ns-1"\)`, `(?m)^example\.test\.\s+30\s+IN\s+SOA`}},
		{"two.example.test A +short", []string{`^alias\.example\.test\.\nhost\.example\.test\.\n192\.0\.2\.1\n192\.0\.2\.2\n$`}},
		{"x.dn.example.test TXT", []string{`DNAME\s+other\.test\.`, `CNAME\s+x\.other\.test\.`, `"other"`}},
		{"x.del.example.test A +norec", []string{`flags: qr;`, `AUTHORITY: 3`, `ns\.del\.example\.test\.\s+3600\s+IN\s+A\s+192\.0\.2\.54`}},
		{"www.elsewhere.test A", []string{`status: REFUSED`, `EDE: 20 \(Not Authoritative\)`}},
		{"host.example.test ANY", []string{`HINFO\s+"RFC8482" ""`}},
		{"host.example.test AXFR", []string{`Transfer failed`}},
		{"host.example.test A +edns=1 +noednsneg", []string{`status: BADVERS`, `EDNS: version: 0`}},
		{"host.example.test A +opcode=15 +noedns", []string{`status: NOTIMP`}},
		{"host.example.test A +header-only +noedns", []string{`status: FORMERR`}},
		{"host.example.test A +dnssec +cd", []string{`flags: qr aa rd cd;`, `flags: do; udp: 1232`}},
		{"big.example.test TXT +ignore", []string{`flags: qr aa tc rd;`, `ANSWER: 0`}},
		{"big.example.test TXT", []string{`ANSWER: 21`, `\(TCP\)`}},
		{"id.server CH TXT +short", []string{`^"ns-1"\n$`}},
		{"version.bind CH TXT", []string{`status: REFUSED`}},
		{`d\.ot.example.test A +short`, []string{`^192\.0\.2\.6\n$`}},
		{"odd.example.test TYPE65280 +short", []string{`^\\# 4 01020304\n$`}},
		{"host.example.test A +cookie", []string{`192\.0\.2\.1`}},
		{"host.example.test A +ednsopt=65001:abcd", []string{`status: NOERROR`}},
		{"host.example.test A -y hmac-sha256:key:c2VjcmV0", []string{`status: NOTAUTH`, `TSIG.* BADKEY`}},
		{"tenant.example.test A www.tenant.example.test A +keepopen +tcp +short", []string{`^192\.0\.2\.203\n$`}},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		args := append([]string{"@127.0.0.1", "-p", addr.String()[len("127.0.0.1:"):], "+tries=1", "+time=5"}, strings.Fields(tt.args)...)
		out, err := exec.CommandContext(ctx, "dig", args...).CombinedOutput()
		cancel()
		if err != nil && !strings.Contains(tt.args, "AXFR") {
			t.Errorf("dig %s: %v\n%s", tt.args, err, out)
			continue
		}
		for _, want := range tt.want {
			if !regexp.MustCompile(want).Match(out) {
				t.Errorf("dig %s: no %q in\n%s", tt.args, want, out)
			}
		}
		for _, never := range []string{"malformed", "Warning: ID mismatch", "extra bytes", "Question section mismatch", "CLIENT-SUBNET: malformed"} {
			if strings.Contains(string(out), never) {
				t.Errorf("dig %s: %q in\n%s", tt.args, never, out)
			}
		}
	}
}
