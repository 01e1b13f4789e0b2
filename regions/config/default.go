package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The stated defaults.
const (
	DefaultZoneTTL         = time.Hour
	DefaultNegativeTTL     = 30 * time.Second
	DefaultMaxAnswers      = 8
	DefaultInterval        = 10 * time.Second
	DefaultTimeout         = 2 * time.Second
	DefaultRise            = 2
	DefaultFall            = 3
	DefaultHTTPPort        = 80
	DefaultHTTPPath        = "/"
	DefaultServiceTTL      = 30 * time.Second
	DefaultWeight          = 100
	defaultMailboxLocal    = "hostmaster"
	defaultMailboxEndsWith = "." // and the origin
)

// Default brings r into canonical form, in place: it fills in the stated
// defaults, and spells names, addresses, prefixes and codes in one way. What
// it cannot read it leaves to Validate. It is idempotent.
func Default(r *pb.Resource) {
	switch k := r.GetKind().(type) {
	case *pb.Resource_Region:
		if k.Region == nil {
			k.Region = &pb.Region{}
		}
		k.Region.Metadata = defaultMetadata(k.Region.Metadata)
		if k.Region.Spec == nil {
			k.Region.Spec = &pb.RegionSpec{}
		}
		canonicalNames(k.Region.Spec.AvailabilityZones)
	case *pb.Resource_Agent:
		if k.Agent == nil {
			k.Agent = &pb.Agent{}
		}
		k.Agent.Metadata = defaultMetadata(k.Agent.Metadata)
		if k.Agent.Spec == nil {
			k.Agent.Spec = &pb.AgentSpec{}
		}
		k.Agent.Spec.Region = canonicalName(k.Agent.Spec.Region)
	case *pb.Resource_Nameserver:
		if k.Nameserver == nil {
			k.Nameserver = &pb.Nameserver{}
		}
		k.Nameserver.Metadata = defaultMetadata(k.Nameserver.Metadata)
		if k.Nameserver.Spec == nil {
			k.Nameserver.Spec = &pb.NameserverSpec{}
		}
		defaultNameserver(k.Nameserver.Spec)
	case *pb.Resource_HealthCheck:
		if k.HealthCheck == nil {
			k.HealthCheck = &pb.HealthCheck{}
		}
		k.HealthCheck.Metadata = defaultMetadata(k.HealthCheck.Metadata)
		if k.HealthCheck.Spec == nil {
			k.HealthCheck.Spec = &pb.HealthCheckSpec{}
		}
		defaultHealthCheck(k.HealthCheck.Spec)
	case *pb.Resource_SteeringPolicy:
		if k.SteeringPolicy == nil {
			k.SteeringPolicy = &pb.SteeringPolicy{}
		}
		k.SteeringPolicy.Metadata = defaultMetadata(k.SteeringPolicy.Metadata)
		if k.SteeringPolicy.Spec == nil {
			k.SteeringPolicy.Spec = &pb.SteeringPolicySpec{}
		}
		defaultPolicy(k.SteeringPolicy.Spec)
	case *pb.Resource_Zone:
		if k.Zone == nil {
			k.Zone = &pb.Zone{}
		}
		k.Zone.Metadata = defaultMetadata(k.Zone.Metadata)
		if k.Zone.Spec == nil {
			k.Zone.Spec = &pb.ZoneSpec{}
		}
		defaultZone(k.Zone.Metadata.Name, k.Zone.Spec)
	case *pb.Resource_Service:
		if k.Service == nil {
			k.Service = &pb.Service{}
		}
		k.Service.Metadata = defaultMetadata(k.Service.Metadata)
		if k.Service.Spec == nil {
			k.Service.Spec = &pb.ServiceSpec{}
		}
		defaultService(k.Service.Spec)
	}
}

func defaultMetadata(m *pb.Metadata) *pb.Metadata {
	if m == nil {
		m = &pb.Metadata{}
	}
	m.Name = canonicalName(m.Name)
	return m
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

func defaultNameserver(s *pb.NameserverSpec) {
	s.Region = canonicalName(s.Region)
	for _, at := range []*string{&s.Dns, &s.Grpc} {
		if ap, err := netip.ParseAddrPort(*at); err == nil {
			*at = ap.String()
		} else {
			*at = strings.ToLower(*at)
		}
	}
}

func defaultHealthCheck(s *pb.HealthCheckSpec) {
	orDuration(&s.Interval, DefaultInterval)
	// A check more frequent than the default timeout may take its interval.
	orDuration(&s.Timeout, DefaultTimeout)
	orNumber(&s.Rise, DefaultRise)
	orNumber(&s.Fall, DefaultFall)
	switch p := s.Probe.(type) {
	case *pb.HealthCheckSpec_Http:
		if p.Http == nil {
			p.Http = &pb.HttpProbe{}
		}
		orNumber(&p.Http.Port, DefaultHTTPPort)
		if p.Http.Path == "" {
			p.Http.Path = DefaultHTTPPath
		}
		p.Http.Host = strings.ToLower(p.Http.Host)
		slices.Sort(p.Http.ExpectedStatuses)
		p.Http.ExpectedStatuses = slices.Compact(p.Http.ExpectedStatuses)
	case *pb.HealthCheckSpec_Tcp:
		if p.Tcp == nil {
			p.Tcp = &pb.TcpProbe{}
		}
	}
}

func defaultPolicy(s *pb.SteeringPolicySpec) {
	orNumber(&s.MaxAnswers, DefaultMaxAnswers)
	canonicalNames(s.Regions)
	canonicalNames(s.DefaultOrder)
	for region, bias := range s.Bias {
		if name := canonicalName(region); name != region {
			if _, both := s.Bias[name]; !both {
				delete(s.Bias, region)
				s.Bias[name] = bias
			}
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
		s.Mailbox = defaultMailboxLocal + defaultMailboxEndsWith + origin
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
		if a, err := netip.ParseAddr(s); err == nil {
			targets[i] = a.String()
		} else {
			targets[i] = canonicalName(s)
		}
	}
}
