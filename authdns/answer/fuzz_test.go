package answer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead-dns/fairlead/regions/zone"
)

// FuzzRespond holds what is true of any message from the network: there is no
// panic; a response is a response to that message, can be parsed, keeps to its
// limit and is always the same.
func FuzzRespond(f *testing.F) {
	for _, b := range [][]byte{
		raw(0, [4]uint16{1, 0, 0, 0}, qHost),
		raw(flagRD, [4]uint16{1, 0, 0, 1}, qHost, withOptions("\x00\x08\x00\x07\x00\x01\x18\x00\xc6\x33\x64\x00\x03\x00\x00")),
		raw(0, [4]uint16{1, 0, 0, 2}, qHost, opt, opt),
		raw(5<<11, [4]uint16{1, 0, 0, 0}, qHost),
		raw(0, [4]uint16{1, 0, 1, 0}, withType(dns.TypeIXFR, 1), aRecord),
		raw(0, [4]uint16{1, 0, 0, 1}, qHost, "\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00"),
	} {
		f.Add(b, uint64(0), false)
	}
	for _, q := range []string{
		"www.example.test.", "q.tenant.example.test.", "two.example.test.", "q.dn.example.test.", "x.del.example.test.",
		"nope.example.test.", "big.example.test.", "chain.example.test.", "x.own.example.test.", "id.server.",
	} {
		m := question(q, "A")
		m.SetEdns0(1232, true)
		if q == "id.server." {
			m.Question[0].Qclass, m.Question[0].Qtype = dns.ClassCHAOS, dns.TypeTXT
		}
		f.Add(wire(f, m), uint64(len(q)), len(q)%2 == 0)
	}
	for _, q := range []string{
		"www.example.test.", "_aaaa.*.example.test.", "_A.", "_cname._a.x.", "", `_a\.b.\000\255\".`, "_aaaa.explain.fairlead.",
		strings.Repeat("x", 63) + "." + strings.Repeat(strings.Repeat("y", 56)+".", 3),
	} {
		m := chaosQuestion(q + "Explain.FAIRLEAD.")
		m.SetEdns0(1232, true)
		f.Add(wire(f, m), uint64(len(q)), len(q)%2 == 0)
	}
	r := responder(f, Options{NSID: "ns-1", MaxUDP: 1400, DebugClients: []netip.Prefix{netip.PrefixFrom(clientA, clientA.BitLen())}})
	var explained []zone.Name
	snap := *fixture()
	snap.Explain = func(x Explanation) []string {
		n, err := zone.ParseName(x.Name)
		if err != nil || !slices.Contains([]string{"", "A", "AAAA", "CNAME"}, x.Type) || !x.Client.IsValid() {
			return []string{fmt.Sprintf("panic: %+v: %v", x, err)}
		}
		explained = append(explained, n)
		return []string{x.Name, x.Type, strings.Repeat(`\"`, len(x.Name))}
	}
	f.Fuzz(func(t *testing.T, query []byte, random uint64, tcp bool) {
		q := Query{Wire: bytes.Clone(query), Source: clientA, Now: time.Unix(1e9, 0), Random: random}
		limit := 1400
		if tcp {
			q.Transport, limit = TCP, 65535
		}
		explained = nil
		out, info := r.Respond(nil, q, &snap)
		if !bytes.Equal(q.Wire, query) {
			t.Fatal("the query was altered")
		}
		again, info2 := r.Respond(make([]byte, 0, 2000), q, &snap)
		if !bytes.Equal(out, again) || info != info2 {
			t.Fatalf("not the same twice:\n% x\n% x", out, again)
		}
		if out == nil {
			if !info.Reason.dropped() {
				t.Fatalf("no response, though %v", info.Reason)
			}
			return
		}
		if len(out) > limit || (!tcp && !hasOPT(out) && len(out) > 512) {
			t.Fatalf("%d bytes", len(out))
		}
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Fatalf("%v: % x", err, out)
		}
		if out[2]&0x80 == 0 || binary.BigEndian.Uint16(out) != binary.BigEndian.Uint16(query) || m.Rcode != info.Rcode {
			t.Fatalf("%v to % x", m, query)
		}
		if (info.Reason == Explained) != (len(explained) == 2) {
			t.Fatalf("%v, and %q were explained", info.Reason, explained)
		}
		for _, n := range explained {
			// What was asked for, less the type, is what is below the well-known name.
			asked := request{}
			asked.parse(query)
			whole := n[:len(n)-1] + explainName
			if asked.name != whole && asked.name.Parent() != whole {
				t.Fatalf("%s explained %s", asked.name, n)
			}
		}
		if len(m.Question) == 1 {
			end := headerSize + len(nameWire(out[headerSize:])) + 4
			if !bytes.Equal(out[headerSize:end], query[headerSize:end]) {
				t.Fatalf("the question is not echoed: % x", out)
			}
		}
		// What is written can be read here as well, to its last byte.
		if _, ok := skipRecord(out, endOfQuestion(out), len(m.Answer)+len(m.Ns)+len(m.Extra)); !ok {
			t.Fatalf("% x", out)
		}
		// Over a snapshot that has not come, no query fares worse than SERVFAIL.
		if out, info := r.Respond(nil, q, nil); out == nil || info.Rcode == dns.RcodeSuccess && info.Reason != Identity {
			t.Fatalf("without a snapshot: %+v", info)
		}
	})
}

func nameWire(b []byte) []byte { end, _ := skipName(b, 0); return b[:end] }

func endOfQuestion(b []byte) int {
	if binary.BigEndian.Uint16(b[4:]) == 0 {
		return headerSize
	}
	return headerSize + len(nameWire(b[headerSize:])) + 4
}

func hasOPT(b []byte) bool {
	m := new(dns.Msg)
	return m.Unpack(b) == nil && m.IsEdns0() != nil
}

// FuzzSubnet compares the option's parser with its definition: an option is
// right exactly when writing what was read gives its bytes.
func FuzzSubnet(f *testing.F) {
	for _, s := range []string{"\x00\x01\x18\x00\xc6\x33\x64", "\x00\x02\x00\x00", "\x00\x00\x00\x00", "\x00\x01\x21\x00\x01\x02\x03\x04\x80"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s subnet
		ok := s.parse(b)
		var want []byte
		if len(b) >= 4 {
			family, bits := binary.BigEndian.Uint16(b), int(b[2])
			var a netip.Addr
			switch full := [16]byte{}; {
			case family == 0 && bits == 0:
				want = []byte{0, 0, 0, 0}
			case family == 1 && bits <= 32:
				copy(full[:4], b[4:])
				a = netip.AddrFrom4([4]byte(full[:4]))
			case family == 2 && bits <= 128:
				copy(full[:], b[4:])
				a = netip.AddrFrom16(full)
			}
			if a.IsValid() {
				want = append([]byte{0, byte(family), b[2], 0}, netip.PrefixFrom(a, bits).Masked().Addr().AsSlice()[:(bits+7)/8]...)
			}
		}
		if ok != (want != nil && bytes.Equal(want, b)) {
			t.Fatalf("% x: %v, read % x", b, ok, want)
		}
	})
}
