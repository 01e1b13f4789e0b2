package identity

import (
	"bytes"
	"crypto/rand"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

// What is written into docs for secret scanners.
var scanned = regexp.MustCompile(`^flt_[0-9A-Za-z]{49}$`)

func TestTokens(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		token, err := NewToken(rand.Reader)
		if err != nil || !scanned.MatchString(token) || seen[token] {
			t.Fatalf("%q, %v", token, err)
		}
		seen[token] = true
		d, err := TokenDigest(token)
		if err != nil || d == (Digest{}) {
			t.Fatal(err)
		}
	}
	// The least and the greatest that 32 bytes can be are as long as all others.
	for _, b := range []byte{0, 0xff} {
		token, err := NewToken(bytes.NewReader(bytes.Repeat([]byte{b}, 32)))
		if _, bad := TokenDigest(token); err != nil || bad != nil || !scanned.MatchString(token) {
			t.Errorf("%q: %v, %v", token, err, bad)
		}
	}
	if token, err := NewToken(iotest.ErrReader(errors.New("no entropy"))); err == nil || token != "" {
		t.Errorf("%q without random bytes", token)
	}
}

// What is no token is told without any of it: a mistyped one is a secret still.
func TestTokensThatAreNone(t *testing.T) {
	token, err := NewToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(i int) string {
		b := []byte(token)
		if b[i]++; b[i] == token[i]+1 && b[i] > 'z' {
			b[i] = 'a'
		}
		return string(b)
	}
	for name, text := range map[string]string{
		"empty": "", "another prefix": "ghp_" + token[4:], "short": token[:52], "long": token + "0",
		"upper case": strings.ToUpper(token), "changed": flip(20), "changed checksum": flip(52), "space": " " + token,
	} {
		_, err := TokenDigest(text)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		for i := 0; i+8 <= len(text); i++ {
			if part := text[i : i+8]; strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v shows %q", name, err, part)
			}
		}
	}
}
