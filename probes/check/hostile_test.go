package check

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// endless writes until the other side has enough.
func endless(c net.Conn, text string) {
	chunk := []byte(strings.Repeat(text, 1+(32<<10)/len(text)))
	for {
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

// dribble writes a byte at a time.
func dribble(c net.Conn, text string) {
	for _, b := range []byte(text) {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// What a target may do to a check, and what the check says of it. Whatever it
// is, the check ends, with little memory.
func TestHostileTargets(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	asked := func(c net.Conn) { c.Read(make([]byte, 8<<10)) }
	says := func(text string) func(net.Conn) {
		return func(c net.Conn) { asked(c); io.WriteString(c, text) }
	}
	floods := func(head, text string) func(net.Conn) {
		return func(c net.Conn) { asked(c); io.WriteString(c, head); endless(c, text) }
	}
	waiting, reading := "timeout after 300ms waiting for the response", "timeout after 300ms reading the body"
	plain, body, match := &pb.HttpProbe{}, &pb.HttpProbe{BodyContains: "fine"}, &pb.HttpProbe{BodyMatches: "^(fine|good)+$"}
	for _, tc := range []struct {
		name   string
		target func(net.Conn)
		p      *pb.HttpProbe
		result Result
		reason string
	}{
		{"closes", asked, plain, Failed, "connection closed without a response"},
		{"resets", func(c net.Conn) { asked(c); c.(*net.TCPConn).SetLinger(0) }, plain, Failed, "connection reset"},
		{"garbage", says("SSH-2.0-OpenSSH_9.2\r\n\r\n"), plain, Failed, "no valid HTTP response"},
		{"binary", says("\x16\x03\x01\x00\x00\n\n"), plain, Failed, "no valid HTTP response"},
		{"endless garbage", floods("", "\x00\xff"), plain, Failed, "no valid HTTP response"},
		{"endless line", floods(ok, "x"), plain, Failed, "no valid HTTP response"},
		{"endless header", floods(ok, "X-A: b\r\n"), plain, Failed, "no valid HTTP response"},
		{"endless folding", floods(ok+"X-A: b\r\n", " \r\n"), plain, Failed, "no valid HTTP response"},
		{"endless information", floods("", "HTTP/1.1 100 Continue\r\n\r\n"), plain, Failed, "no valid HTTP response"},
		{"many fields", func(c net.Conn) {
			asked(c)
			var b bytes.Buffer
			for i := range 12000 {
				fmt.Fprintf(&b, "%x:\n", i)
			}
			io.WriteString(c, ok+b.String()+"\r\n")
		}, plain, Failed, "no valid HTTP response"},
		{"slow loris", func(c net.Conn) { asked(c); dribble(c, ok+strings.Repeat("X-A: b\r\n", 1000)) }, plain, Failed, waiting},
		{"slow body", func(c net.Conn) { asked(c); dribble(c, ok+"\r\n"+strings.Repeat("x", 1000)) }, body, Failed, reading},
		{"slow body that does not count", func(c net.Conn) { asked(c); dribble(c, ok+"\r\n"+strings.Repeat("x", 1000)) }, plain, Passed, "HTTP 200"},
		{"says nothing", func(c net.Conn) { io.Copy(io.Discard, c) }, plain, Failed, waiting},
		{"endless body", floods(ok+"\r\n", "x"), plain, Passed, "HTTP 200"},
		{"endless body, searched", floods(ok+"\r\n", "fin"), body, Failed, "HTTP 200, the body lacks the expected text"},
		{"endless body, matched", floods(ok+"\r\n", "fine"), match, Passed, "HTTP 200"},
		{"endless chunks", floods(ok+"Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), body, Failed, "HTTP 200, the body lacks the expected text"},
		{"endless chunk header", floods(ok+"Transfer-Encoding: chunked\r\n\r\n", "0"), body, Failed, "HTTP 200, the body is not valid"},
		{"bad chunks", says(ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), body, Failed, "HTTP 200, the body is not valid"},
		{"endless trailer", floods(ok+"Transfer-Encoding: chunked\r\n\r\n0\r\n", "X-A: b\r\n"), match, Failed, "HTTP 200, the body is not valid"},
		{"two lengths", says(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), plain, Failed, "no valid HTTP response"},
		{"negative length", says(ok + "Content-Length: -1\r\n\r\n"), plain, Failed, "no valid HTTP response"},
		{"large length", says(ok + "Content-Length: 9223372036854775807\r\n\r\nx"), body, Failed, "HTTP 200, the body ends early"},
		{"short length", says(ok + "Content-Length: 2\r\n\r\nfine"), body, Failed, "HTTP 200, the body lacks the expected text"},
		{"status of two digits", says("HTTP/1.1 20 OK\r\n\r\n"), plain, Failed, "no valid HTTP response"},
		{"status 000", says("HTTP/1.1 000 OK\r\n\r\n"), plain, Failed, "no valid HTTP response"},
		{"status 999", says("HTTP/1.1 999 OK\r\n\r\n"), plain, Failed, "HTTP status out of range"},
		{"switches protocols", says("HTTP/1.1 101 Switching Protocols\r\n\r\n"), plain, Failed, "HTTP 101"},
		{"HTTP/2 preface", says("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), plain, Failed, "no valid HTTP response"},
		{"long Location", says("HTTP/1.1 302 Found\r\nLocation: /" + strings.Repeat("x", 70<<10) + "\r\n\r\n"), &pb.HttpProbe{MaxRedirects: 1}, Failed, "no valid HTTP response"},
		{"control characters in a Location", says("HTTP/1.1 302 Found\r\nLocation: /\x01\r\n\r\n"), &pb.HttpProbe{MaxRedirects: 1}, Failed, "no valid HTTP response"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.p.Port = serve(t, tc.target)
			timeout := timeFor(tc.reason)
			if strings.HasPrefix(tc.name, "slow") {
				timeout = scant
			}
			c := mustNew(t, httpSpec(timeout, tc.p), loopback)
			bounded(t, func() { expect(t, c.Probe(t.Context(), "127.0.0.1"), tc.result, tc.reason) })
		})
	}
}

// bounded fails a test whose check takes much memory. The server of the test is
// of the same process, and counts.
func bounded(t *testing.T, probe func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	probe()
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) >> 10; n > 4<<10 {
		t.Errorf("the check allocated %d KiB", n)
	}
}

// frames speaks HTTP/2 by hand, after the client's preface and settings.
func frames(t *testing.T, say func(*http2.Framer)) uint32 {
	return serve(t, func(c net.Conn) {
		io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		go io.Copy(io.Discard, c)
		f := http2.NewFramer(c, nil)
		f.WriteSettings()
		say(f)
	})
}

func TestHostileHTTP2(t *testing.T) {
	block := func(fields ...string) []byte {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for i := 0; i < len(fields); i += 2 {
			e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return b.Bytes()
	}
	headers := func(f *http2.Framer, end bool, fields ...string) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: end, BlockFragment: block(fields...)})
	}
	for _, tc := range []struct {
		name   string
		say    func(*http2.Framer)
		p      *pb.HttpProbe
		result Result
		reason string
	}{
		{"closes", func(*http2.Framer) {}, &pb.HttpProbe{}, Failed, ""},
		{"endless continuation", func(f *http2.Framer) {
			headers(f, false, ":status", "200")
			for f.WriteContinuation(1, false, block("x-a", strings.Repeat("b", 1000))) == nil {
			}
		}, &pb.HttpProbe{}, Failed, "no valid HTTP response"},
		{"endless body", func(f *http2.Framer) {
			headers(f, true, ":status", "200")
			for f.WriteData(1, false, make([]byte, 16<<10)) == nil { // whatever the window
			}
		}, &pb.HttpProbe{BodyContains: "fine"}, Failed, ""},
		{"endless pings", func(f *http2.Framer) {
			for f.WritePing(false, [8]byte{}) == nil {
			}
		}, &pb.HttpProbe{}, Failed, ""},
		{"goes away", func(f *http2.Framer) { f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("go")) }, &pb.HttpProbe{}, Failed, ""},
		{"resets the stream", func(f *http2.Framer) {
			time.Sleep(50 * time.Millisecond)
			f.WriteRSTStream(1, http2.ErrCodeRefusedStream)
			time.Sleep(100 * time.Millisecond)
		}, &pb.HttpProbe{}, Failed, "no valid HTTP response"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.p.Version, tc.p.Port = pb.HttpVersion_HTTP_VERSION_HTTP2, frames(t, tc.say)
			c := mustNew(t, httpSpec(scant, tc.p), loopback)
			bounded(t, func() {
				out := c.Probe(t.Context(), "127.0.0.1")
				if out.Result != tc.result || tc.reason != "" && out.Reason != tc.reason {
					t.Errorf("%s %q, want %s %q", out.Result, out.Reason, tc.result, tc.reason)
				}
			})
		})
	}
}

// A target that sends one byte after the other makes an expression no dearer.
func TestSearchIsBounded(t *testing.T) {
	p, err := newPattern("expect", "b", "expectMatches", "(a|aa)+b")
	if err != nil {
		t.Fatal(err)
	}
	s := search{pattern: &p}
	text := bytes.Repeat([]byte("a"), maxText)
	for i := range text {
		if s.found(text[:i+1], i+1 == len(text)) {
			t.Fatal("found")
		}
	}
	if s.spent > freely+20*maxText || s.tried != maxText {
		t.Errorf("%d bytes were matched to look through %d", s.spent, maxText)
	}
}

func TestHostileTCP(t *testing.T) {
	authority := newCA(t)
	for _, tc := range []struct {
		name   string
		target func(net.Conn)
		p      *pb.TcpProbe
		result Result
		reason string
	}{
		{"endless", func(c net.Conn) { endless(c, "x") }, &pb.TcpProbe{Expect: "fine"}, Failed, "the answer is not as expected"},
		{"dribbles", func(c net.Conn) { dribble(c, strings.Repeat("x", 1000)) }, &pb.TcpProbe{ExpectMatches: "(x+x+)+y"}, Failed, "timeout after 300ms waiting for the expected answer"},
		{"does not read", func(c net.Conn) { time.Sleep(2 * scant) }, &pb.TcpProbe{Send: strings.Repeat("x", 4096), Expect: "y"}, Failed, "timeout after 300ms waiting for the expected answer"},
		{"endless handshake", func(c net.Conn) { endless(c, "\x16\x03\x03\x00\x04\x02\x00\x00\x00") }, &pb.TcpProbe{Tls: &pb.TlsOptions{}}, Failed, ""},
		{"large handshake", func(c net.Conn) { endless(c, "\x16\x03\x03\x40\x00\x0b\xff\xff\xff") }, &pb.TcpProbe{Tls: &pb.TlsOptions{}}, Failed, ""},
		{"alerts", func(c net.Conn) { endless(c, "\x15\x03\x03\x00\x02\x01\x00") }, &pb.TcpProbe{Tls: &pb.TlsOptions{}}, Failed, ""},
		{"endless over TLS", func(c net.Conn) {
			s := tls.Server(c, authority.config(t, leaf{}))
			s.Handshake()
			endless(s, "x")
		}, &pb.TcpProbe{Tls: &pb.TlsOptions{CaCertificates: authority.text}, Expect: "fine"}, Failed, "the answer is not as expected"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.p.Port = serve(t, tc.target)
			c := mustNew(t, tcpProbe(timeFor(tc.reason), tc.p), loopback)
			bounded(t, func() {
				out := c.Probe(t.Context(), "127.0.0.1")
				if out.Result != tc.result || tc.reason != "" && out.Reason != tc.reason {
					t.Errorf("%s %q, want %s %q", out.Result, out.Reason, tc.result, tc.reason)
				}
				if strings.ContainsAny(out.Reason, "\x00\x16") {
					t.Errorf("the target's bytes are in %q", out.Reason)
				}
			})
		})
	}
}
