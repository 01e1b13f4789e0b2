package config

import (
	"strings"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// longTTL is how long clients may keep an answer of a service that is checked.
	longTTL = 5 * time.Minute
	// shortFailOpen is how soon verdicts that are not renewed may be given up.
	shortFailOpen = time.Minute
	// shortFrozen is an age that verdicts have while a nameserver changes over to
	// another controller.
	shortFrozen = 2 * time.Second

	defaultGuardWindow = time.Minute
)

// policyUse is a steering policy with who uses it.
type policyUse struct {
	passive bool
	checked bool // one of them has a health check
	users   sample
	// two are those of which two regions look at each target.
	two sample
}

// services warns of single services, and notes what they use.
func (w *warner) services() {
	about, list := len(w.given) > 0, w.set.kind(kindIndex(KindService))
	w.wildcard = findWildcards(list)
	for _, n := range list {
		s, key := n.r.GetService().GetSpec(), Key{KindService, n.name}
		given := about && w.given[key]
		w.wildcard.look(w.set, n.name, s.GetZone(), given)
		w.safetyStated = w.safetyStated || s.GetSafety() != nil
		policy := w.policies[s.GetPolicy()]
		if policy != nil {
			policy.users.add(n.name, given)
		}
		check := w.checks[s.GetHealthCheck()]
		if check == nil {
			w.unchecked(key, s)
			continue
		}
		w.checked.add(n.name, given)
		check.users.add(n.name, given)
		for _, e := range s.GetEndpoints() {
			check.names = check.names || e.GetCname() != ""
			check.addresses = check.addresses || len(e.GetAddresses()) > 0
		}
		if policy != nil {
			policy.checked = true
		}
		if policy != nil && policy.passive {
			check.passive.add(n.name, given)
			if check.regions == 2 {
				policy.two.add(n.name, given)
			}
		}
		if s.GetTtl().AsDuration() > longTTL {
			w.addf(key, "spec.ttl", false, "is above %s: clients keep an answer for so long after its endpoint died, however fast that is found; want less (30s is the default)", formatDuration(longTTL))
		}
		if s.GetVerdicts() == pb.VerdictScope_VERDICT_SCOPE_CLIENT_REGION {
			w.clientRegion(key, check)
		}
	}
	w.wildcardsCut()
	w.drainsOfServices(list)
}

// clientRegion warns of a service that follows the vantages of the client's region
// where these are too few. No other region outvotes them, and no guard looks at it.
func (w *warner) clientRegion(key Key, check *checkUse) {
	const path = "spec.verdicts"
	switch lone := w.seen.lone(check.spec); {
	case check.regions == 1:
		w.add(key, path, "client-region has no effect: the vantages of one region look at each target, and what they say is the verdict", w.seen.given)
	case len(lone) > 0:
		var in sample
		for _, region := range lone {
			in.add(region, false)
		}
		w.addf(key, path, w.seen.given, "with client-region one agent decides alone for the clients of these regions, as one looks from there: %s. "+
			"One that lies or is cut off moves all of them, and no guard holds that; want three agents in each region", in.list(""))
	}
}

// unchecked warns of what has no effect on a service without a health check.
func (w *warner) unchecked(key Key, s *pb.ServiceSpec) {
	var idle []string
	if s.GetFailback() != nil {
		idle = append(idle, "failback")
	}
	if s.GetMinTtl() != nil {
		idle = append(idle, "minTtl")
	}
	if s.GetVerdicts() > pb.VerdictScope_VERDICT_SCOPE_GLOBAL {
		idle = append(idle, "verdicts")
	}
	if s.GetHealthCheck() == "" && len(idle) > 0 {
		w.addf(key, "spec", false, "without a healthCheck the endpoints always count as healthy, and there is no effect of %s", strings.Join(idle, ", "))
	}
}

func (w *warner) steeringPolicies() {
	for _, r := range w.set.ByKind(KindSteeringPolicy) {
		key, s := KeyOf(r), r.GetSteeringPolicy().GetSpec()
		p := w.policies[key.Name]
		if p.users.n == 0 {
			w.add(key, "", "no service uses it", false)
			continue
		}
		if names := w.set.Names(KindRegion); p.passive && len(s.GetRegions()) == 0 && len(names) > 1 {
			w.addf(key, "spec.regions", false, "are not stated, so that the regions serve in the order of their names: %s first, for everybody", names[0])
		}
		if p.two.n == 0 {
			continue
		}
		third := "register an agent in a third region (a witness: it needs no endpoints)"
		if len(w.seen.names) > 2 {
			third = "let three regions look (spec.vantages of the health check)"
		}
		w.addf(key, "spec.mode", w.seen.given || len(p.two.given) > 0, "active-passive follows only what more than half of the vantage regions say, and two look at these services: %s. "+
			"Neither of two can tell a partition from the death of the other, so a region that dies together with its agents is not failed over by itself; "+
			"%s, or have an operator ready to drain the dead region", p.two.list(""), third)
	}
}

// safety warns of limits that limit nothing, or too much.
func (w *warner) safety() {
	key := Key{KindSafetyPolicy, SafetyPolicyName}
	r := w.set.Get(key)
	if r == nil || w.checked.n == 0 {
		return
	}
	s := r.GetSafetyPolicy().GetSpec()
	if n := len(w.seen.names); s.GetGuard().GetMode() == pb.GuardMode_GUARD_MODE_ALARM && n > 0 && n <= 2 {
		w.addf(key, "spec.guard.mode", w.seen.given, "alarm holds nothing, and with agents in fewer than three regions those of one may decide alone: when their own paths break, every endpoint counts as unhealthy; want hold")
	}
	if s.GetGuard().GetMaxPercent() == 100 {
		w.add(key, "spec.guard.maxPercent", "at 100 only the loss of everything is held; want the share that may be lost at once, as 50", false)
	}
	ages := s.GetHealthAges()
	if frozen := ages.GetFrozenAfter(); frozen != nil && frozen.AsDuration() < shortFrozen {
		w.addf(key, "spec.healthAges.frozenAfter", false, "is %s, and verdicts are more than a second old whenever a nameserver changes over to another controller; want %s or more", formatDuration(frozen.AsDuration()), formatDuration(shortFrozen))
	}
	open := ages.GetFailOpenAfter().AsDuration()
	if open <= 0 {
		return
	}
	if open < shortFailOpen {
		w.addf(key, "spec.healthAges.failOpenAfter", false, "is %s, and a restart of all controllers can take longer: then endpoints that are known to be dead are answered again; want %s or more, or 0", formatDuration(open), formatDuration(shortFailOpen))
	}
	var passive sample
	for _, name := range w.set.Names(KindSteeringPolicy) {
		if p := w.policies[name]; p.passive && p.checked {
			passive.add(name, w.given[Key{KindSteeringPolicy, name}])
		}
	}
	if passive.n > 0 {
		w.addf(key, "spec.healthAges.failOpenAfter", len(passive.given) > 0, "after %s without a controller every endpoint counts as healthy, and active-passive goes back to the first region, even if that is the one that died; this concerns the policies %s", formatDuration(open), passive.list(""))
	}
}
