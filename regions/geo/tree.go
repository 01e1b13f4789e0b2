package geo

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/oschwald/maxminddb-golang/v2"
)

// tree walks the search tree of an MMDB file (MaxMind DB format 2.0) in address order.
//
// maxminddb's own Networks walks it too, but node by node along every path: in a file whose nodes
// share subtrees the paths are exponentially many (40 nodes are enough for hours), and it passes over
// aliases and empty networks without handing control back. This walk counts every step against a
// budget that is linear in the size of the file.
type tree struct {
	data       []byte
	nodes      uint // also the record that means "no data"
	recordSize uint
	ipVersion  uint

	steps    uint
	v4root   uint
	networks int
	emit     func(start key, record uint) error
}

// dataSeparator is the gap between the tree and the data section.
const dataSeparator = 16

func newTree(data []byte, m maxminddb.Metadata) *tree {
	t := &tree{data: data, nodes: m.NodeCount, recordSize: m.RecordSize, ipVersion: m.IPVersion}
	// A tree without sharing has one leaf more than it has nodes. Some writers share equal subtrees:
	// leave room for them.
	t.steps = 16*t.nodes + 1<<16
	return t
}

// offset is the place in the data section that a record points to.
func (t *tree) offset(record uint) (uintptr, error) {
	if record < t.nodes+dataSeparator {
		return 0, errors.New("a tree record points into the separator")
	}
	return uintptr(record - t.nodes - dataSeparator), nil
}

// walk4 calls emit with the start and the record of each network of IPv4, empty ones included, so that
// the calls cover the whole address space. In an IPv6 tree IPv4 lies at ::/96.
func (t *tree) walk4(emit func(start key, record uint) error) error {
	depth, err := t.findV4()
	if err != nil {
		return err
	}
	t.emit = emit
	before := t.networks
	if err := t.walk(t.v4root, 0, key{}, 32); err != nil {
		return fmt.Errorf("IPv4: %w", err)
	}
	if depth < 96 {
		t.networks = before // one larger network covers ::/96, and walk6 counts it
	}
	return nil
}

// walk6 does the same for IPv6. The IPv4 tree and its aliases (::ffff:0:0/96, 6to4, Teredo) count as
// empty: mapped addresses are looked up as IPv4, and for the rest the address of a relay or of a
// server says little of where the client is.
func (t *tree) walk6(emit func(start key, record uint) error) error {
	if t.ipVersion == 4 {
		return emit(key{}, t.nodes)
	}
	if _, err := t.findV4(); err != nil {
		return err
	}
	t.emit = emit
	if err := t.walk(0, 0, key{}, 128); err != nil {
		return fmt.Errorf("IPv6: %w", err)
	}
	return nil
}

// findV4 finds the root of the IPv4 tree and how deep it lies.
func (t *tree) findV4() (depth int, err error) {
	t.v4root = 0
	if t.ipVersion == 4 {
		return 96, nil
	}
	for depth < 96 && t.v4root < t.nodes {
		if t.v4root, _, err = t.node(t.v4root); err != nil {
			return 0, err
		}
		depth++
	}
	return depth, nil
}

func (t *tree) walk(record uint, depth int, at key, width int) error {
	if t.steps--; t.steps == 0 {
		return errors.New("the search tree has more paths than a tree of its size can have")
	}
	switch {
	case width == 128 && depth == 96 && at == key{}:
		return t.emit(at, t.nodes) // walk4 has been here
	case record > t.nodes:
		t.networks++
		return t.emit(at, record)
	case record == t.nodes:
		return t.emit(at, record)
	case width == 128 && record == t.v4root && depth > 0:
		return t.emit(at, t.nodes) // an alias; as a leaf, v4root is only data that others may share
	case depth == width:
		return fmt.Errorf("the search tree is deeper than %d bits", width)
	}
	left, right, err := t.node(record)
	if err != nil {
		return err
	}
	if err := t.walk(left, depth+1, at, width); err != nil {
		return err
	}
	return t.walk(right, depth+1, at.withBit(depth), width)
}

func (t *tree) node(i uint) (left, right uint, err error) {
	size := t.recordSize / 4
	if i >= uint(len(t.data))/size {
		return 0, 0, fmt.Errorf("search tree node %d lies beyond the end of the file", i)
	}
	b := t.data[i*size : (i+1)*size]
	switch t.recordSize {
	case 24:
		return uint(b[0])<<16 | uint(b[1])<<8 | uint(b[2]), uint(b[3])<<16 | uint(b[4])<<8 | uint(b[5]), nil
	case 28:
		left = uint(b[3]>>4)<<24 | uint(b[0])<<16 | uint(b[1])<<8 | uint(b[2])
		right = uint(b[3]&15)<<24 | uint(b[4])<<16 | uint(b[5])<<8 | uint(b[6])
		return left, right, nil
	default:
		return uint(binary.BigEndian.Uint32(b)), uint(binary.BigEndian.Uint32(b[4:])), nil
	}
}
