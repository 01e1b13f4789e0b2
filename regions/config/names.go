package config

import (
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// canonicalName is a name in lower case without the final dot: two names are
// the same if these are equal. An empty last label stays, for Validate.
func canonicalName(s string) string {
	if !strings.HasSuffix(s, "..") {
		s = strings.TrimSuffix(s, ".")
	}
	return strings.ToLower(s)
}

// checkLabel says what is wrong with s as a DNS label (the names of
// resources and endpoints), or "".
func checkLabel(s string) string {
	switch {
	case s == "":
		return "required"
	case len(s) > 63:
		return fmt.Sprintf("%q has %d characters; a DNS label has at most 63", s, len(s))
	case strings.Contains(s, "."):
		return fmt.Sprintf("%q has a dot; want one DNS label, as eu-west", s)
	}
	return checkCharacters(s, s, false)
}

// checkCharacters says what is wrong with one label of a name, or "".
func checkCharacters(name, label string, underscore bool) string {
	for i := 0; i < len(label); i++ {
		c := label[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_' && underscore:
		case c >= 0x80 && strings.ContainsAny(name, "“”„‘’«»"):
			return fmt.Sprintf("%q holds typographic quotes; YAML knows plain ones only", name)
		case c >= 0x80:
			if ascii, err := idna.Lookup.ToASCII(name); err == nil {
				return fmt.Sprintf("%q is not ASCII (did you mean %q?)", name, ascii)
			}
			return fmt.Sprintf("%q is not ASCII; write the xn-- form", name)
		default:
			return fmt.Sprintf("%q holds %q; a name has letters, digits and hyphens", name, rune(c))
		}
	}
	if strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
		return fmt.Sprintf("%q begins or ends a label with a hyphen", name)
	}
	return ""
}

// checkDomain says what is wrong with s as a domain name in canonical form,
// or "". Labels may hold underscores (as SRV owners do).
func checkDomain(s string) string {
	if s == "" {
		return "required"
	}
	// On the wire each label has a length octet and the root ends the name:
	// at most 255 octets in all (RFC 1035 section 2.3.4).
	if len(s)+2 > 255 {
		return fmt.Sprintf("the name has %d octets; a domain name has at most 255 (253 in text)", len(s)+2)
	}
	for label := range strings.SplitSeq(s, ".") {
		switch {
		case label == "":
			return fmt.Sprintf("%q has an empty label", s)
		case len(label) > 63:
			return fmt.Sprintf("%q has a label of %d characters; the limit is 63", s, len(label))
		case strings.Contains(label, "*"):
			return fmt.Sprintf("%q holds an asterisk; only the name of a service may be a wildcard", s)
		}
		if msg := checkCharacters(s, label, true); msg != "" {
			return msg
		}
	}
	return ""
}

// checkOwner is checkDomain for the owner name of a service, which may be a
// wildcard (RFC 4592).
func checkOwner(s string) string {
	rest, wildcard := strings.CutPrefix(s, "*.")
	switch {
	case s == "@":
		return `"@" stands for the zone only in its records; write the zone's name here`
	case strings.Contains(s, "://"):
		return fmt.Sprintf("%q is a URL; want the name alone, as www.example.test", s)
	case s == "*":
		return `"*" is no whole name; write the zone's name behind it, as *.example.test`
	case strings.Contains(rest, "*"):
		return fmt.Sprintf("%q holds an asterisk that is not the whole first label, as in *.example.test", s)
	case wildcard && len(s)+2 <= 255:
		return checkDomain(rest)
	default:
		return checkDomain(s)
	}
}

// checkMailbox is checkDomain for an SOA mailbox, whose first label may hold
// escaped dots (RFC 1035 section 8).
func checkMailbox(s string) string {
	if local, host, ok := strings.Cut(s, "@"); ok {
		return fmt.Sprintf("%q is a mail address; write it as a domain name: %s.%s", s, strings.ReplaceAll(local, ".", `\.`), host)
	}
	return checkDomain(strings.ReplaceAll(s, `\.`, "x"))
}

// inZone tells whether an owner name lies in a zone, its apex included.
func inZone(owner, zone string) bool {
	return owner == zone || len(owner) > len(zone) && strings.HasSuffix(owner, zone) && owner[len(owner)-len(zone)-1] == '.'
}
