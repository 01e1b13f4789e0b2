package api

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func serviceResource(s *pb.Service) *pb.Resource {
	return &pb.Resource{Kind: &pb.Resource_Service{Service: s}}
}

func zoneResource(z *pb.Zone) *pb.Resource { return &pb.Resource{Kind: &pb.Resource_Zone{Zone: z}} }

func checkResource(h *pb.HealthCheck) *pb.Resource {
	return &pb.Resource{Kind: &pb.Resource_HealthCheck{HealthCheck: h}}
}

func TestReadMask(t *testing.T) {
	service, zone, check := serviceResource(&pb.Service{}), zoneResource(&pb.Zone{}), checkResource(&pb.HealthCheck{})
	for _, c := range []struct {
		r     *pb.Resource
		paths string
		want  string // the mask, or what an error says
	}{
		{service, "spec.ttl", "spec.ttl"},
		{service, "spec.allDown spec.health_check", "spec.healthCheck spec.allDown"},
		{service, "spec.all_down spec.allDown", "spec.allDown"},
		{service, "spec.endpoints metadata.labels", "metadata.labels spec.endpoints"},
		{service, "spec spec.ttl spec.endpoints metadata.labels", "metadata.labels spec"},
		{service, "spec.ttl spec spec.policy", "spec"},
		{service, "*", "metadata.labels spec"},
		{zone, "*", "metadata.labels spec"},
		{zone, "spec.negative_ttl", "spec.negativeTtl"},
		{check, "spec.http.port spec.http.expectedStatuses spec.tcp", "spec.http.port spec.http.expectedStatuses spec.tcp"},
		{check, "spec.http.port spec.http", "spec.http"},

		{service, "", "update_mask: required"},
		{service, "* spec.ttl", `"*": it stands for all fields and goes alone`},
		{service, "spec.tll", `spec has no field "tll" (did you mean "ttl"?)`},
		{service, "service.spec.ttl", `the resource has no field "service": want one of metadata, spec`},
		{service, "status", `the resource has no field "status"`},
		{service, "spec.", `spec has no field ""`},
		{service, ".", `the resource has no field ""`},
		{service, "spec..ttl", `spec has no field ""`},
		{service, "Spec.ttl", `(did you mean "spec"?)`},
		{service, "spec.ttl.seconds", "spec.ttl is one value"},
		{service, "spec.policy.mode", "spec.policy is one value"},
		{service, "spec.endpoints.weight", "spec.endpoints changes as a whole"},
		{service, "spec.endpoints[0].weight", `spec has no field "endpoints[0]"`},
		{service, "metadata.labels.team", "metadata.labels changes as a whole"},
		{service, "metadata", "want metadata.labels"},
		{service, "metadata.name", "the name cannot be changed"},
		{service, "metadata.etag", "the etag is the controllers'"},
		{service, "metadata.lables", `(did you mean "labels"?)`},
		{zone, "status", "the status is the controllers'"},
		{zone, "status.serial", "the status is the controllers'"},
		{zone, "spec.policy", `spec has no field "policy"`},
		{check, "spec.http.prot", `spec.http has no field "prot" (did you mean "port"?)`},
		{service, strings.Repeat("x", 300), "a path of over 255 bytes"},
		{service, strings.Repeat("spec.ttl ", 101), "101 paths, at most 100"},
	} {
		m, err := readMask(c.r, strings.Fields(c.paths))
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q in it", c.paths, err, c.want)
			}
			continue
		}
		if got := strings.Join(m.proto().GetPaths(), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.paths, got, c.want)
		}
	}
}

// Of a probe's alternatives, a mask below one that neither side has leaves the
// other alone.
func TestMaskOneof(t *testing.T) {
	http := func(port uint32, path string) *pb.HealthCheckSpec {
		return &pb.HealthCheckSpec{Probe: &pb.HealthCheckSpec_Http{Http: &pb.HttpProbe{Port: port, Path: path}}}
	}
	tcp := func(port uint32) *pb.HealthCheckSpec {
		return &pb.HealthCheckSpec{Probe: &pb.HealthCheckSpec_Tcp{Tcp: &pb.TcpProbe{Port: port}}}
	}
	for _, c := range []struct {
		name                string
		stored, given, want *pb.HealthCheckSpec
		paths               string
	}{
		{"a field below", http(80, "/a"), http(81, "/b"), http(81, "/a"), "spec.http.port"},
		{"a field below, cleared", http(80, "/a"), nil, http(0, "/a"), "spec.http.port"},
		{"another alternative", http(80, "/a"), tcp(81), tcp(81), "spec.tcp"},
		{"another alternative by a field of it", http(80, "/a"), tcp(81), tcp(81), "spec.tcp.port"},
		{"an alternative that is not set", http(80, "/a"), nil, http(80, "/a"), "spec.tcp"},
		{"a field of one that is not set", http(80, "/a"), nil, http(80, "/a"), "spec.tcp.port"},
		{"one for the other", http(80, "/a"), tcp(81), tcp(81), "spec.tcp spec.http"},
		{"cleared", http(80, "/a"), nil, &pb.HealthCheckSpec{}, "spec.http"},
	} {
		given := checkResource(&pb.HealthCheck{Metadata: &pb.Metadata{Name: "web"}, Spec: c.given})
		m, err := readMask(given, strings.Fields(c.paths))
		if err != nil {
			t.Fatal(err)
		}
		got := m.apply(checkResource(&pb.HealthCheck{Metadata: &pb.Metadata{Name: "web"}, Spec: c.stored}), given)
		if want := checkResource(&pb.HealthCheck{Metadata: &pb.Metadata{Name: "web"}, Spec: c.want}); !proto.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}

// leaves are the paths to every field of a resource that may be updated.
func leaves(md protoreflect.MessageDescriptor, prefix string) (paths []string) {
	for _, name := range fieldNames(md) {
		fd := md.Fields().ByJSONName(name)
		if path := prefix + name; fd.Message() == nil || fd.IsList() || fd.IsMap() || wellKnown(fd.Message()) {
			paths = append(paths, path)
		} else {
			paths = append(append(paths, leaves(fd.Message(), path+".")...), path)
		}
	}
	return paths
}

// at is the value of a field in canonical bytes; empty when it is not set.
func at(t *rapid.T, r *pb.Resource, p fieldPath) string {
	m := body(r)
	for _, fd := range p[:len(p)-1] {
		m = m.Get(fd).Message()
	}
	last := p[len(p)-1]
	if !m.Has(last) {
		return ""
	}
	only := m.New()
	only.Set(last, m.Get(last))
	b, err := config.Canonical(only.Interface())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// For any two services and any mask: what the mask names is as given, what it
// does not name is as stored, neither side is touched, and doing it again
// changes nothing.
func TestMaskApplies(t *testing.T) {
	text := rapid.StringMatching(`[a-c]{0,2}`)
	labels := rapid.MapOfN(text, text, 0, 2)
	service := rapid.Custom(func(t *rapid.T) *pb.Resource {
		s := &pb.Service{Metadata: &pb.Metadata{Name: "www.a.test", Labels: labels.Draw(t, "labels"), Etag: text.Draw(t, "etag")}}
		if rapid.Bool().Draw(t, "spec") {
			s.Spec = &pb.ServiceSpec{
				Zone: text.Draw(t, "zone"), Policy: text.Draw(t, "policy"), HealthCheck: text.Draw(t, "check"),
				AllDown:  pb.AllDown(rapid.IntRange(0, 3).Draw(t, "all down")),
				Fallback: rapid.SliceOfN(text, 0, 2).Draw(t, "fallback"),
			}
			if rapid.Bool().Draw(t, "ttl") {
				s.Spec.Ttl = durationpb.New(30e9)
			}
			for range rapid.IntRange(0, 2).Draw(t, "endpoints") {
				s.Spec.Endpoints = append(s.Spec.Endpoints, &pb.Endpoint{Name: text.Draw(t, "endpoint"), Weight: proto.Uint32(rapid.Uint32Range(0, 2).Draw(t, "weight"))})
			}
		}
		return serviceResource(s)
	})
	var paths []string
	for _, p := range leaves((*pb.Service)(nil).ProtoReflect().Descriptor(), "") {
		if p != "metadata" {
			paths = append(paths, p)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		stored, given := service.Draw(t, "stored"), service.Draw(t, "given")
		stored0, given0 := proto.CloneOf(stored), proto.CloneOf(given)
		m, err := readMask(given, rapid.SliceOfN(rapid.SampledFrom(paths), 1, 5).Draw(t, "mask"))
		if err != nil {
			t.Fatal(err)
		}
		out := m.apply(stored, given)
		for _, path := range paths {
			p, problem := readPath(body(given).Descriptor(), path)
			if problem != "" {
				t.Fatal(problem)
			}
			named, holds := false, false
			for _, q := range m {
				named = named || q.covers(p)
				holds = holds || p.covers(q)
			}
			from := stored
			if named {
				from = given
			}
			if got, want := at(t, out, p), at(t, from, p); got != want && (named || !holds) {
				t.Fatalf("%s is %q, want %q", path, got, want)
			}
		}
		if config.Name(out) != config.Name(stored) || config.Metadata(out).GetEtag() != config.Metadata(stored).GetEtag() {
			t.Fatalf("the metadata are %v", config.Metadata(out))
		}
		if again := m.apply(out, given); !proto.Equal(again, out) {
			t.Fatalf("again: %v, want %v", again, out)
		}
		body(out).Clear(body(out).Descriptor().Fields().ByName("spec"))
		if !proto.Equal(stored, stored0) || !proto.Equal(given, given0) {
			t.Fatal("an argument has changed")
		}
	})
}
