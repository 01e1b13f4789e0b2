package answer

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		name      string
		q         string
		edns      uint16 // 0: none
		max       uint16
		transport Transport
		limit     int
		truncated bool
		extra     int // records in the additional section besides OPT
	}{
		{"no edns", "big.example.test.", 0, 0, UDP, 512, true, 0},
		{"small edns counts as 512", "big.example.test.", 100, 0, UDP, 512, true, 0},
		{"our limit", "big.example.test.", 4096, 0, UDP, 1232, true, 0},
		{"a larger limit of ours", "big.example.test.", 4096, 4096, UDP, 4096, false, 0},
		{"their limit", "big.example.test.", 2000, 4096, UDP, 2000, true, 0},
		{"tcp", "big.example.test.", 0, 0, TCP, 65535, false, 0},
		{"glue that is only useful is left out", "x.sib.example.test.", 0, 0, UDP, 512, false, 0},
		{"and comes where it fits", "x.sib.example.test.", 4096, 0, UDP, 1232, false, 24},
		{"needed glue truncates", "x.own.example.test.", 0, 0, UDP, 512, true, 0},
		{"needed glue fits", "x.own.example.test.", 4096, 0, UDP, 1232, false, 24},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := question(tt.q, "TXT")
			if tt.edns > 0 {
				m.SetEdns0(tt.edns, true)
			}
			r := responder(t, Options{MaxUDP: tt.max})
			out, info := r.Respond(nil, Query{Wire: wire(t, m), Source: clientB, Transport: tt.transport}, fixture())
			got := new(dns.Msg)
			if err := got.Unpack(out); err != nil {
				t.Fatal(err)
			}
			if len(out) > tt.limit || got.Truncated != tt.truncated || info.Truncated != tt.truncated {
				t.Fatalf("%d bytes of %d, truncated: %v", len(out), tt.limit, got.Truncated)
			}
			if (got.IsEdns0() != nil) != (tt.edns > 0) {
				t.Errorf("OPT: %v", got.IsEdns0())
			}
			n := len(got.Extra)
			if tt.edns > 0 {
				n--
			}
			if n != tt.extra {
				t.Errorf("%d additional records, want %d", n, tt.extra)
			}
			if tt.truncated && len(got.Answer)+len(got.Ns) != 0 {
				t.Errorf("a truncated response with records: %v", got)
			}
		})
	}
}

// The buffer is used when it is large enough, and left alone when not.
func TestBuffer(t *testing.T) {
	r := responder(t, Options{})
	q := Query{Wire: wire(t, question("host.example.test.", "A")), Source: clientB}
	want, _ := r.Respond(nil, q, fixture())
	buf := make([]byte, 0, 4096)
	got, _ := r.Respond(buf, q, fixture())
	if &got[0] != &buf[:1][0] {
		t.Error("the buffer was not used")
	}
	small, _ := r.Respond(make([]byte, 0, 20), q, fixture())
	if string(got) != string(want) || string(small) != string(want) {
		t.Error("the buffer changes the response")
	}
}

func benchmark(b *testing.B, name, qtype string) {
	r := responder(b, Options{})
	m := question(name, qtype)
	m.SetEdns0(1232, false)
	q := Query{Wire: wire(b, m), Source: clientA, Now: time.Unix(1e9, 0)}
	dst := make([]byte, 4096)
	snap := fixture()
	b.ReportAllocs()
	for b.Loop() {
		q.Random++
		r.Respond(dst[:0], q, snap)
	}
}

func BenchmarkService(b *testing.B)  { benchmark(b, "www.example.test.", "A") }
func BenchmarkStatic(b *testing.B)   { benchmark(b, "host.example.test.", "A") }
func BenchmarkNXDomain(b *testing.B) { benchmark(b, "nope.example.test.", "A") }
