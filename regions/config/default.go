package config

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The stated defaults.
const (
	DefaultZoneTTL     = time.Hour
	DefaultNegativeTTL = 30 * time.Second
	DefaultMailbox     = "hostmaster." // and the origin
	DefaultMaxAnswers  = 8
	DefaultInterval    = 10 * time.Second
	DefaultTimeout     = 2 * time.Second // or the interval, if that is less
	DefaultRise        = 2
	DefaultFall        = 3
	DefaultHTTPPort    = 80
	DefaultHTTPSPort   = 443
	DefaultHTTPPath    = "/"
	DefaultServiceTTL  = 30 * time.Second
	DefaultWeight      = 100
)

// Default brings r into canonical form, in place: it fills in the stated
// defaults, and spells names, addresses, prefixes and codes in one way. What
// it cannot read it leaves to Validate. It is idempotent.
//
// Fields that came after the first version stay unset, and whoever uses them
// knows their defaults: filled in, they would change the etags and objects of
// all that is stored, and two versions would write it back and forth.
func Default(r *pb.Resource) {
	ensureParts(r)
	if m := Metadata(r); m != nil {
		m.Name = canonicalName(m.Name)
	}
	switch k := r.GetKind().(type) {
	case *pb.Resource_Region:
		canonicalNames(k.Region.Spec.AvailabilityZones)
	case *pb.Resource_Agent:
		defaultAgent(k.Agent.Spec)
	case *pb.Resource_Nameserver:
		defaultNameserver(k.Nameserver.Spec)
	case *pb.Resource_HealthCheck:
		defaultHealthCheck(k.HealthCheck.Spec)
	case *pb.Resource_SteeringPolicy:
		defaultPolicy(k.SteeringPolicy.Spec)
	case *pb.Resource_Zone:
		defaultZone(k.Zone.Metadata.Name, k.Zone.Spec)
	case *pb.Resource_Service:
		defaultService(k.Service.Spec)
	}
}

// ensureParts gives r the metadata and spec that it may lack.
func ensureParts(r *pb.Resource) {
	i := resourceKind(r)
	if i < 0 || Metadata(r) != nil && hasSpec(r) {
		return
	}
	m := r.ProtoReflect().Mutable(resourceField(kinds[i].name)).Message()
	for _, part := range []protoreflect.Name{"metadata", "spec"} {
		m.Mutable(m.Descriptor().Fields().ByName(part))
	}
}

func hasSpec(r *pb.Resource) bool {
	switch k := r.GetKind().(type) {
	case *pb.Resource_Region:
		return k.Region.GetSpec() != nil
	case *pb.Resource_Agent:
		return k.Agent.GetSpec() != nil
	case *pb.Resource_Nameserver:
		return k.Nameserver.GetSpec() != nil
	case *pb.Resource_HealthCheck:
		return k.HealthCheck.GetSpec() != nil
	case *pb.Resource_SteeringPolicy:
		return k.SteeringPolicy.GetSpec() != nil
	case *pb.Resource_SafetyPolicy:
		return k.SafetyPolicy.GetSpec() != nil
	case *pb.Resource_Zone:
		return k.Zone.GetSpec() != nil
	case *pb.Resource_Service:
		return k.Service.GetSpec() != nil
	default:
		return false
	}
}

func canonicalNames(names []string) {
	for i, s := range names {
		names[i] = canonicalName(s)
	}
}

func orDuration(d **durationpb.Duration, value time.Duration) {
	if *d == nil {
		*d = durationpb.New(value)
	}
}

func orNumber(n *uint32, value uint32) {
	if *n == 0 {
		*n = value
	}
}

func defaultAgent(s *pb.AgentSpec) {
	s.Region = canonicalName(s.Region)
	s.Address = canonicalHostPort(s.Address)
	for i, at := range s.References {
		s.References[i] = canonicalHostPort(at)
	}
}

func defaultNameserver(s *pb.NameserverSpec) {
	s.Region = canonicalName(s.Region)
	s.Dns, s.Grpc = canonicalHostPort(s.Dns), canonicalHostPort(s.Grpc)
}

func canonicalHostPort(s string) string {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.String()
	}
	return strings.ToLower(s)
}

func defaultHealthCheck(s *pb.HealthCheckSpec) {
	orDuration(&s.Interval, DefaultInterval)
	// A check more frequent than the default timeout takes its interval.
	orDuration(&s.Timeout, min(DefaultTimeout, max(s.Interval.AsDuration(), 0)))
	orNumber(&s.Rise, DefaultRise)
	orNumber(&s.Fall, DefaultFall)
	switch p := s.Probe.(type) {
	case *pb.HealthCheckSpec_Http:
		if p.Http == nil {
			p.Http = &pb.HttpProbe{}
		}
		if p.Http.Tls != nil {
			orNumber(&p.Http.Port, DefaultHTTPSPort)
		}
		orNumber(&p.Http.Port, DefaultHTTPPort)
		if p.Http.Path == "" {
			p.Http.Path = DefaultHTTPPath
		}
		p.Http.Host = strings.ToLower(p.Http.Host)
		p.Http.Method = strings.ToUpper(p.Http.Method)
		slices.Sort(p.Http.ExpectedStatuses)
		p.Http.ExpectedStatuses = slices.Compact(p.Http.ExpectedStatuses)
	case *pb.HealthCheckSpec_Tcp:
		if p.Tcp == nil {
			p.Tcp = &pb.TcpProbe{}
		}
	case *pb.HealthCheckSpec_Dns:
		if p.Dns != nil {
			p.Dns.Name = strings.ToLower(p.Dns.Name)
			p.Dns.Type = strings.ToUpper(p.Dns.Type)
			p.Dns.ExpectedRcode = strings.ToUpper(p.Dns.ExpectedRcode)
		}
	}
}

func defaultPolicy(s *pb.SteeringPolicySpec) {
	orNumber(&s.MaxAnswers, DefaultMaxAnswers)
	canonicalNames(s.Regions)
	canonicalNames(s.DefaultOrder)
	for _, region := range slices.Sorted(maps.Keys(s.Bias)) {
		name := canonicalName(region)
		if _, both := s.Bias[name]; !both {
			s.Bias[name] = s.Bias[region]
			delete(s.Bias, region)
		}
	}
	for _, rule := range s.Rules {
		if rule == nil {
			continue
		}
		rule.Name = canonicalName(rule.Name)
		canonicalNames(rule.Regions)
		for i, c := range rule.Cidrs {
			if p, err := netip.ParsePrefix(c); err == nil {
				rule.Cidrs[i] = p.Masked().String()
			}
		}
		for _, codes := range [][]string{rule.Countries, rule.Continents, rule.Subdivisions} {
			for i, c := range codes {
				codes[i] = strings.ToUpper(c)
			}
		}
	}
}

func defaultZone(origin string, s *pb.ZoneSpec) {
	canonicalNames(s.Nameservers)
	if s.Mailbox = canonicalName(s.Mailbox); s.Mailbox == "" && origin != "" {
		s.Mailbox = DefaultMailbox + origin
	}
	orDuration(&s.Ttl, DefaultZoneTTL)
	orDuration(&s.NegativeTtl, DefaultNegativeTTL)
}

func defaultService(s *pb.ServiceSpec) {
	s.Zone = canonicalName(s.Zone)
	s.Policy = canonicalName(s.Policy)
	s.HealthCheck = canonicalName(s.HealthCheck)
	orDuration(&s.Ttl, DefaultServiceTTL)
	if s.AllDown == pb.AllDown_ALL_DOWN_UNSPECIFIED {
		s.AllDown = pb.AllDown_ALL_DOWN_SERVE_ALL
	}
	if s.Unknown == pb.UnknownState_UNKNOWN_STATE_UNSPECIFIED {
		s.Unknown = pb.UnknownState_UNKNOWN_STATE_HEALTHY
	}
	if s.Families == pb.Families_FAMILIES_UNSPECIFIED {
		s.Families = pb.Families_FAMILIES_TOGETHER
	}
	canonicalTargets(s.Fallback)
	for _, e := range s.Endpoints {
		if e == nil {
			continue
		}
		e.Name = canonicalName(e.Name)
		e.Region = canonicalName(e.Region)
		e.AvailabilityZone = canonicalName(e.AvailabilityZone)
		canonicalTargets(e.Addresses)
		e.Cname = canonicalName(e.Cname)
		if e.Weight == nil {
			weight := uint32(DefaultWeight)
			e.Weight = &weight
		}
	}
}

// canonicalTargets spells addresses as RFC 5952 does, and names as names.
func canonicalTargets(targets []string) {
	for i, s := range targets {
		targets[i] = canonicalName(s)
		if a, err := netip.ParseAddr(targets[i]); err == nil {
			var buf [64]byte
			if text := a.AppendTo(buf[:0]); string(text) != targets[i] {
				targets[i] = string(text)
			}
		}
	}
}
