package config

import (
	"fmt"
	"slices"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// referencesOf visits what r refers to. The path is made only on demand:
// there are millions of references, and few are wrong.
func referencesOf(r *pb.Resource, visit func(to Key, path func() string)) {
	one := func(kind, name, path string) {
		if name != "" {
			visit(Key{kind, name}, func() string { return path })
		}
	}
	list := func(names []string, path string) {
		for i, name := range names {
			visit(Key{KindRegion, name}, func() string { return fmt.Sprintf("%s[%d]", path, i) })
		}
	}
	switch k := r.GetKind().(type) {
	case *pb.Resource_Agent:
		one(KindRegion, k.Agent.GetSpec().GetRegion(), "spec.region")
	case *pb.Resource_Nameserver:
		one(KindRegion, k.Nameserver.GetSpec().GetRegion(), "spec.region")
	case *pb.Resource_SteeringPolicy:
		s := k.SteeringPolicy.GetSpec()
		list(s.GetRegions(), "spec.regions")
		// What these say must be among regions, if these are given; so here
		// only if not, or each mistake would be told twice.
		if len(s.GetRegions()) == 0 {
			list(s.GetDefaultOrder(), "spec.defaultOrder")
			for region := range s.GetBias() {
				one(KindRegion, region, fmt.Sprintf("spec.bias[%q]", region))
			}
			for i, rule := range s.GetRules() {
				list(rule.GetRegions(), fmt.Sprintf("spec.rules[%d].regions", i))
			}
		}
	case *pb.Resource_Service:
		s := k.Service.GetSpec()
		one(KindZone, s.GetZone(), "spec.zone")
		one(KindSteeringPolicy, s.GetPolicy(), "spec.policy")
		one(KindHealthCheck, s.GetHealthCheck(), "spec.healthCheck")
		for i, e := range s.GetEndpoints() {
			if e.GetRegion() != "" {
				visit(Key{KindRegion, e.GetRegion()}, func() string { return fmt.Sprintf("spec.endpoints[%d].region", i) })
			}
		}
	}
}

// words for errors about a missing resource.
var nouns = map[string]string{
	KindRegion: "region", KindZone: "zone", KindSteeringPolicy: "steering policy", KindHealthCheck: "health check",
}

// references reports what r refers to and is not in the set.
func (v *validator) references(r *pb.Resource) {
	key := KeyOf(r)
	var bad Errors
	referencesOf(r, func(to Key, path func() string) {
		switch {
		case v.set.Get(to) != nil:
			return
		case v.base.Get(to) != nil:
			bad = append(bad, FieldError{Kind: key.Kind, Name: key.Name, Path: path(), Message: fmt.Sprintf("no %s %q any more: this change removes it, and it is in use here; change this too, or keep it", nouns[to.Kind], to.Name)})
		default:
			bad = append(bad, FieldError{Kind: key.Kind, Name: key.Name, Path: path(), Message: v.missing("no "+nouns[to.Kind], to.Name, v.set.Names(to.Kind))})
		}
	})
	slices.SortStableFunc(bad, func(a, b FieldError) int {
		if strings.HasPrefix(a.Path, "spec.bias[") && strings.HasPrefix(b.Path, "spec.bias[") {
			return strings.Compare(a.Path, b.Path) // a map has no order
		}
		return 0
	})
	v.errs = append(v.errs, bad...)
	if h := r.GetHealthCheck(); h != nil {
		v.quorum(key, h.GetSpec())
	}
	if p := r.GetSafetyPolicy(); p != nil {
		v.drainRegions(key, p.GetSpec().GetDrains())
	}
	if s := r.GetService(); s != nil {
		v.availabilityZones(key, s.GetSpec())
		v.policyRegions(key, s.GetSpec())
		v.clientRegion(key, s.GetSpec())
		v.owner(key, s.GetSpec().GetZone())
	}
}

// quorum reports a check that more regions must find unhealthy than have
// agents: nothing would ever be. Without any agent there is no quorum at all,
// as before the first is registered.
func (v *validator) quorum(key Key, s *pb.HealthCheckSpec) {
	if s.GetQuorum() != pb.QuorumRule_QUORUM_RULE_AT_LEAST {
		return
	}
	regions := map[string]bool{}
	for _, n := range v.set.kind(kindIndex(KindAgent)) {
		regions[n.r.GetAgent().GetSpec().GetRegion()] = true
	}
	if n := s.GetUnhealthyRegions(); len(regions) > 0 && n > uint32(len(regions)) && n <= MaxRegions {
		v.errs = append(v.errs, FieldError{
			Kind: key.Kind, Name: key.Name, Path: "spec.unhealthyRegions",
			Message: fmt.Sprintf("%d regions can never say unhealthy, as agents are registered in %d: want at most that", n, len(regions)),
		})
	}
}

// missing says that there is no such name, and which was probably meant.
func (v *validator) missing(what, name string, right []string) string {
	message := fmt.Sprintf("%s %q", what, name)
	tail, known := v.suggested[message]
	if !known && len(v.suggested) < maxSuggestions {
		tail = Suggest(name, right)
		v.suggested[message] = tail
	}
	return message + tail
}

// maxSuggestions bounds how often a set is searched for the name that was
// meant.
const maxSuggestions = 200

func (v *validator) availabilityZones(key Key, s *pb.ServiceSpec) {
	for i, e := range s.GetEndpoints() {
		az := e.GetAvailabilityZone()
		region := v.set.region(e.GetRegion())
		if az == "" || region == nil || slices.Contains(region.GetSpec().GetAvailabilityZones(), az) {
			continue
		}
		v.errs = append(v.errs, FieldError{
			Kind: key.Kind, Name: key.Name, Path: fmt.Sprintf("spec.endpoints[%d].availabilityZone", i),
			Message: v.missing(fmt.Sprintf("region %q has no availability zone", e.GetRegion()), az, region.GetSpec().GetAvailabilityZones()),
		})
	}
}

// policyRegions reports endpoints in regions that the service's policy leaves
// out: they would not answer while anything else can.
func (v *validator) policyRegions(key Key, s *pb.ServiceSpec) {
	policy := v.set.Get(Key{KindSteeringPolicy, s.GetPolicy()}).GetSteeringPolicy().GetSpec().GetRegions()
	if len(policy) == 0 {
		return
	}
	for i, e := range s.GetEndpoints() {
		if slices.Contains(policy, e.GetRegion()) || v.set.region(e.GetRegion()) == nil {
			continue
		}
		v.errs = append(v.errs, FieldError{
			Kind: key.Kind, Name: key.Name, Path: fmt.Sprintf("spec.endpoints[%d].region", i),
			Message: fmt.Sprintf("steering policy %q does not use region %q: add it to the policy's spec.regions, or want another region or policy", s.GetPolicy(), e.GetRegion()),
		})
	}
}

// clientRegion reports a service that is to follow what the vantages near a client
// see, where its policy gives all clients one region.
func (v *validator) clientRegion(key Key, s *pb.ServiceSpec) {
	mode := v.set.Get(Key{KindSteeringPolicy, s.GetPolicy()}).GetSteeringPolicy().GetSpec().GetMode()
	if s.GetVerdicts() != pb.VerdictScope_VERDICT_SCOPE_CLIENT_REGION || mode != pb.SteeringMode_STEERING_MODE_ACTIVE_PASSIVE {
		return
	}
	v.errs = append(v.errs, FieldError{
		Kind: key.Kind, Name: key.Name, Path: "spec.verdicts",
		Message: fmt.Sprintf("client-region has no effect with steering policy %q, which is active-passive: it gives all clients the same region; want global, or an active-active policy", s.GetPolicy()),
	})
}

// owner reports a service that does not lie in the zone it names, or lies in
// a zone further down: the closest enclosing zone answers (RFC 1034 section
// 4.3.2, step 2).
func (v *validator) owner(key Key, zone string) {
	if zone == "" || v.set.zone(zone) == nil {
		return
	}
	closest := closestZone(v.set, key.Name)
	if closest == zone || checkOwner(key.Name) != "" {
		return
	}
	message := fmt.Sprintf("%q does not lie in zone %q", key.Name, zone)
	switch {
	case closest == "":
		message += meantOwner(key.Name, zone)
	case inZone(key.Name, zone):
		message = fmt.Sprintf("the closest zone of %q is %q: want that", key.Name, closest)
	default:
		message += fmt.Sprintf(" (did you mean %q?)", closest)
	}
	v.errs = append(v.errs, FieldError{Kind: key.Kind, Name: key.Name, Path: "spec.zone", Message: message})
}

// meantOwner is the tail of an error about an owner that lies in no zone: the
// zone's name was left off, or misspelt.
func meantOwner(owner, zone string) string {
	labels := strings.Count(zone, ".") + 1
	if rest, wildcard := strings.CutPrefix(owner, "*."); !strings.Contains(owner, ".") || wildcard && !strings.Contains(rest, ".") {
		return fmt.Sprintf(" (did you mean %q?)", owner+"."+zone)
	}
	cut := len(owner)
	for i := len(owner) - 1; i >= 0 && labels > 0; i-- {
		if owner[i] == '.' || i == 0 {
			labels--
			cut = i
		}
	}
	if tail := strings.TrimPrefix(owner[cut:], "."); nearest(tail, []string{zone}) != "" {
		return fmt.Sprintf(" (did you mean %q?)", owner[:len(owner)-len(tail)]+zone)
	}
	return ""
}

// closestZone is the zone with the longest name that an owner lies in, or "".
func closestZone(set *Set, owner string) string {
	for name := owner; name != ""; {
		if set.zone(name) != nil {
			return name
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return ""
}

// Referrers lists the resources that refer to key, in order: they stand in
// the way of deleting it.
func Referrers(set *Set, key Key) []Key {
	var keys []Key
	for _, r := range set.All() {
		found := false
		referencesOf(r, func(to Key, _ func() string) { found = found || to == key })
		if found {
			keys = append(keys, KeyOf(r))
		}
	}
	return keys
}

// targetsDiffer tells whether references that hold in one set may not in the
// other: something that can be referred to differs. Of zones only the names
// count; their serials change all the time.
func targetsDiffer(a, b *Set) bool {
	for k, kind := range kinds {
		same := func(x, y named) bool { return x.r == y.r }
		switch kind.name {
		case KindService:
			continue
		case KindZone:
			same = func(x, y named) bool { return x.name == y.name }
		}
		if !slices.EqualFunc(a.kind(k), b.kind(k), same) {
			return true
		}
	}
	return false
}
