package zone

import (
	"cmp"
	"slices"

	"github.com/miekg/dns"
)

// Zone is one zone of class IN. Immutable.
type Zone struct {
	// Origin is the apex in lower case, with its final dot.
	Origin string
	// Name is the apex.
	Name Name
	// SOA is the zone's SOA record; its owner is the origin. Do not alter.
	SOA *dns.SOA
	// Warnings are what the zone can be served with, but hardly means.
	Warnings []*Error

	nodes map[Name]*Node
	apex  *Node
	// services are the nodes that have one, in the order of Params.
	services []*Node
	// depth is the most labels that a node has: longer names do not exist.
	depth int
}

// RRset is all records of one owner and type. Do not alter.
type RRset struct {
	Type uint16
	TTL  uint32
	// RRs have the owner in lower case and the set's TTL.
	RRs []dns.RR
}

// Node is a name that exists in a zone (RFC 4592 section 2.2), with or
// without data.
type Node struct {
	Name Name
	// Owner is the name in presentation form.
	Owner string
	// Sets are the RRsets, by ascending type.
	Sets []*RRset
	// Service is the index of the service that is steered here, or -1.
	Service int32
	// Names: the service's endpoints are names, so its answers are CNAMEs.
	Names bool

	// wildcard is the asterisk label below.
	wildcard *Node
	// cut is the highest zone cut at or above; data there and below are not ours.
	cut *Node
}

// RRset returns the RRset of a type, or nil.
func (n *Node) RRset(t uint16) *RRset {
	i, ok := slices.BinarySearchFunc(n.Sets, t, func(s *RRset, t uint16) int { return cmp.Compare(s.Type, t) })
	if !ok {
		return nil
	}
	return n.Sets[i]
}

// Empty tells whether the node is an empty non-terminal.
func (n *Node) Empty() bool { return len(n.Sets) == 0 && n.Service < 0 }

// IsCut tells whether the node is a zone cut that is not hidden by another.
func (n *Node) IsCut() bool { return n.cut == n }

// Apex returns the node of the origin.
func (z *Zone) Apex() *Node { return z.apex }

// Node returns the node of a name if it exists, also below a zone cut, where
// it holds glue.
func (z *Zone) Node(n Name) *Node { return z.nodes[n] }

// Len counts the nodes.
func (z *Zone) Len() int { return len(z.nodes) }
