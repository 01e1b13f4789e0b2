package identity

import (
	"fmt"
	"strings"
)

// Role is what the holder of a certificate is.
type Role uint8

// The roles: four of programs, which stand side by side, and three of people,
// each of which may do what the one before it may. None is nobody.
const (
	None Role = iota
	Agent
	Nameserver
	Controller
	Etcd
	Viewer
	Operator
	Admin
)

var roleNames = [...]string{"none", "agent", "nameserver", "controller", "etcd", "viewer", "operator", "admin"}

// Roles lists every role but None.
func Roles() []Role {
	return []Role{Agent, Nameserver, Controller, Etcd, Viewer, Operator, Admin}
}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// ParseRole reads the name of a role.
func ParseRole(s string) (Role, error) {
	for _, r := range Roles() {
		if r.String() == s {
			return r, nil
		}
	}
	return None, fmt.Errorf("no role %.60q: want one of %s", s, strings.Join(roleNames[1:], ", "))
}

// Person tells whether people hold the role, who may have a scope.
func (r Role) Person() bool { return r >= Viewer && r <= Admin }

// Regional tells whether the role belongs to one region.
func (r Role) Regional() bool { return r == Agent || r == Nameserver }

// AtLeast tells whether a person's role may do all that another may:
// viewer < operator < admin. It is false for every role of a program: they are
// not ordered, and none stands above a person.
func (r Role) AtLeast(least Role) bool { return r.Person() && least.Person() && r >= least }
