package breakglass

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// Bounds on a record.
const (
	MinExpiry = time.Second
	MaxExpiry = 24 * time.Hour
	maxText   = 1024 // bytes of author, reason or actor
	maxEnded  = 3 * maxText
	idPrefix  = "bg-"
	maxID     = len(idPrefix) + 60
)

// Check says everything that is wrong with a record that is to be made under a
// configuration, in one error.
func Check(r *pb.BreakGlassRecord, expireAfter time.Duration, base *regions.Base) error {
	errs := []error{checkID(r.GetId()), CheckText("author", r.GetAuthor()), CheckText("reason", r.GetReason())}
	if strings.TrimSpace(r.GetReason()) == "" {
		errs = append(errs, errors.New("reason: required"))
	}
	switch {
	case expireAfter == 0:
		errs = append(errs, errors.New("expire_after: required: 1s to 24h"))
	case expireAfter < MinExpiry || expireAfter > MaxExpiry:
		errs = append(errs, fmt.Errorf("expire_after: %s: want 1s to 24h", expireAfter))
	}
	o, err := plan.BreakGlass(r)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, checkScope(o.Scope, base))...)
}

func checkID(id string) error {
	rest, ok := strings.CutPrefix(id, idPrefix)
	wrong := func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' }
	if !ok || rest == "" || len(id) > maxID || strings.ContainsFunc(rest, wrong) {
		return fmt.Errorf("id: %.80q: want bg- and 1 to 60 characters of a to z, 0 to 9 and -", id)
	}
	return nil
}

// CheckText says what is wrong with a text that a person wrote.
func CheckText(field, text string) error {
	switch {
	case len(text) > maxText:
		return fmt.Errorf("%s: %d bytes, at most %d", field, len(text), maxText)
	case !utf8.ValidString(text):
		return fmt.Errorf("%s: not UTF-8", field)
	}
	return nil
}

// checkStored holds a record on disk to the bounds that one was made with.
func checkStored(r *pb.BreakGlassRecord) error {
	errs := []error{checkID(r.GetId()), CheckText("author", r.GetAuthor()), CheckText("reason", r.GetReason()), CheckText("actor", r.GetActor())}
	if len(r.GetEnded()) > maxEnded {
		errs = append(errs, fmt.Errorf("ended: %d bytes, at most %d", len(r.GetEnded()), maxEnded))
	}
	if left := r.GetRemainingMillis(); left > uint64(MaxExpiry.Milliseconds()) {
		errs = append(errs, fmt.Errorf("remaining_millis: %d, at most 24h", left))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("record %.80q: %w", r.GetId(), err)
	}
	return nil
}

// checkScope says what of a scope is not there: it names a region, with an
// availability zone or a service or both, or a service and one of its endpoints.
func checkScope(s regions.Scope, base *regions.Base) error {
	if s.Region == "" && s.Endpoint == "" {
		return errors.New("scope: want a region, or a service and its endpoint")
	}
	if s.Region != "" {
		i, ok := base.Region(s.Region)
		if !ok {
			return notThere("region", s.Region, namesOf(base.Regions, func(r *regions.Region) string { return r.Name }))
		}
		if known := base.Regions[i].AvailabilityZones; s.AvailabilityZone != "" && !slices.Contains(known, s.AvailabilityZone) {
			return notThere("availability zone", s.AvailabilityZone, known)
		}
	} else if s.AvailabilityZone != "" {
		return errors.New("scope: an availability zone needs its region")
	}
	if s.Service == "" {
		if s.Endpoint != "" {
			return errors.New("scope: an endpoint needs its service")
		}
		return nil
	}
	i, ok := base.Service(s.Service)
	if !ok {
		return notThere("service", s.Service, namesOf(base.Services, func(s *regions.Service) string { return s.Name }))
	}
	service := &base.Services[i]
	if s.Endpoint != "" && !slices.ContainsFunc(service.Endpoints, func(e regions.Endpoint) bool { return e.Name == s.Endpoint }) {
		return notThere("endpoint", s.Endpoint, namesOf(service.Endpoints, func(e *regions.Endpoint) string { return e.Name }))
	}
	for j := range service.Endpoints {
		e := &service.Endpoints[j]
		if s.Holds(service.Name, e.Name, base.Regions[e.Region].Name, e.AvailabilityZone) {
			return nil
		}
	}
	return fmt.Errorf("scope: %s holds no endpoint", s)
}

func namesOf[T any](list []T, name func(*T) string) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = name(&list[i])
	}
	return out
}

func notThere(kind, name string, known []string) error {
	return fmt.Errorf("scope: no %s %.80q%s", kind, name, config.Suggest(name, known))
}
