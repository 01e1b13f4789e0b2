package answer

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/fairlead-dns/fairlead/authdns/usage"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/steer"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

// Selector chooses what a service answers; *steer.View is one.
type Selector interface {
	Select(service int32, f regions.Family, client netip.Addr, lot uint64, buf []netip.Addr) steer.Selection
}

// Snapshot is all that answers are made from. Immutable: a new state is a new
// snapshot.
type Snapshot struct {
	Zones *zone.Set
	// View selects for the services that the zones name by index.
	View       Selector
	Generation regions.Generation
	// Stale: the verdicts are older than they should be. Answers of services
	// stay, and say so (RFC 8914 section 4.4).
	Stale bool
	// Usage notes what is answered with; nil: nothing does.
	Usage *usage.Table
	// Explain says why a client gets its answer, line by line, or why that cannot
	// be told; nil: it is never told.
	Explain func(Explanation) []string
}

// ready tells whether there is anything to answer from.
func (s *Snapshot) ready() bool { return s != nil && s.Zones != nil && s.View != nil }

// Options for a Responder.
type Options struct {
	// NSID identifies the nameserver to those who ask (RFC 5001, RFC 4892);
	// empty: it does not say.
	NSID string
	// MaxUDP is the largest response over UDP, in bytes; default 1232, which
	// passes everywhere in one piece.
	MaxUDP uint16
	// IgnoreSubnet answers by the source address only, as if the client
	// subnet option (RFC 7871) were unknown.
	IgnoreSubnet bool
	// DebugClients are those who may ask why an answer is as it is.
	DebugClients []netip.Prefix
}

func (o *Options) validate() error {
	var errs []error
	if o.MaxUDP == 0 {
		o.MaxUDP = 1232
	}
	if o.MaxUDP < dns.MinMsgSize || o.MaxUDP > 4096 {
		errs = append(errs, fmt.Errorf("MaxUDP is %d: want 512 to 4096", o.MaxUDP))
	}
	if len(o.NSID) > 128 {
		errs = append(errs, fmt.Errorf("NSID has %d bytes: want at most 128", len(o.NSID)))
	}
	return errors.Join(errs...)
}

// Responder answers queries. It holds no state: it may be used by any number
// of goroutines.
type Responder struct{ o Options }

// New returns a responder.
func New(o Options) (*Responder, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return &Responder{o: o}, nil
}

// Info says what became of a query, for counting.
type Info struct {
	Reason    Reason
	Rcode     int
	Qtype     uint16
	Truncated bool
	// Zone that the query name lies in, or nil.
	Zone *zone.Zone
	// Service that was selected for last, or -1; with it its rung and region.
	Service int32
	Rung    steer.Rung
	Region  int32
}

// Respond makes the response to a query, in dst's array if it is large enough.
// No response (nil) means to send nothing. A nil snapshot is one that has not
// come yet.
func (r *Responder) Respond(dst []byte, in Query, snap *Snapshot) ([]byte, Info) {
	info := Info{Service: -1, Region: -1}
	if len(in.Wire) < headerSize {
		info.Reason = Short
		return nil, info
	}
	q := request{ignoreSubnet: r.o.IgnoreSubnet}
	info.Reason = q.parse(in.Wire)
	info.Qtype = q.qtype
	p := reply{q: &q, in: &in, info: &info}
	if info.Reason == Answered {
		info.Reason = r.gates(&p, snap)
	}
	if info.Reason == Answered {
		p.resolve(snap)
	}
	if info.Reason.dropped() {
		return nil, info
	}
	return r.write(dst, &p), info
}

// gates refuses what can be parsed but is not for us, in the order in which
// it stops mattering what the query says further.
func (r *Responder) gates(p *reply, snap *Snapshot) Reason {
	switch q := p.q; {
	case q.qclass != dns.ClassINET:
		if q.qclass == dns.ClassCHAOS {
			return r.chaos(p, snap)
		}
		return BadClass
	case q.qtype == dns.TypeAXFR || q.qtype == dns.TypeIXFR:
		return Transfer
	// Types that nobody ever implemented; RFC 1035 section 3.2.3.
	case q.qtype == dns.TypeMAILA || q.qtype == dns.TypeMAILB:
		return Mailbox
	// RFC 6895 section 3.1: 0, OPT and 128 to 255 are no data; of them only
	// ANY can be asked for here. NXNAME (128): RFC 9824 section 3.5.
	case q.qtype == dns.TypeNone || q.qtype == dns.TypeOPT || (q.qtype >= 128 && q.qtype < dns.TypeANY):
		return BadType
	case !snap.ready():
		return NotReady
	}
	return Answered
}

// chaos answers who the server is (RFC 4892), and to some why they get what they
// get; what software it is, it keeps to itself.
func (r *Responder) chaos(p *reply, snap *Snapshot) Reason {
	if p.q.qtype != dns.TypeTXT && p.q.qtype != dns.TypeANY {
		return BadClass
	}
	if p.q.name.Under(explainName) {
		return r.explain(p, snap)
	}
	name := p.q.name.String()
	if r.o.NSID == "" || (name != "id.server." && name != "hostname.bind.") {
		return BadClass
	}
	p.answer = append(p.answer, &dns.TXT{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS},
		Txt: []string{r.o.NSID},
	})
	p.authoritative = true
	return Identity
}
