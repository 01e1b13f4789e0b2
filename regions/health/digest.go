package health

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/fairlead-dns/fairlead/regions"
)

// Digest is a digest over verdicts and latches that does not depend on their
// order and that can be kept up to date one by one. The zero value is the
// digest of nothing.
//
// Of a verdict it covers all that answers are made from but the times: the last
// verdict, what is confirmed and how single regions stand where that is another
// verdict, the guard's trip, and whether it wavers. Of a latch it covers the
// trip. A verdict with none of the rest is a pair of target and last verdict.
//
// That a verdict is restored is one of the times: it says whether there is a
// recovery to count hold-downs and ramps from, and changes nothing else. A
// controller that was cut off when the others saw a target go and come back can
// never know, so equal digests must not hang on it. Two nameservers with equal
// generations and digests give equal answers, but where a hold-down or a ramp is
// under way by the times of one of them; that ends by itself.
//
// It is the sum modulo 2^64 of the first eight bytes of SHA-256 over each part
// (a sum and not XOR, so that a pair counted twice does not vanish). It guards
// against lost updates and differing tables, not against forgery: the streams
// that carry it are authenticated.
type Digest uint64

// AddVerdict takes a target's verdict in.
func (d Digest) AddVerdict(target string, v Verdict) Digest { return d + verdictHash(target, &v) }

// RemoveVerdict takes a verdict out that was added before.
func (d Digest) RemoveVerdict(target string, v Verdict) Digest { return d - verdictHash(target, &v) }

// ReplaceVerdict changes the verdict of a target.
func (d Digest) ReplaceVerdict(target string, was, is Verdict) Digest {
	if was.Same(is) {
		return d
	}
	return d.RemoveVerdict(target, was).AddVerdict(target, is)
}

// AddLatch takes a latch in.
func (d Digest) AddLatch(l regions.Latch) Digest { return d + latchHash(l) }

// RemoveLatch takes a latch out that was added before.
func (d Digest) RemoveLatch(l regions.Latch) Digest { return d - latchHash(l) }

// ReplaceLatches changes all latches.
func (d Digest) ReplaceLatches(was, is []regions.Latch) Digest {
	for _, l := range was {
		d = d.RemoveLatch(l)
	}
	for _, l := range is {
		d = d.AddLatch(l)
	}
	return d
}

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

// What a hash other than that of a pair begins with. Neither byte occurs in
// UTF-8, so no target's id begins so.
const (
	verdictMark = 0xfe
	latchMark   = 0xff
)

// verdictHash hashes a verdict: the pair, and what there is beside it.
func verdictHash(target string, v *Verdict) Digest {
	h := Digest(pairHash(target, v.Last))
	var room [512]byte
	b := append(append(room[:0], verdictMark), target...)
	plain := len(b)
	flag := func(tag byte, on bool) {
		if on {
			b = append(b, 0, tag)
		}
	}
	flag('w', v.Wavering)
	if v.Guard != 0 {
		flag('g', true)
		b = binary.BigEndian.AppendUint64(b, v.Guard)
	}
	if c := v.Confirmed; c != nil && c.Verdict != v.Last {
		flag('c', true)
		b = append(b, byte(c.Verdict))
	}
	for i := range v.Regions { // in the order of their names
		if r := &v.Regions[i]; r.Verdict != v.Last {
			flag('n', true)
			b = append(append(b, r.Region...), 0, byte(r.Verdict))
		}
	}
	if len(b) == plain {
		return h
	}
	sum := sha256.Sum256(b)
	return h + Digest(binary.BigEndian.Uint64(sum[:]))
}

func latchHash(l regions.Latch) Digest {
	var room [512]byte
	b := append(append(room[:0], latchMark), l.Name()...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(append(b, 0), l.Trip))
	return Digest(binary.BigEndian.Uint64(sum[:]))
}
