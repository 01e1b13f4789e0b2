package program_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

// wire is an HTTP/2 connection whose client keeps to nothing that the server
// asks for.
type wire struct {
	t        *testing.T
	conn     *tls.Conn
	fr       *http2.Framer
	settings map[http2.SettingID]uint32
	block    bytes.Buffer
	enc      *hpack.Encoder
}

func dialWire(t *testing.T, addr string, certificates ...tls.Certificate) *wire {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: certificates}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w := &wire{t: t, conn: conn.(*tls.Conn), settings: map[http2.SettingID]uint32{}}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	w.enc = hpack.NewEncoder(&w.block)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	w.fr = http2.NewFramer(conn, conn)
	w.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w.do(w.fr.WriteSettings())
	f, err := w.fr.ReadFrame()
	s, ok := f.(*http2.SettingsFrame)
	if err != nil || !ok {
		t.Fatalf("%v, %v", f, err)
	}
	w.do(s.ForeachSetting(func(s http2.Setting) error { w.settings[s.ID] = s.Val; return nil }))
	w.do(w.fr.WriteSettingsAck())
	return w
}

func (w *wire) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// open opens a stream for a call, without any message of it.
func (w *wire) open(id uint32, method string, extra ...hpack.HeaderField) {
	w.t.Helper()
	w.block.Reset()
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: method}, {Name: ":authority", Value: "x"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, extra...) {
		w.do(w.enc.WriteField(f))
	}
	w.do(w.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: w.block.Bytes(), EndHeaders: true}))
}

// next reads on to what is wanted.
func (w *wire) next(what string, want func(http2.Frame) bool) {
	w.t.Helper()
	for {
		f, err := w.fr.ReadFrame()
		if err != nil {
			w.t.Fatalf("waiting for %s: %v", what, err)
		}
		if want(f) {
			return
		}
	}
}

// ends is a frame that ends a call with a code.
func ends(id uint32, code codes.Code) func(http2.Frame) bool {
	return func(f http2.Frame) bool {
		h, ok := f.(*http2.MetaHeadersFrame)
		if !ok || h.StreamID != id {
			return false
		}
		for _, field := range h.Fields {
			if field.Name == "grpc-status" {
				return field.Value == fmt.Sprint(uint32(code))
			}
		}
		return false
	}
}

// reset is a frame that ends a stream.
func reset(id uint32, codes ...http2.ErrCode) func(http2.Frame) bool {
	return func(f http2.Frame) bool {
		r, ok := f.(*http2.RSTStreamFrame)
		if !ok || r.StreamID != id {
			return false
		}
		for _, c := range codes {
			if r.ErrCode == c {
				return true
			}
		}
		return len(codes) == 0
	}
}

// What one connection may ask, at a controller and at a nameserver: each limit is
// exceeded by one who disregards what the server says of it.
func TestConnectionLimits(t *testing.T) {
	s := newStack(t)
	s.issue("v", "viewer/v", time.Hour)
	pair, err := tls.LoadX509KeyPair(s.at("v.crt"), s.at("v.key"))
	if err != nil {
		t.Fatal(err)
	}
	const method = "/fairlead.v1.InsightService/Explain"
	for _, c := range []struct {
		name, addr                string
		streams, headers, message uint32
	}{
		{"controller", s.controller.GRPC, 1000, 16 << 10, 64 << 20},
		{"nameserver", s.nameserver.GRPC, 100, 16 << 10, 64 << 10},
	} {
		t.Run(c.name+"/streams", func(t *testing.T) {
			w := dialWire(t, c.addr, pair)
			if got := w.settings[http2.SettingMaxConcurrentStreams]; got != c.streams {
				t.Errorf("it says %d streams, want %d", got, c.streams)
			}
			id := uint32(1)
			for range c.streams + 1 {
				w.open(id, method)
				id += 2
			}
			w.next("the refusal of one too many", reset(id-2, http2.ErrCodeRefusedStream))
			// The others go on, and when one ends there is room again.
			w.do(w.fr.WriteRSTStream(1, http2.ErrCodeCancel))
			w.open(id, method)
			w.do(w.fr.WriteData(id, true, make([]byte, 5)))
			w.next("an answer", func(f http2.Frame) bool {
				h, ok := f.(*http2.MetaHeadersFrame)
				return ok && h.StreamID == id
			})
		})
		t.Run(c.name+"/headers", func(t *testing.T) {
			w := dialWire(t, c.addr, pair)
			if got := w.settings[http2.SettingMaxHeaderListSize]; got != c.headers {
				t.Errorf("it says %d bytes of headers, want %d", got, c.headers)
			}
			// The letter has 5 bits in HPACK's code: it fits into one frame.
			w.open(1, method, hpack.HeaderField{Name: "x-much", Value: strings.Repeat("a", int(c.headers)-1000)})
			w.do(w.fr.WriteData(1, true, make([]byte, 5)))
			w.next("an answer", func(f http2.Frame) bool {
				h, ok := f.(*http2.MetaHeadersFrame)
				return ok && h.StreamID == 1
			})
			w.open(3, method, hpack.HeaderField{Name: "x-much", Value: strings.Repeat("a", int(c.headers))})
			w.next("the refusal", reset(3))
		})
		t.Run(c.name+"/message", func(t *testing.T) {
			w := dialWire(t, c.addr, pair)
			w.open(1, method)
			head := make([]byte, 5) // the length of a message that does not come
			binary.BigEndian.PutUint32(head[1:], c.message+1)
			w.do(w.fr.WriteData(1, false, head))
			w.next("the refusal", ends(1, codes.ResourceExhausted))
		})
		t.Run(c.name+"/pings", func(t *testing.T) {
			w := dialWire(t, c.addr, pair)
			for i := range 10 {
				w.do(w.fr.WritePing(false, [8]byte{byte(i)}))
			}
			w.next("the end of the connection", func(f http2.Frame) bool {
				g, ok := f.(*http2.GoAwayFrame)
				return ok && g.ErrCode == http2.ErrCodeEnhanceYourCalm && string(g.DebugData()) == "too_many_pings"
			})
		})
		// Whoever may not call is told so before it has sent any message; nothing of
		// it is kept for him.
		t.Run(c.name+"/denied at the door", func(t *testing.T) {
			s.issue("a", "agent/eu-west/a", time.Hour)
			agent, err := tls.LoadX509KeyPair(s.at("a.crt"), s.at("a.key"))
			if err != nil {
				t.Fatal(err)
			}
			w := dialWire(t, c.addr, agent)
			w.open(1, method)
			w.next("the denial", ends(1, codes.PermissionDenied))
			if c.name == "controller" {
				w = dialWire(t, c.addr)
				w.open(1, "/fairlead.v1.CatalogService/Apply")
				w.next("the refusal", ends(1, codes.Unauthenticated))
			}
		})
		// A call of a newer version is told as such, to whoever is known.
		t.Run(c.name+"/unknown method", func(t *testing.T) {
			w := dialWire(t, c.addr, pair)
			w.open(1, "/fairlead.v9.NewService/Call")
			w.next("the answer", ends(1, codes.Unimplemented))
		})
	}
}
