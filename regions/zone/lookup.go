package zone

import "github.com/miekg/dns"

// Kind is what a lookup came to.
type Kind uint8

// The kinds.
const (
	// NXDomain: the name does not exist, nor does a wildcard cover it.
	NXDomain Kind = iota
	// NoData: the name exists without data of the type; also an empty
	// non-terminal (RFC 8020 section 2).
	NoData
	// Data: RRset is the answer. For type ANY it is the CNAME if there is one,
	// else nil: the node has data.
	Data
	// CNAME: RRset is the CNAME to follow.
	CNAME
	// DNAME: RRset is the DNAME of an ancestor (RFC 6672).
	DNAME
	// Delegation: RRset is the NS RRset of the zone cut at Node.
	Delegation
	// Service: the service answers.
	Service
)

func (k Kind) String() string {
	return [...]string{"NXDOMAIN", "NODATA", "data", "CNAME", "DNAME", "delegation", "service"}[k]
}

// Match is the result of a lookup.
type Match struct {
	Kind Kind
	// Node is where the answer lies: the name itself, the wildcard, the zone
	// cut or the owner of the DNAME. Nil for NXDomain.
	Node *Node
	// RRset as Kind says.
	RRset *RRset
	// ClosestEncloser is the longest existing ancestor, or the name itself
	// when it exists (RFC 4592 section 3.3.1).
	ClosestEncloser *Node
	// Wildcard: Node is the source of synthesis, not the name itself.
	Wildcard bool
	// Service is the index of the service that answers, or -1.
	Service int32
}

// Lookup finds what answers a name at or below the apex, as RFC 1034 section
// 4.3.2 step 3 has it, with the wildcards of RFC 4592. The match keeps no
// reference to the name.
func (z *Zone) Lookup(name Name, qtype uint16) Match {
	node := z.nodes[name]
	encloser := node
	if node == nil {
		encloser = z.encloser(name)
	}
	m := Match{ClosestEncloser: encloser, Service: -1}

	// Step 3b. The DS RRset lies on the parent's side of a cut (RFC 4035
	// section 3.1.4.1).
	if cut := encloser.cut; cut != nil && (cut != node || qtype != dns.TypeDS) {
		m.Kind, m.Node, m.RRset = Delegation, cut, cut.RRset(dns.TypeNS)
		return m
	}
	if node == nil {
		// Step 3c. Nothing exists below a DNAME, so it can only be at the
		// closest encloser.
		if set := encloser.RRset(dns.TypeDNAME); set != nil {
			m.Kind, m.Node, m.RRset = DNAME, encloser, set
			return m
		}
		// The source of synthesis is the asterisk label of the closest
		// encloser and no other (RFC 4592 section 3.3.1).
		if node = encloser.wildcard; node == nil {
			return m
		}
		m.Wildcard = true
	}
	// Step 3a.
	m.Node = node
	m.answer(node, qtype)
	return m
}

// answer picks from a node what a type asks for.
func (m *Match) answer(n *Node, qtype uint16) {
	if n.Service >= 0 && (n.Names || qtype == dns.TypeA || qtype == dns.TypeAAAA) {
		m.Kind, m.Service = Service, n.Service
		return
	}
	if set := n.RRset(qtype); set != nil {
		m.Kind, m.RRset = Data, set
		return
	}
	if set := n.RRset(dns.TypeCNAME); set != nil {
		m.Kind, m.RRset = CNAME, set
		if qtype == dns.TypeANY {
			m.Kind = Data
		}
		return
	}
	m.Kind = NoData
	if qtype == dns.TypeANY && !n.Empty() {
		m.Kind = Data
	}
}

// encloser returns the closest encloser of a name that does not exist. The
// walk is bounded by the zone's depth, not by the query's.
func (z *Zone) encloser(name Name) *Node {
	for n := name.Ancestor(z.depth); len(n) > len(z.Name); n = n.Parent() {
		if node := z.nodes[n]; node != nil {
			return node
		}
	}
	return z.apex
}

// LookupWire is Lookup for a name in a buffer: wire form, lower case,
// uncompressed. It does not allocate.
func (z *Zone) LookupWire(name []byte, qtype uint16) Match { return z.Lookup(borrow(name), qtype) }
