package regions

import "strings"

// Status is what an opinion, a vote or a verdict says. It is three-valued:
// silence is Unknown, never Unhealthy.
type Status uint8

// The three values.
const (
	Unknown Status = iota
	Healthy
	Unhealthy
)

func (s Status) String() string {
	switch s {
	case Healthy:
		return "HEALTHY"
	case Unhealthy:
		return "UNHEALTHY"
	default:
		return "UNKNOWN"
	}
}

// Family is an address family; health is judged for each.
type Family uint8

// The families. An endpoint that is a name (CNAME) has its one target under V4.
const (
	V4 Family = iota
	V6
)

func (f Family) String() string {
	if f == V6 {
		return "IPv6"
	}
	return "IPv4"
}

// TargetID is the stable id of what is probed: one address (or host name)
// under one health check. It stays the same across generations, and however
// many services use it.
func TargetID(check, address string) string { return check + "@" + address }

// SplitTargetID returns the check and the address of a target id.
func SplitTargetID(id string) (check, address string, ok bool) { return strings.Cut(id, "@") }
