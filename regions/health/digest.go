package health

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/fairlead-dns/fairlead/regions"
)

// Digest is a digest over (target id, last verdict) pairs that does not depend
// on their order and that can be kept up to date pair by pair. The zero value
// is the digest of nothing.
//
// It is the sum modulo 2^64 of the first eight bytes of SHA-256 over each pair
// (a sum and not XOR, so that a pair counted twice does not vanish). It guards
// against lost updates and differing tables, not against forgery: the streams
// that carry it are authenticated.
type Digest uint64

// Add takes a pair in.
func (d Digest) Add(target string, last regions.Status) Digest {
	return d + Digest(pairHash(target, last))
}

// Remove takes a pair out that was added before.
func (d Digest) Remove(target string, last regions.Status) Digest {
	return d - Digest(pairHash(target, last))
}

// Replace changes the verdict of a target.
func (d Digest) Replace(target string, was, is regions.Status) Digest {
	if was == is {
		return d
	}
	return d.Remove(target, was).Add(target, is)
}

// String prints sixteen hexadecimal digits.
func (d Digest) String() string { return fmt.Sprintf("%016x", uint64(d)) }

// DigestOf is the digest of all pairs.
func DigestOf(pairs iter.Seq2[string, regions.Status]) Digest {
	var d Digest
	for target, last := range pairs {
		d = d.Add(target, last)
	}
	return d
}

// pairHash hashes one pair. The status is the last byte, so no two pairs give
// the same input.
func pairHash(target string, last regions.Status) uint64 {
	var room [512]byte
	sum := sha256.Sum256(append(append(room[:0], target...), byte(last)))
	return binary.BigEndian.Uint64(sum[:])
}
