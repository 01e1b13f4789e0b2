package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Digest names an object: the SHA-256 of its bytes.
type Digest [sha256.Size]byte

// Sum returns the digest of data.
func Sum(data []byte) Digest { return sha256.Sum256(data) }

// String returns the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Bytes returns the digest as messages carry it.
func (d Digest) Bytes() []byte { return d[:] }

// ParseDigest reads what String prints.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 2*len(d) {
		return d, fmt.Errorf("%q is no digest: want %d hexadecimal digits, got %d characters", s, 2*len(d), len(s))
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("%q is no digest: want %d hexadecimal digits: %w", s, 2*len(d), err)
	}
	return d, nil
}

// DigestOf reads a digest as messages carry it.
func DigestOf(b []byte) (Digest, error) {
	if len(b) != sha256.Size {
		return Digest{}, fmt.Errorf("%d bytes are no digest: want %d, a SHA-256", len(b), sha256.Size)
	}
	return Digest(b), nil
}
