package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

// Question is what is to be explained: a query and the client behind it.
type Question struct {
	Service int32
	Family  regions.Family
	Client  netip.Addr
}

// ErrNoService says that a name is not a service's.
var ErrNoService = errors.New("not a service")

// The types that services answer (RFC 1035 section 3.2.2, RFC 3596 section 2.1).
const (
	typeA     uint16 = 1
	typeCNAME uint16 = 5
	typeAAAA  uint16 = 28
)

// ParseQuestion finds the service that a query for a name would be steered
// by; a wildcard service answers for the names below it. The error says which
// of the three is wrong; ErrNoService is wrapped when no service has the name.
func (b *Base) ParseQuestion(name, qtype, client string) (Question, error) {
	q := Question{}
	owner, err := zone.ParseName(fqdn(name))
	if err != nil {
		return q, fmt.Errorf("name: %w", err)
	}
	rrtype := typeA
	switch strings.ToUpper(qtype) {
	case "", "A":
	case "AAAA":
		q.Family, rrtype = regions.V6, typeAAAA
	case "CNAME":
		rrtype = typeCNAME
	default:
		return q, fmt.Errorf("type: %q is not steered: want A, AAAA or CNAME", qtype)
	}
	if q.Client, err = parseClient(client); err != nil {
		return q, err
	}
	z := b.Zones.Find(owner)
	if z == nil {
		return q, fmt.Errorf("%w: %s is in none of the zones", ErrNoService, name)
	}
	m := z.Lookup(owner, rrtype)
	switch {
	case m.Kind == zone.Service:
	case m.Node != nil && m.Node.Service >= 0 && rrtype == typeCNAME:
		return q, fmt.Errorf("type: the endpoints of %s are addresses: want A or AAAA", b.Services[m.Node.Service].Name)
	default:
		return q, fmt.Errorf("%w: %s", ErrNoService, unsteered(name, m))
	}
	q.Service = m.Service
	if b.Services[q.Service].Names {
		q.Family = regions.V4
	}
	return q, nil
}

// unsteered says what answers for a name that no service has.
func unsteered(name string, m zone.Match) string {
	switch m.Kind {
	case zone.NXDomain:
		return name + " does not exist (NXDOMAIN)"
	case zone.Delegation:
		return fmt.Sprintf("%s is delegated, the zone cut is %s", name, m.Node.Owner)
	case zone.CNAME:
		// The target is the last thing in the record's text.
		fields := strings.Fields(m.RRset.RRs[0].String())
		return fmt.Sprintf("%s is an alias of %s in the static records: ask for that", name, fields[len(fields)-1])
	case zone.DNAME:
		return fmt.Sprintf("%s lies below the DNAME of %s in the static records", name, m.Node.Owner)
	default:
		return name + " is answered from static records"
	}
}

func parseClient(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, errors.New("client: required: an address or a prefix, as 193.0.6.139 or 193.0.6.0/24")
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return a, fmt.Errorf("client: %q is neither an address nor a prefix: want for example 193.0.6.139 or 193.0.6.0/24", text)
		}
		a = p.Masked().Addr()
	}
	return a.Unmap().WithZone(""), nil
}
