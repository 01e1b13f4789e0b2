package config

import (
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// slowDetection is how long it may take to find a dead endpoint.
const slowDetection = time.Minute

// checkUse is a health check with who uses it.
type checkUse struct {
	spec    *pb.HealthCheckSpec
	regions int // that see each target
	users   sample
	passive sample // of them, those that are active-passive
	// addresses, names: endpoints of the users are such.
	addresses, names bool
}

func (w *warner) healthChecks() {
	for _, name := range w.set.Names(KindHealthCheck) {
		c, key := w.checks[name], Key{KindHealthCheck, name}
		if c.users.n == 0 {
			w.add(key, "", "no service uses it, so that nothing is probed by it", false)
			continue
		}
		w.seats(key, c)
		w.quorumRule(key, c)
		w.timing(key, c)
		w.serverName(key, c)
		if f := c.spec.GetAddressFamily(); f > pb.AddressFamily_ADDRESS_FAMILY_ANY && !c.names {
			w.add(key, "spec.addressFamily", "is for endpoints that are names, and those that are checked by it are addresses", len(c.users.given) > 0)
		}
	}
}

// seats warns of a check that too few vantages make.
func (w *warner) seats(key Key, c *checkUse) {
	k, all, about := int(c.spec.GetVantages()), w.seen.all, w.seen.given
	const path = "spec.vantages"
	switch {
	case k == 0 || all == 0:
	case k > all:
		w.addf(key, path, about, "is %d, and %d agents are registered: all of them probe each target", k, all)
	case len(w.seen.names) > c.regions && c.regions == 1:
		w.add(key, path, "one agent looks at each target, and its word alone decides; want 3, for regions that outvote one another, or 0 for all agents", about)
	case len(w.seen.names) > c.regions && c.regions == 2:
		w.addf(key, path, about, "2 of %d regions look at each target, and two cannot tell a partition from a death; want 3, or 0 for all agents", len(w.seen.names))
	}
}

// quorumRule warns of rules that decide less, or more, than one may think.
func (w *warner) quorumRule(key Key, c *checkUse) {
	const path = "spec.quorum"
	rule, n, k, about := c.spec.GetQuorum(), c.regions, int(c.spec.GetUnhealthyRegions()), w.seen.given
	atLeast := rule == pb.QuorumRule_QUORUM_RULE_AT_LEAST
	switch {
	case n < 2:
	case rule == pb.QuorumRule_QUORUM_RULE_ANY_HEALTHY, atLeast && k == n:
		w.addf(key, path, about, "an endpoint is unhealthy only when all %d regions say so: while one of them is silent, as when it died together with its endpoints, nothing fails over; majority decides then", n)
	case atLeast && k > n:
		w.addf(key, path, about, "%d regions can never say unhealthy, as %d look at each target: it counts as %d, and while one of them is silent nothing fails over; want fewer, or more vantages", k, n, n)
	case atLeast && k == 1:
		w.addf(key, path, about, "the vantages of one region take an endpoint out for everybody, and it comes back only when all %d regions call it healthy", n)
	case rule == pb.QuorumRule_QUORUM_RULE_STRICT && n == 2:
		w.add(key, path, "two regions look at each target, and strict decides nothing while one of them is silent, as when it died together with its endpoints; majority lets the other one decide", about)
	}
	if n >= 2 && c.passive.n > 0 && (atLeast || rule == pb.QuorumRule_QUORUM_RULE_ANY_HEALTHY) {
		w.addf(key, path, about || len(c.passive.given) > 0, "services that are active-passive follow what more than half of the regions say, whatever the rule: %s", c.passive.list(""))
	}
}

// timing warns of checks that find a dead endpoint late.
func (w *warner) timing(key Key, c *checkUse) {
	s := c.spec
	interval, again := s.GetInterval().AsDuration(), s.GetInterval().AsDuration()
	if confirm := s.GetConfirmInterval().AsDuration(); confirm > 0 {
		again = confirm
		if s.GetFall() == 1 {
			w.add(key, "spec.confirmInterval", "has no effect with `fall: 1`: the first failure is enough", false)
		}
	}
	if late := interval + time.Duration(s.GetFall()-1)*again + s.GetTimeout().AsDuration(); late > slowDetection && s.GetFall() > 0 {
		w.addf(key, "spec.interval", false, "an endpoint that dies is found after up to %s (interval %s, fall %d, timeout %s); want a shorter interval, a lower fall or a confirmInterval",
			formatDuration(late), formatDuration(interval), s.GetFall(), formatDuration(s.GetTimeout().AsDuration()))
	}
	guard := w.set.Get(Key{KindSafetyPolicy, SafetyPolicyName}).GetSafetyPolicy().GetSpec().GetGuard()
	window := defaultGuardWindow
	if guard.GetWindow() != nil {
		window = guard.GetWindow().AsDuration()
	}
	if interval > window {
		w.addf(key, "spec.interval", w.given[Key{KindSafetyPolicy, SafetyPolicyName}], "%s is longer than the %s that the mass-withdrawal guard looks back: it does not see endpoints that die together as one step; want a shorter interval, or a longer spec.guard.window of the SafetyPolicy",
			formatDuration(interval), formatDuration(window))
	}
}

// serverName warns of TLS to addresses without the name of a server: certificates
// for addresses are rare.
func (w *warner) serverName(key Key, c *checkUse) {
	var tls *pb.TlsOptions
	name, path, or := "", "", ""
	switch p := c.spec.GetProbe().(type) {
	case *pb.HealthCheckSpec_Http:
		tls, name, path, or = p.Http.GetTls(), p.Http.GetHost(), "spec.http.tls", " or spec.http.host"
	case *pb.HealthCheckSpec_Tcp:
		tls, path = p.Tcp.GetTls(), "spec.tcp.tls"
	case *pb.HealthCheckSpec_Tls:
		path = "spec.tls.tls"
		if tls = p.Tls.GetTls(); tls == nil {
			tls = &pb.TlsOptions{}
		}
	case *pb.HealthCheckSpec_Grpc:
		tls, name, path, or = p.Grpc.GetTls(), p.Grpc.GetAuthority(), "spec.grpc.tls", " or spec.grpc.authority"
	}
	if tls == nil || !c.addresses || name+tls.GetServerName() != "" || tls.GetInsecureSkipVerify() {
		return
	}
	w.addf(key, path, len(c.users.given) > 0, "asks for no server by name, so that each endpoint's certificate must be for its address; state serverName%s", or)
}
