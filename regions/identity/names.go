package identity

import (
	"errors"
	"fmt"
	"strings"
)

// The limits of SPIFFE-ID section 2, and ours on names: that of a DNS label,
// which also fits into a certificate's common name.
const (
	maxURI         = 2048
	maxTrustDomain = 255
	maxName        = 63
)

func lower(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// CheckTrustDomain says what is wrong with the name of a trust domain.
func CheckTrustDomain(s string) error {
	switch {
	case s == "":
		return errors.New("the trust domain is empty: want one, as fairlead")
	case len(s) > maxTrustDomain:
		return fmt.Errorf("the trust domain has %d bytes: want %d at most", len(s), maxTrustDomain)
	// crypto/x509 parses no URI with such a host.
	case s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, ".."):
		return fmt.Errorf("trust domain %.60q has an empty label: want dots between labels only", s)
	}
	for i := range len(s) {
		if c := s[i]; !lower(c) && c != '.' && c != '-' && c != '_' {
			return fmt.Errorf("trust domain %.60q holds %q: want lower-case letters, digits, dots, hyphens and underscores", s, c)
		}
	}
	return nil
}

// checkSegment says what is wrong with a name that is a path segment
// (SPIFFE-ID section 2.2), or "".
func checkSegment(s string) string {
	switch {
	case s == "":
		return "is empty"
	case s == "." || s == "..":
		return "is a relative path"
	case len(s) > maxName:
		return fmt.Sprintf("has %d bytes: want %d at most", len(s), maxName)
	}
	for i := range len(s) {
		if c := s[i]; !lower(c) && !('A' <= c && c <= 'Z') && c != '.' && c != '-' && c != '_' {
			return fmt.Sprintf("holds %q: want letters, digits, dots, hyphens and underscores", c)
		}
	}
	return ""
}

// checkLabel says what is wrong with the name of a resource, a DNS label, or "".
func checkLabel(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > 63:
		return fmt.Sprintf("has %d bytes: a DNS label has at most 63", len(s))
	case s[0] == '-' || s[len(s)-1] == '-':
		return "begins or ends with a hyphen"
	}
	for i := range len(s) {
		if c := s[i]; !lower(c) && c != '-' {
			return fmt.Sprintf("holds %q: want one DNS label of lower-case letters, digits and hyphens, as eu-west", c)
		}
	}
	return ""
}

// checkDomain says what is wrong with a domain name in canonical form (lower
// case, no final dot), or "". Labels may hold underscores, as SRV owners do.
func checkDomain(s string) string {
	if len(s) > 253 { // 255 octets on the wire (RFC 1035 section 2.3.4)
		return fmt.Sprintf("has %d bytes: a domain name has at most 253", len(s))
	}
	for label := range strings.SplitSeq(s, ".") {
		if msg := checkLabel(strings.ReplaceAll(label, "_", "x")); msg != "" {
			return "is no domain name in lower case without a final dot: a label " + msg
		}
	}
	return ""
}

// checkOwner is checkDomain for a service, which may be a wildcard (RFC 4592).
func checkOwner(s string) string {
	if rest, ok := strings.CutPrefix(s, "*."); ok && len(s) <= 253 {
		return checkDomain(rest)
	}
	return checkDomain(s)
}

// wildcardLabel stands for an asterisk in a URI. Names are lower case, so it
// is nobody's name.
const wildcardLabel = "WILDCARD."

func toSegment(name string) string {
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		return wildcardLabel + rest
	}
	return name
}

func fromSegment(kind, segment string) string {
	if rest, ok := strings.CutPrefix(segment, wildcardLabel); ok && kind == "service" {
		return "*." + rest
	}
	return segment
}
