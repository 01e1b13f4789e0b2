package identity

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Identity is who holds a certificate. Parse and FromCertificate return valid
// ones only.
type Identity struct {
	TrustDomain string
	Role        Role
	Name        string
	Region      string // of an agent or a nameserver; empty for all others
	Scope       Scope  // of people; empty for all others
	// Token tells that no certificate said so but a token, which only people
	// have.
	Token bool
}

// Validate says everything that is wrong, in one error.
func (id Identity) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := CheckTrustDomain(id.TrustDomain); err != nil {
		errs = append(errs, err)
	}
	if id.Role == None || int(id.Role) >= len(roleNames) {
		wrong("no role: want one of %s", strings.Join(roleNames[1:], ", "))
	}
	check := checkSegment
	if id.Role.Regional() { // resources of that kind: their names are labels
		check = checkLabel
	}
	if msg := check(id.Name); msg != "" {
		wrong("name %.80q %s", id.Name, msg)
	}
	switch msg := checkLabel(id.Region); {
	case id.Role.Regional() && id.Region == "":
		wrong("%s %.80q has no region: want one, as eu-west", id.Role, id.Name)
	case id.Role.Regional() && msg != "":
		wrong("region %.80q %s", id.Region, msg)
	case !id.Role.Regional() && id.Region != "":
		wrong("%s %.80q has region %.80q: want none, as it belongs to no region", id.Role, id.Name, id.Region)
	}
	if !id.Role.Person() && id.Token {
		wrong("%s %.80q by a token: want a certificate, tokens are for viewer, operator and admin", id.Role, id.Name)
	}
	if !id.Role.Person() && !id.Scope.All() {
		wrong("%s %.80q has a scope of zones, services or regions: want none, scopes are for viewer, operator and admin", id.Role, id.Name)
	}
	if err := id.Scope.validate(); err != nil {
		errs = append(errs, err)
	}
	if n := len(id.URI()); len(errs) == 0 && n > maxURI {
		wrong("the scope is too long: %d bytes as a URI, want %d at most (name zones instead of services, or issue two certificates)", n, maxURI)
	}
	return errors.Join(errs...)
}

func (s Scope) validate() error {
	var errs []error
	for _, l := range s.lists() {
		for i, name := range *l.names {
			if msg := l.check(name); msg != "" {
				errs = append(errs, fmt.Errorf("scope: %s %.80q %s", l.kind, name, msg))
			}
			if i > 0 && (*l.names)[i-1] >= name {
				errs = append(errs, fmt.Errorf("scope: %s %.80q comes after %.80q: want them sorted, and none twice", l.kind, name, (*l.names)[i-1]))
			}
		}
	}
	return errors.Join(errs...)
}

// URI is the identity as a certificate carries it.
func (id Identity) URI() string {
	var b strings.Builder
	b.WriteString("spiffe://" + id.TrustDomain + "/" + id.Role.String())
	if id.Role.Regional() {
		b.WriteString("/" + id.Region)
	}
	b.WriteString("/" + id.Name)
	for _, l := range id.Scope.lists() {
		for _, name := range *l.names {
			b.WriteString("/" + l.kind + "/" + toSegment(name))
		}
	}
	return b.String()
}

// String is the identity in a person's words, for logs and errors. By what it
// was proved is not in it.
func (id Identity) String() string {
	out := id.Role.String() + " " + id.Name
	if id.Role.Regional() {
		out += " of region " + id.Region
	}
	if id.Role.Person() && !id.Scope.All() {
		out += " for " + id.Scope.String()
	}
	return out
}

// String is the scope in a person's words.
func (s Scope) String() string {
	if s.All() {
		return "everything"
	}
	var parts []string
	for _, l := range s.lists() {
		if len(*l.names) > 0 {
			parts = append(parts, l.kind+" "+strings.Join(*l.names, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

// Equal compares identities, by whatever they were proved.
func (id Identity) Equal(other Identity) bool {
	return id.TrustDomain == other.TrustDomain && id.Role == other.Role && id.Name == other.Name &&
		id.Region == other.Region && id.Scope.Equal(other.Scope)
}

// OneOf makes a check that an identity has one of the roles.
func OneOf(roles ...Role) func(Identity) error {
	return func(id Identity) error {
		if slices.Contains(roles, id.Role) {
			return nil
		}
		var want []string
		for _, r := range roles {
			want = append(want, r.String())
		}
		return fmt.Errorf("it is %s: want the role %s", id, strings.Join(want, " or "))
	}
}

// Exactly makes a check that an identity is this program: role, name and
// region.
func Exactly(role Role, region, name string) func(Identity) error {
	return func(id Identity) error {
		if want := (Identity{Role: role, Region: region, Name: name}); id.Role != role || id.Region != region || id.Name != name {
			return fmt.Errorf("it is %s: want %s", id, want)
		}
		return nil
	}
}
