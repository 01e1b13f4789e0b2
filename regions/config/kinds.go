package config

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The kinds, as written in files.
const (
	KindRegion         = "Region"
	KindAgent          = "Agent"
	KindNameserver     = "Nameserver"
	KindHealthCheck    = "HealthCheck"
	KindSteeringPolicy = "SteeringPolicy"
	KindSafetyPolicy   = "SafetyPolicy"
	KindZone           = "Zone"
	KindService        = "Service"
)

type kindInfo struct {
	name, plural string
	aliases      []string // what people type, besides name and plural
}

// kinds is in dependency order: a kind refers only to earlier ones.
var kinds = []kindInfo{
	{KindRegion, "regions", []string{"reg"}},
	{KindAgent, "agents", []string{"probe", "probes"}},
	{KindNameserver, "nameservers", []string{"ns"}},
	{KindHealthCheck, "healthchecks", []string{"check", "checks", "hc"}},
	{KindSteeringPolicy, "steeringpolicies", []string{"policy", "policies", "sp"}},
	{KindSafetyPolicy, "safetypolicies", []string{"safety"}},
	{KindZone, "zones", nil},
	{KindService, "services", []string{"svc", "svcs"}},
}

// Kinds lists the kinds in dependency order: one refers only to earlier ones.
func Kinds() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// kindIndex is the place of a kind in dependency order, or -1.
func kindIndex(kind string) int {
	return slices.IndexFunc(kinds, func(k kindInfo) bool { return k.name == kind })
}

// Plural is how a kind is spelt in errors, paths and audit events: services
// for Service. A kind of another version is spelt as it is.
func Plural(kind string) string {
	if i := kindIndex(kind); i >= 0 {
		return kinds[i].plural
	}
	return strings.ToLower(kind)
}

// ParseKind reads a kind as a person types it: Service, services, svc,
// health-check.
func ParseKind(typed string) (string, error) {
	fold := foldWord(typed)
	var words []string
	for _, k := range kinds {
		if fold == foldWord(k.name) || fold == k.plural || slices.Contains(k.aliases, fold) {
			return k.name, nil
		}
		words = append(words, k.plural)
	}
	return "", fmt.Errorf("no kind %q%s", typed, wantOneOf(typed, words))
}

// foldWord makes spellings of one word equal: healthCheck, health-check.
func foldWord(s string) string {
	return strings.ToLower(separators.Replace(s))
}

var separators = strings.NewReplacer("-", "", "_", "")

// Key identifies a resource.
type Key struct{ Kind, Name string }

// String prints services/www.example.test.
func (k Key) String() string { return Plural(k.Kind) + "/" + k.Name }

// ParseKey reads what String prints.
func ParseKey(s string) (Key, error) {
	plural, name, ok := strings.Cut(s, "/")
	if !ok {
		return Key{}, fmt.Errorf("%q is no resource: want KIND/NAME, as services/www.example.test", s)
	}
	kind, err := ParseKind(plural)
	if err != nil {
		return Key{}, err
	}
	return Key{kind, canonicalName(name)}, nil
}

// KeyOf returns the key of r.
func KeyOf(r *pb.Resource) Key { return Key{Kind(r), Name(r)} }

// Kind returns the kind of r as in files; "" for a kind that this version
// does not know.
func Kind(r *pb.Resource) string {
	if i := resourceKind(r); i >= 0 {
		return kinds[i].name
	}
	return ""
}

// resourceKind is the index in kinds of the kind of r, or -1.
func resourceKind(r *pb.Resource) int {
	switch r.GetKind().(type) {
	case *pb.Resource_Region:
		return 0
	case *pb.Resource_Agent:
		return 1
	case *pb.Resource_Nameserver:
		return 2
	case *pb.Resource_HealthCheck:
		return 3
	case *pb.Resource_SteeringPolicy:
		return 4
	case *pb.Resource_SafetyPolicy:
		return 5
	case *pb.Resource_Zone:
		return 6
	case *pb.Resource_Service:
		return 7
	default:
		return -1
	}
}

// Metadata returns the metadata of r; nil when it has none.
func Metadata(r *pb.Resource) *pb.Metadata {
	switch k := r.GetKind().(type) {
	case *pb.Resource_Region:
		return k.Region.GetMetadata()
	case *pb.Resource_Agent:
		return k.Agent.GetMetadata()
	case *pb.Resource_Nameserver:
		return k.Nameserver.GetMetadata()
	case *pb.Resource_HealthCheck:
		return k.HealthCheck.GetMetadata()
	case *pb.Resource_SteeringPolicy:
		return k.SteeringPolicy.GetMetadata()
	case *pb.Resource_SafetyPolicy:
		return k.SafetyPolicy.GetMetadata()
	case *pb.Resource_Zone:
		return k.Zone.GetMetadata()
	case *pb.Resource_Service:
		return k.Service.GetMetadata()
	default:
		return nil
	}
}

// Name returns the name of r.
func Name(r *pb.Resource) string { return Metadata(r).GetName() }

// resourceField is the field of Resource that holds a kind.
func resourceField(kind string) protoreflect.FieldDescriptor {
	fields := (*pb.Resource)(nil).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); string(fd.Message().Name()) == kind {
			return fd
		}
	}
	return nil
}
