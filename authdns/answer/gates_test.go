package answer

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// raw builds a message from a header and pieces.
func raw(flags uint16, counts [4]uint16, pieces ...string) []byte {
	b := binary.BigEndian.AppendUint16(nil, 4711)
	b = binary.BigEndian.AppendUint16(b, flags)
	for _, c := range counts {
		b = binary.BigEndian.AppendUint16(b, c)
	}
	for _, p := range pieces {
		b = append(b, p...)
	}
	return b
}

// Pieces of messages.
const (
	qHost = "\x04host\x07example\x04test\x00\x00\x01\x00\x01"
	// opt is an OPT record with no options: root, 41, 1232, 0, 0.
	opt     = "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
	optDO   = "\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00"
	optV1   = "\x00\x00\x29\x04\xd0\x00\x01\x00\x00\x00\x00"
	optName = "\xc0\x0c\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
	aRecord = "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04"
)

func withOptions(options string) string {
	return opt[:9] + string([]byte{byte(len(options) >> 8), byte(len(options))}) + options
}

// withType asks for host.example.test with a type and class.
func withType(qtype, qclass uint16) string {
	b := []byte(qHost[:len(qHost)-4])
	b = binary.BigEndian.AppendUint16(b, qtype)
	return string(binary.BigEndian.AppendUint16(b, qclass))
}

func TestGates(t *testing.T) {
	one := [4]uint16{1, 0, 0, 0}
	withOPT := [4]uint16{1, 0, 0, 1}
	tsig := "\x03key\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x1d\x0bhmac-sha256\x00\x00\x00\x5f\x00\x00\x00\x01\x2c\x00\x00\x12\x67\x00\x00\x00\x00"
	const noEcho, echo = false, true
	for _, tt := range []struct {
		name   string
		msg    []byte
		reason Reason
		rcode  int // with a response
		ede    int // -1: none
		echo   bool
	}{
		// Dropped.
		{"empty", nil, Short, 0, -1, noEcho},
		{"11 bytes", raw(0, one)[:11], Short, 0, -1, noEcho},
		{"a response", raw(flagQR, one, qHost), IsResponse, 0, -1, noEcho},
		{"a broken response", raw(flagQR|5<<11, [4]uint16{9, 9, 9, 9}), IsResponse, 0, -1, noEcho},
		// Opcodes.
		{"status", raw(2<<11, one, qHost), BadOpcode, dns.RcodeNotImplemented, -1, noEcho},
		{"notify", raw(4<<11, one, qHost), BadOpcode, dns.RcodeNotImplemented, -1, noEcho},
		{"update", raw(5<<11, one, qHost), BadOpcode, dns.RcodeNotImplemented, -1, noEcho},
		{"opcode 15, broken", raw(15<<11, [4]uint16{9, 9, 9, 9}), BadOpcode, dns.RcodeNotImplemented, -1, noEcho},
		// Counts.
		{"no question", raw(0, [4]uint16{}), BadCounts, dns.RcodeFormatError, -1, noEcho},
		{"two questions", raw(0, [4]uint16{2, 0, 0, 0}, qHost, qHost), BadCounts, dns.RcodeFormatError, -1, noEcho},
		{"an answer", raw(0, [4]uint16{1, 1, 0, 0}, qHost, aRecord), BadCounts, dns.RcodeFormatError, -1, echo},
		{"an authority", raw(0, [4]uint16{1, 0, 1, 0}, qHost, aRecord), BadCounts, dns.RcodeFormatError, -1, echo},
		// Form.
		{"header only", raw(0, one), BadFormat, dns.RcodeFormatError, -1, noEcho},
		{"name cut", raw(0, one, qHost[:9]), BadFormat, dns.RcodeFormatError, -1, noEcho},
		{"class missing", raw(0, one, qHost[:len(qHost)-2]), BadFormat, dns.RcodeFormatError, -1, noEcho},
		{"pointer", raw(0, one, "\xc0\x0c\x00\x01\x00\x01"), BadFormat, dns.RcodeFormatError, -1, noEcho},
		{"label of 64", raw(0, one, "\x40"+strings.Repeat("x", 64)+"\x00\x00\x01\x00\x01"), BadFormat, dns.RcodeFormatError, -1, noEcho},
		{"name of 256", raw(0, one, strings.Repeat("\x3f"+strings.Repeat("x", 63), 3)+"\x3e"+strings.Repeat("x", 62)+"\x00\x00\x01\x00\x01"), BadFormat, dns.RcodeFormatError, -1, noEcho},
		{"trailing garbage", raw(0, one, qHost, "x"), BadFormat, dns.RcodeFormatError, -1, echo},
		{"record missing", raw(0, withOPT, qHost), BadFormat, dns.RcodeFormatError, -1, echo},
		{"record cut", raw(0, withOPT, qHost, opt[:8]), BadFormat, dns.RcodeFormatError, -1, echo},
		{"record data cut", raw(0, withOPT, qHost, aRecord[:14]), BadFormat, dns.RcodeFormatError, -1, echo},
		{"trailing after opt", raw(0, withOPT, qHost, opt, "\x00"), BadFormat, dns.RcodeFormatError, -1, echo},
		// EDNS.
		{"two opts", raw(0, [4]uint16{1, 0, 0, 2}, qHost, opt, opt), BadOPT, dns.RcodeFormatError, -1, echo},
		{"opt not at the root", raw(0, withOPT, qHost, optName), BadOPT, dns.RcodeFormatError, -1, echo},
		{"version 1", raw(0, withOPT, qHost, optV1), BadVersion, dns.RcodeBadVers, -1, echo},
		{"version 1 before the class", raw(0, withOPT, withType(1, 9), optV1), BadVersion, dns.RcodeBadVers, -1, echo},
		{"option header cut", raw(0, withOPT, qHost, withOptions("\x00\x03\x00")), BadOptions, dns.RcodeFormatError, -1, echo},
		{"option data cut", raw(0, withOPT, qHost, withOptions("\x00\x03\x00\x01")), BadOptions, dns.RcodeFormatError, -1, echo},
		{"unknown option", raw(0, withOPT, qHost, withOptions("\xff\xff\x00\x01x")), Answered, dns.RcodeSuccess, -1, echo},
		{"opt after another record", raw(0, [4]uint16{1, 0, 0, 2}, qHost, aRecord, optDO), Answered, dns.RcodeSuccess, -1, echo},
		// TSIG.
		{"TSIG without data", raw(0, [4]uint16{1, 0, 0, 1}, qHost, "\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00"), BadFormat, dns.RcodeFormatError, -1, echo},
		{"unknown key", raw(0, withOPT, qHost, tsig), UnknownKey, dns.RcodeNotAuth, -1, echo},
		{"unknown key with edns", raw(0, [4]uint16{1, 0, 0, 2}, qHost, opt, tsig), UnknownKey, dns.RcodeNotAuth, -1, echo},
		{"tsig not last", raw(0, [4]uint16{1, 0, 0, 2}, qHost, tsig, opt), BadFormat, dns.RcodeFormatError, -1, echo},
		{"tsig broken", raw(0, withOPT, qHost, tsig[:14]+"\x01x"), BadFormat, dns.RcodeFormatError, -1, echo},
		// Classes.
		{"class ANY", raw(0, withOPT, withType(1, 255), opt), BadClass, dns.RcodeRefused, 21, echo},
		{"class HS", raw(0, one, withType(1, 4)), BadClass, dns.RcodeRefused, -1, echo},
		{"class CH", raw(0, withOPT, withType(16, 3), opt), BadClass, dns.RcodeRefused, 21, echo},
		// Types.
		{"AXFR", raw(0, withOPT, withType(dns.TypeAXFR, 1), opt), Transfer, dns.RcodeRefused, 18, echo},
		{"IXFR", raw(0, [4]uint16{1, 0, 1, 0}, withType(dns.TypeIXFR, 1), aRecord), Transfer, dns.RcodeRefused, -1, echo},
		{"MAILA", raw(0, withOPT, withType(dns.TypeMAILA, 1), opt), Mailbox, dns.RcodeNotImplemented, 21, echo},
		{"MAILB", raw(0, one, withType(dns.TypeMAILB, 1)), Mailbox, dns.RcodeNotImplemented, -1, echo},
		{"type 0", raw(0, withOPT, withType(0, 1), opt), BadType, dns.RcodeFormatError, 30, echo},
		{"type OPT", raw(0, withOPT, withType(dns.TypeOPT, 1), opt), BadType, dns.RcodeFormatError, 30, echo},
		{"type TSIG", raw(0, one, withType(dns.TypeTSIG, 1)), BadType, dns.RcodeFormatError, -1, echo},
		{"type NXNAME", raw(0, withOPT, withType(128, 1), opt), BadType, dns.RcodeFormatError, 30, echo},
		{"type 200", raw(0, withOPT, withType(200, 1), opt), BadType, dns.RcodeFormatError, 30, echo},
		// Zones.
		{"not ours", raw(0, withOPT, "\x01x\x04test\x00\x00\x01\x00\x01", opt), NotAuthoritative, dns.RcodeRefused, 20, echo},
		{"not ours without edns", raw(0, one, "\x01x\x04test\x00\x00\x01\x00\x01"), NotAuthoritative, dns.RcodeRefused, -1, echo},
		{"ours", raw(flagRD|flagCD|flagTC|1<<10|1<<7|1<<5, one, qHost), Answered, dns.RcodeSuccess, -1, echo},
		{"unknown type", raw(0, one, withType(65280, 1)), NoData, dns.RcodeSuccess, -1, echo},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := responder(t, Options{})
			out, info := r.Respond(nil, Query{Wire: tt.msg, Source: clientB, Now: time.Unix(1e9, 0)}, fixture())
			if info.Reason != tt.reason {
				t.Fatalf("reason %v, want %v", info.Reason, tt.reason)
			}
			if tt.reason == Short || tt.reason == IsResponse {
				if out != nil {
					t.Fatalf("a response: % x", out)
				}
				return
			}
			m := new(dns.Msg)
			if err := m.Unpack(out); err != nil {
				t.Fatal(err)
			}
			if m.Rcode != tt.rcode || info.Rcode != tt.rcode || m.Id != 4711 || !m.Response {
				t.Errorf("RCODE %d (info %d), want %d, or the header is wrong: %v", m.Rcode, info.Rcode, tt.rcode, m)
			}
			flags, sent := binary.BigEndian.Uint16(out[2:]), binary.BigEndian.Uint16(tt.msg[2:])
			// Opcode, RD and CD are copied; RA, Z and AD are never set.
			if copied := uint16(0xf<<11 | flagRD | flagCD); flags&copied != sent&copied || flags&(1<<7|1<<6|1<<5|flagTC) != 0 {
				t.Errorf("flags %016b, sent %016b", flags, sent)
			}
			if refused := tt.rcode != dns.RcodeSuccess; m.Authoritative == refused {
				t.Errorf("aa is %v", m.Authoritative)
			}
			if (len(m.Question) == 1) != tt.echo {
				t.Errorf("question: %v", m.Question)
			}
			if end := headerSize + bytes.IndexByte(out[headerSize:], 0) + 5; tt.echo && !bytes.Equal(tt.msg[headerSize:end], out[headerSize:end]) {
				t.Errorf("the question is not echoed: % x", out)
			}
			o := m.IsEdns0()
			// An OPT record is answered with one as far as the message could be read.
			sentOPT := bytes.Contains(tt.msg, []byte(opt[1:5])) && tt.name != "record cut" && tt.name != "tsig not last"
			if (o != nil) != sentOPT {
				t.Errorf("OPT in the response: %v", o)
			}
			ede := -1
			if o != nil {
				if o.Version() != 0 || o.UDPSize() != 1232 || o.Do() != bytes.Contains(tt.msg, []byte(optDO)) {
					t.Errorf("OPT: %v", o)
				}
				for _, x := range o.Option {
					if e, ok := x.(*dns.EDNS0_EDE); ok {
						ede = int(e.InfoCode)
					}
				}
			}
			if ede != tt.ede {
				t.Errorf("EDE %d, want %d", ede, tt.ede)
			}
			if ts := m.IsTsig(); (ts != nil) != (tt.reason == UnknownKey) || (ts != nil && (ts.Error != dns.RcodeBadKey || ts.Hdr.Name != "key." || ts.MACSize != 0 || ts.TimeSigned != 0x5f000000)) {
				t.Errorf("TSIG: %v", ts)
			}
		})
	}
}

func TestNotReady(t *testing.T) {
	r := responder(t, Options{NSID: "ns-1"})
	for name, snap := range map[string]*Snapshot{"none": nil, "without zones": {}} {
		out, info := r.Respond(nil, Query{Wire: raw(0, [4]uint16{1, 0, 0, 1}, qHost, opt), Source: clientB}, snap)
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Fatal(err)
		}
		if m.Rcode != dns.RcodeServerFailure || info.Reason != NotReady || m.IsEdns0().Option[0].(*dns.EDNS0_EDE).InfoCode != 14 {
			t.Errorf("%s: %v", name, m)
		}
	}
	// Who the server is can be asked before it has anything to serve.
	m := question("id.server.", "TXT")
	m.Question[0].Qclass = dns.ClassCHAOS
	if _, info := r.Respond(nil, Query{Wire: wire(t, m), Source: clientB}, nil); info.Reason != Identity {
		t.Errorf("%+v", info)
	}
}

// What hangs on verdicts that are too old says so, to those who speak EDNS; what
// does not, does not.
func TestStale(t *testing.T) {
	r := responder(t, Options{})
	for _, tt := range []struct {
		name         string
		judged, want bool
		stale, edns  bool
	}{
		{name: "www.example.test.", judged: true, stale: true, edns: true, want: true},
		{name: "www.example.test.", judged: true, stale: true},
		{name: "www.example.test.", judged: true, edns: true},
		{name: "www.example.test.", stale: true, edns: true},
		{name: "host.example.test.", judged: true, stale: true, edns: true},
		{name: "tosvc.example.test.", judged: true, stale: true, edns: true, want: true},
	} {
		snap := *fixture()
		snap.Stale, snap.View = tt.stale, selected{snap.View, tt.judged}
		m := question(tt.name, "A")
		if tt.edns {
			m.SetEdns0(1232, false)
		}
		out, _ := r.Respond(nil, Query{Wire: wire(t, m), Source: clientB}, &snap)
		reply := new(dns.Msg)
		if err := reply.Unpack(out); err != nil {
			t.Fatal(err)
		}
		got := false
		if o := reply.IsEdns0(); o != nil {
			for _, option := range o.Option {
				if e, ok := option.(*dns.EDNS0_EDE); ok {
					got = got || e.InfoCode == dns.ExtendedErrorCodeStaleAnswer
				}
			}
		}
		if got != tt.want || len(reply.Answer) == 0 {
			t.Errorf("%+v: says stale: %v\n%v", tt, got, reply)
		}
	}
}

// selected is a selector that tells whether verdicts count.
type selected struct {
	Selector
	judged bool
}

func (s selected) Select(service int32, f regions.Family, client netip.Addr, lot uint64, buf []netip.Addr) steer.Selection {
	sel := s.Selector.Select(service, f, client, lot, buf)
	sel.Judged = s.judged
	return sel
}

func TestChaos(t *testing.T) {
	for _, tt := range []struct{ nsid, q, want string }{
		{"ns-1", "id.server. TXT", "NOERROR aa\nan id.server. 0 CH TXT \"ns-1\""},
		{"ns-1", "HOSTNAME.bind. TXT", "NOERROR aa\nan HOSTNAME.bind. 0 CH TXT \"ns-1\""},
		{"ns-1", "id.server. ANY", "NOERROR aa\nan id.server. 0 CH TXT \"ns-1\""},
		{"ns-1", "id.server. A", "REFUSED"},
		{"ns-1", "version.bind. TXT", "REFUSED"},
		{"ns-1", "version.server. TXT", "REFUSED"},
		{"ns-1", "host.example.test. TXT", "REFUSED"},
		{"", "id.server. TXT", "REFUSED"},
	} {
		name, qtype, _ := strings.Cut(tt.q, " ")
		m := question(name, qtype)
		m.Question[0].Qclass = dns.ClassCHAOS
		got, _ := ask(t, responder(t, Options{NSID: tt.nsid}), m, clientB, UDP)
		if text(got) != tt.want {
			t.Errorf("%s: got %s, want %s", tt.q, text(got), tt.want)
		}
	}
}

func TestNSID(t *testing.T) {
	for _, tt := range []struct {
		nsid  string
		asked bool
		want  string
	}{{"ns-1.eu", true, "ns-1.eu"}, {"ns-1.eu", false, ""}, {"", true, ""}} {
		m := question("host.example.test.", "A")
		m.SetEdns0(1232, false)
		if tt.asked {
			o := m.IsEdns0()
			o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
		}
		got, _ := ask(t, responder(t, Options{NSID: tt.nsid}), m, clientB, UDP)
		id := ""
		for _, o := range got.IsEdns0().Option {
			if n, ok := o.(*dns.EDNS0_NSID); ok {
				b, _ := hex.DecodeString(n.Nsid)
				id = string(b)
			}
		}
		if id != tt.want {
			t.Errorf("%+v: got %q", tt, id)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	for _, o := range []Options{{MaxUDP: 511}, {MaxUDP: 4097}, {NSID: strings.Repeat("x", 129)}} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "answer: ") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestReasonsAreNamed(t *testing.T) {
	names := map[string]bool{}
	for r := range Reason(Reasons) {
		if r.String() == "" || names[r.String()] {
			t.Errorf("reason %d is called %q", r, r)
		}
		names[r.String()] = true
	}
}
