package identity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"strings"
)

// A token proves that its bearer is a person: the prefix, 32 random bytes, and
// a checksum of both, by which one in a log or a repository is told from other
// text without asking anybody. The installation keeps its SHA-256 alone; there
// is nothing to guess in 256 random bits, so that needs no slow hash.
const (
	// TokenPrefix begins every token.
	TokenPrefix = "flt_"

	tokenSecret   = 43 // characters of 32 bytes: 62^43 > 2^256
	tokenChecksum = 6  // of a CRC-32: 62^6 > 2^32
	tokenLength   = len(TokenPrefix) + tokenSecret + tokenChecksum
)

// Digest is what an installation keeps of a token.
type Digest [sha256.Size]byte

// NewToken makes a token of 32 bytes of a random source.
func NewToken(random io.Reader) (string, error) {
	secret := make([]byte, 32)
	if _, err := io.ReadFull(random, secret); err != nil {
		return "", fmt.Errorf("random bytes of a token: %w", err)
	}
	body := TokenPrefix + base62(new(big.Int).SetBytes(secret), tokenSecret)
	return body + checksum(body), nil
}

// TokenDigest is the digest of a token. It refuses what is none, by its form;
// no error shows any of it.
func TokenDigest(token string) (Digest, error) {
	switch {
	case !strings.HasPrefix(token, TokenPrefix):
		return Digest{}, fmt.Errorf("it does not begin with %s: want a token as `fairlead pki token` makes", TokenPrefix)
	case len(token) != tokenLength:
		return Digest{}, fmt.Errorf("it has %d characters: a token has %d", len(token), tokenLength)
	}
	if body := token[:tokenLength-tokenChecksum]; checksum(body) != token[len(body):] {
		return Digest{}, errors.New("its checksum is wrong: it was not copied in full, or changed")
	}
	return sha256.Sum256([]byte(token)), nil
}

func checksum(body string) string {
	return base62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), tokenChecksum)
}

// base62 writes a number with leading zeros.
func base62(n *big.Int, width int) string {
	text := n.Text(62)
	return strings.Repeat("0", width-len(text)) + text
}
