package regions

import (
	"strings"
	"time"
)

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

// Standing is a verdict that holds. The zero value was never passed.
type Standing struct {
	// Verdict is the last one that was HEALTHY or UNHEALTHY.
	Verdict Status
	// Restored: it is HEALTHY and was UNHEALTHY before.
	Restored bool
	// Since is when it came about.
	Since time.Time
}

// Equal tells whether two standings are the same, in whatever time zone.
func (s Standing) Equal(t Standing) bool {
	return s.Verdict == t.Verdict && s.Restored == t.Restored && s.Since.Equal(t.Since)
}

// sameMoment is how far two controllers may be apart about when a verdict came
// about, while it is the same verdict.
const sameMoment = 5 * time.Second

// Continue returns s as it goes on from what was known before. The same verdict
// keeps its time: another controller's word for it, a little apart, changes
// nothing. A recovery keeps it only where it is the same recovery, since
// hold-downs and ramps count from it.
func (s Standing) Continue(before Standing) Standing {
	if s.Verdict != before.Verdict || s.Restored != before.Restored {
		return s
	}
	if d := s.Since.Sub(before.Since); s.Restored && (d > sameMoment || d < -sameMoment) {
		return s
	}
	s.Since = before.Since
	return s
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
