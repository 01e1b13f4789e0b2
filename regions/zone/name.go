package zone

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/miekg/dns"
)

// Name is an absolute domain name in wire form (length-prefixed labels, the
// root label last), in lower case. Names compare as RFC 4343 wants with ==,
// and `a\.b` and `a.b` differ.
type Name string

// Root is the name of the root.
const Root Name = "\x00"

// maxNameLength is the longest name on the wire (RFC 1035 section 3.1).
const maxNameLength = 255

// ParseName reads a name in presentation form. It is absolute, with or
// without the final dot.
func ParseName(s string) (Name, error) {
	if s == "" {
		return "", errors.New("the name is empty")
	}
	var buf [maxNameLength + 1]byte
	n, err := dns.PackDomainName(dns.Fqdn(s), buf[:], 0, nil, false)
	if err != nil || n > maxNameLength || !escapesFit(s) {
		return "", fmt.Errorf("%q is no domain name: want labels of 1 to 63 bytes separated by dots, 255 bytes in all", s)
	}
	Lower(buf[:n])
	return Name(buf[:n]), nil
}

// escapesFit tells whether every \DDD is a byte (RFC 1035 section 5.1); the
// library drops what is too much.
func escapesFit(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		if i+2 < len(s) && isDigit(s[i]) && isDigit(s[i+1]) && isDigit(s[i+2]) {
			if s[i:i+3] > "255" {
				return false
			}
			i += 2
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Lower turns an uncompressed name in wire form into lower case, in place.
// Length bytes are at most 63, below 'A', so they need no special care.
func Lower(wire []byte) {
	for i, c := range wire {
		if 'A' <= c && c <= 'Z' {
			wire[i] = c + 'a' - 'A'
		}
	}
}

// String prints the name with its final dot, special bytes escaped.
func (n Name) String() string {
	s, _, err := dns.UnpackDomainName([]byte(n), 0)
	if err != nil {
		return fmt.Sprintf("%q", string(n))
	}
	return s
}

// Labels counts the labels without the root.
func (n Name) Labels() int {
	count := 0
	for i := 0; i < len(n) && n[i] != 0; i += int(n[i]) + 1 {
		count++
	}
	return count
}

// Parent is the name without its first label; the root is its own parent.
func (n Name) Parent() Name {
	if len(n) <= 1 {
		return n
	}
	return n[int(n[0])+1:]
}

// Ancestor is the name that remains when n is cut down to its last labels; n
// itself when it has no more.
func (n Name) Ancestor(labels int) Name {
	for extra := n.Labels() - labels; extra > 0; extra-- {
		n = n.Parent()
	}
	return n
}

// Under tells whether n is the ancestor or lies below it.
func (n Name) Under(ancestor Name) bool {
	for len(n) > len(ancestor) {
		n = n.Parent()
	}
	return n == ancestor
}

// IsWildcard tells whether the first label is an asterisk (RFC 4592 section 2.1.1).
func (n Name) IsWildcard() bool { return len(n) > 2 && n[:2] == "\x01*" }

// wildcard is the asterisk label below n.
func (n Name) wildcard() Name { return "\x01*" + n }

// borrow views a lower-case wire name as a Name without copying it. The
// result must not outlive the call that it is made for.
func borrow(wire []byte) Name { return Name(unsafe.String(unsafe.SliceData(wire), len(wire))) }
