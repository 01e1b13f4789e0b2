package check

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/miekg/dns"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// spoken is a connection to a target that has said all it will say.
type spoken struct {
	net.Conn
	io.Reader
}

func (s spoken) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s spoken) Write(p []byte) (int, error) { return len(p), nil }

// vocabulary are the reasons that HTTP/1 has for what a target sends.
var vocabulary = regexp.MustCompile(`^(HTTP \d{1,3}|HTTP status out of range)(, the body (lacks the expected text|does not match|ends early|is not valid))?$|` +
	`^no valid HTTP response$|^connection closed without a response$|^the target sends more than a check reads$`)

func FuzzHTTPResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 503 No\n\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: //[::1]:1/a?b#c\r\n\r\n",
		"SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 1", "\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	c := mustNew(f, httpSpec(time.Minute, &pb.HttpProbe{BodyContains: "ok", BodyMatches: "^o+k", MaxRedirects: 1}), loopback).(*httpCheck)
	f.Fuzz(func(t *testing.T, said []byte) {
		a, cancel := c.begin(t.Context())
		defer cancel()
		r := c.first("127.0.0.1", netip.MustParseAddr("127.0.0.1"))
		to, redirected := c.hop1(a, &r, &conn{Conn: spoken{Reader: bytes.NewReader(said)}, left: maxRead})
		if redirected {
			if !to.asks() {
				t.Errorf("a redirect that asks for nothing: %+v", to)
			}
			return
		}
		if !vocabulary.MatchString(a.out.Reason) {
			t.Errorf("reason %q", a.out.Reason)
		}
		if a.out.Result == Passed && !bytes.Contains(said, []byte("k")) {
			t.Errorf("passed with %q", said)
		}
	})
}

// A redirect leads nowhere that the guard refuses, and into no request that says
// more than it should.
func FuzzRedirect(f *testing.F) {
	for _, s := range []string{
		"/a", "//192.0.2.2/", "http://192.0.2.1:81/a?b=c", "https://[2001:db8::1]/", "http://10.0.0.1/", "http://[::ffff:a9fe:a9fe]/", "http://127.0.0.1",
		"http://[fe80::1%25eth0]/", "ftp://x/", "http:///", "http:a", "?", "#", "http://user:pass@192.0.2.1/", "http://192.0.2.1:99999/", "/a b", "http://0x7f.1/", "",
	} {
		f.Add(s, 302, false)
		f.Add(s, 308, true)
	}
	plain := mustNew(f, httpSpec(time.Minute, &pb.HttpProbe{MaxRedirects: 1, Host: "www.example.test"}), Options{}).(*httpCheck)
	secure := mustNew(f, httpSpec(time.Minute, &pb.HttpProbe{MaxRedirects: 1, Tls: &pb.TlsOptions{InsecureSkipVerify: true}}), Options{}).(*httpCheck)
	deaf := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("deaf") }}
	plain.resolver, secure.resolver = deaf, deaf
	target := netip.MustParseAddr("192.0.2.1")
	f.Fuzz(func(t *testing.T, location string, status int, overTLS bool) {
		c := plain
		if overTLS {
			c = secure
		}
		a, cancel := c.begin(t.Context())
		defer cancel()
		first := c.first("192.0.2.1", target)
		next, ok := c.follow(a, &first, &first, redirect{status, location})
		if !ok {
			if a.out.Result == Passed || !strings.HasPrefix(a.out.Reason, "after a redirect: ") {
				t.Errorf("%s %q", a.out.Result, a.out.Reason)
			}
			return
		}
		if err := c.guard.Follow(target, next.addr); err != nil {
			t.Errorf("%q leads to %s: %v", location, next.addr, err)
		}
		if overTLS && next.tls == nil {
			t.Errorf("%q leads from https to http", location)
		}
		if !isAuthority(next.authority) || !visible(next.path) || next.path[0] != '/' {
			t.Errorf("%q makes a request to %q of %q", location, next.authority, next.path)
		}
		request := string(c.write(nil, &next))
		if got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request))); err != nil || got.Host != next.authority || got.RequestURI != next.path {
			t.Errorf("%q makes the request %q: %v", location, request, err)
		}
	})
}

// However a header comes in, it is as long.
func FuzzHeadReader(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\n"), 3)
	f.Add([]byte("\n\n\n"), 1)
	f.Add([]byte("HTTP/1.1 200 OK\r\nA: b\r\n\r\r\n"), 1)
	f.Add(bytes.Repeat([]byte("a\n"), 600), 7)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		size = max(1, size%4096)
		whole, pieces := headReader{}, headReader{}
		over := whole.count(text)
		var later bool
		for chunk := range bytesChunks(text, size) {
			if pieces.done {
				break
			}
			if later = pieces.count(chunk); later {
				break
			}
		}
		if whole.done != pieces.done && !later {
			t.Fatalf("whole: done %t; in pieces of %d: done %t", whole.done, size, pieces.done)
		}
		if over && !later && !pieces.done {
			t.Fatalf("too much as a whole, and not in pieces of %d", size)
		}
		if whole.done {
			end := bytes.Index(text, []byte("\n\n"))
			if e := bytes.Index(text, []byte("\n\r\n")); e >= 0 && (end < 0 || e < end) {
				end = e
			}
			if end < 0 {
				t.Fatalf("an end is seen in %q", text)
			}
		}
	})
}

func bytesChunks(b []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := min(size, len(b))
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// What is found piece by piece is there in the end; and nothing is missed.
func FuzzSearch(f *testing.F) {
	f.Add("hello world", "o w", 3)
	f.Add("aaab", "aab", 1)
	f.Add("", "", 1)
	f.Fuzz(func(t *testing.T, text, want string, size int) {
		size = max(1, size%64)
		p := pattern{contains: []byte(want)}
		if utf8.ValidString(want) && !strings.ContainsRune(want, utf8.RuneError) {
			p.matches = regexp.MustCompile(regexp.QuoteMeta(want))
		}
		s := search{pattern: &p}
		found := false
		for n := 0; n <= len(text) && !found; n += size {
			found = s.found([]byte(text[:n]), false)
		}
		found = found || s.found([]byte(text), true)
		if found != strings.Contains(text, want) {
			t.Fatalf("%q in %q, in pieces of %d: %t", want, text, size, found)
		}
	})
}

func FuzzEchoReply(f *testing.F) {
	e := &echo{raw: true, id: 7, seq: 9, data: []byte("payload")}
	reply, err := (&icmp.Message{Type: ipv4.ICMPTypeEchoReply, Body: &icmp.Echo{ID: 7, Seq: 9, Data: e.data}}).Marshal(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply)
	f.Add(reply[:7])
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := icmp.ParseMessage(1, packet)
		want := false
		if err == nil && m.Type == ipv4.ICMPTypeEchoReply && m.Code == 0 {
			body, ok := m.Body.(*icmp.Echo)
			want = ok && body.ID == 7 && body.Seq == 9 && bytes.Equal(body.Data, e.data)
		}
		if got := e.answeredBy(packet); got != want {
			t.Fatalf("%x: %t, want %t", packet, got, want)
		}
	})
}

// Any message is judged, and only one with the answer passes.
func FuzzDNSReply(f *testing.F) {
	c := mustNew(f, dnsSpec(&pb.DnsProbe{Name: "www.example.test", ExpectedAnswers: []string{"192.0.2.1"}}), loopback).(*dnsCheck)
	query := new(dns.Msg).SetQuestion("www.example.test.", dns.TypeA)
	query.Id = 7
	m := new(dns.Msg).SetReply(query)
	m.Answer = []dns.RR{rr(f, "www.example.test. 5 IN A 192.0.2.1")}
	packed, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add(packed[:len(packed)-4])
	f.Fuzz(func(t *testing.T, packet []byte) {
		reply := new(dns.Msg)
		if reply.Unpack(packet) != nil || !replies(reply, query) {
			return
		}
		a, cancel := c.begin(t.Context())
		defer cancel()
		out := c.judge(a, reply)
		if out.Result == Passed && !bytes.Contains(packet, []byte{192, 0, 2, 1}) {
			t.Errorf("%x passes", packet)
		}
		if !regexp.MustCompile(`^DNS [A-Z ]+(, an expected answer is missing)?$`).MatchString(out.Reason) {
			t.Errorf("reason %q", out.Reason)
		}
	})
}
