package identity

import (
	"fmt"
	"strings"
)

const scheme = "spiffe://"

// Parse reads an identity from its URI, and takes the canonical form only.
// By the rules of SPIFFE-ID section 2 there is no user, port, query, fragment
// or escape in it; none of their characters is one of a name.
func Parse(uri string) (Identity, error) {
	id, err := parse(uri)
	if err != nil {
		return Identity{}, fmt.Errorf("identity %.200q: %w", uri, err)
	}
	return id, nil
}

func parse(uri string) (id Identity, err error) {
	if len(uri) > maxURI {
		return id, fmt.Errorf("%d bytes: want %d at most", len(uri), maxURI)
	}
	rest, ok := strings.CutPrefix(uri, scheme)
	if !ok {
		return id, fmt.Errorf("want %sTRUST-DOMAIN/ROLE/…", scheme)
	}
	domain, path, _ := strings.Cut(rest, "/")
	if err := CheckTrustDomain(domain); err != nil {
		return id, err
	}
	id.TrustDomain = domain
	p := segments(path)
	if id.Role, err = ParseRole(p.next()); err != nil {
		return id, err
	}
	if id.Role.Regional() {
		id.Region = p.next()
	}
	id.Name = p.next()
	if err := p.scope(&id.Scope); err != nil {
		return id, err
	}
	if err := id.Validate(); err != nil {
		return id, err
	}
	if want := id.URI(); want != uri { // a slash at the end, an asterisk written out
		return id, fmt.Errorf("it is not in canonical form: want %.200q", want)
	}
	return id, nil
}

// segments is what is left of a path.
type segments string

// next takes a segment; it is empty at the end.
func (p *segments) next() string {
	head, rest, _ := strings.Cut(string(*p), "/")
	*p = segments(rest)
	return head
}

// scope reads pairs of kind and name to the end. Their order within a kind is
// Validate's to check.
func (p *segments) scope(s *Scope) error {
	lists := s.lists()
	at := 0
	for *p != "" {
		kind := p.next()
		found := false
		for i, l := range lists {
			if l.kind != kind {
				continue
			}
			if i < at {
				return fmt.Errorf("%s comes after %s: want zones, then services, then regions", kind, lists[at].kind)
			}
			at, found = i, true
			*l.names = append(*l.names, fromSegment(kind, p.next()))
		}
		if !found {
			return fmt.Errorf("%.60q in the path: want zone, service or region and a name", kind)
		}
	}
	return nil
}
