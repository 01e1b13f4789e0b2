package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "fairlead"

func person(role identity.Role, zones, services, regions string) identity.Identity {
	return identity.Identity{TrustDomain: domain, Role: role, Name: "alice", Scope: identity.Scope{
		Zones: strings.Fields(zones), Services: strings.Fields(services), Regions: strings.Fields(regions),
	}}
}

func program(role identity.Role, name, region string) identity.Identity {
	return identity.Identity{TrustDomain: domain, Role: role, Name: name, Region: region}
}

// wantDenied checks that an error is a denial that says all words, or that
// there is none.
func wantDenied(t *testing.T, what string, err error, denied bool, words ...string) {
	t.Helper()
	switch {
	case !denied && err != nil:
		t.Errorf("%s: %v", what, err)
	case denied && status.Code(err) != codes.PermissionDenied:
		t.Errorf("%s: %v, want a denial", what, err)
	case denied:
		for _, w := range words {
			if !strings.Contains(status.Convert(err).Message(), w) {
				t.Errorf("%s: %q, want %q in it", what, status.Convert(err).Message(), w)
			}
		}
	}
}

// What each role may reach: a person's what those below may, a program's its
// own service and nothing else. (The test of the controller holds the table
// against every method that is registered.)
func TestCheck(t *testing.T) {
	const (
		report = "/fairlead.v1.AgentService/Report"
		feed   = "/fairlead.v1.FeedService/Subscribe"
		read   = "/fairlead.v1.CatalogService/ListResources"
		drain  = "/fairlead.v1.RegionService/DrainRegion"
		apply  = "/fairlead.v1.CatalogService/Apply"
		newer  = "/fairlead.v2.CatalogService/Apply"
	)
	allowed := map[identity.Role]string{
		identity.None: "", identity.Controller: "", identity.Etcd: "", identity.Admin + 1: "",
		identity.Agent: report, identity.Nameserver: feed,
		identity.Viewer:   read,
		identity.Operator: read + " " + drain,
		identity.Admin:    read + " " + drain + " " + apply,
	}
	for role, methods := range allowed {
		id := identity.Identity{TrustDomain: domain, Role: role, Name: "x"}
		for _, m := range []string{report, feed, read, drain, apply, newer, "", "Apply"} {
			wantDenied(t, fmt.Sprintf("%s calls %s", role, m), Check(m, id), m == "" || !strings.Contains(" "+methods+" ", " "+m+" "))
		}
	}
	anyone, err := Anyone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{report, feed, read, drain, apply} {
		wantDenied(t, "anyone calls "+m, Check(m, anyone), false)
	}
	wantDenied(t, "anyone calls what is not in the matrix", Check(newer, anyone), true, newer, "open to nobody")
	wantDenied(t, "no identity", Check(report, identity.Identity{}), true)
	// What a denial says.
	wantDenied(t, "viewer", Check(drain, person(identity.Viewer, "", "", "")), true, "viewer alice is a viewer; ", "needs operator or above")
	wantDenied(t, "agent", Check(feed, program(identity.Agent, "probe-1", "eu-west")), true, "agent probe-1 of region eu-west is an agent", "is for the role nameserver")
	for method, role := range least {
		if got, known := Needs(method); !known || got != role {
			t.Errorf("%s needs %s, %v", method, got, known)
		}
	}
	if _, known := Needs(newer); known {
		t.Errorf("%s is known", newer)
	}
}

// The zones, services and regions of a scope, and what it lets be drained: a
// region with everything in it, and one service there.
func TestDrain(t *testing.T) {
	const zone, www = "example.test", "www.example.test"
	for _, c := range []struct {
		zones, services, regions string
		region, service          bool // may drain eu-west, and www there
	}{
		{"", "", "", true, true},
		{"", "", "eu-west", true, true},
		{"", "", "eu-west us-east", true, true},
		{"", "", "us-east", false, false},
		{zone, "", "", false, true},
		{"other.test", "", "", false, false},
		{"", www, "", false, true},
		{"", "api.example.test", "", false, false},
		{"", "*.example.test", "", false, false},
		{"other.test", www, "", false, true},
		{zone, "", "eu-west", false, true},
		{zone, "", "us-east", false, false},
		{"", www, "eu-west", false, true},
		{"other.test", "", "eu-west", false, false},
	} {
		id := person(identity.Operator, c.zones, c.services, c.regions)
		ctx := With(t.Context(), id)
		wantDenied(t, id.String()+" drains eu-west", Drain(ctx, "eu-west", "", ""), !c.region, "region eu-west is outside the scope", id.Scope.String())
		wantDenied(t, id.String()+" drains www", Drain(ctx, "eu-west", zone, www), !c.service, "service www.example.test in region eu-west", id.Scope.String())
		// A service that is gone lies in no zone any more.
		wantDenied(t, id.String()+" undrains what is gone", Drain(ctx, "eu-west", "", www),
			!c.service || c.zones != "" && c.services == "")
	}
}

func zoneOf(name string) *pb.Resource {
	return &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{Metadata: &pb.Metadata{Name: name}}}}
}

func serviceOf(name, zone string) *pb.Resource {
	return &pb.Resource{Kind: &pb.Resource_Service{Service: &pb.Service{Metadata: &pb.Metadata{Name: name}, Spec: &pb.ServiceSpec{Zone: zone}}}}
}

// Which changes of configuration a scope lets through: both what was and what
// shall be must lie in it, and what belongs to no zone or service needs a
// scope without limits.
func TestChanges(t *testing.T) {
	policy := &pb.Resource{Kind: &pb.Resource_SteeringPolicy{SteeringPolicy: &pb.SteeringPolicy{Metadata: &pb.Metadata{Name: "nearest"}}}}
	region := &pb.Resource{Kind: &pb.Resource_Region{Region: &pb.Region{Metadata: &pb.Metadata{Name: "eu-west"}}}}
	agent := &pb.Resource{Kind: &pb.Resource_Agent{Agent: &pb.Agent{Metadata: &pb.Metadata{Name: "a"}}}}
	nameserver := &pb.Resource{Kind: &pb.Resource_Nameserver{Nameserver: &pb.Nameserver{Metadata: &pb.Metadata{Name: "n"}}}}
	check := &pb.Resource{Kind: &pb.Resource_HealthCheck{HealthCheck: &pb.HealthCheck{Metadata: &pb.Metadata{Name: "web"}}}}
	newer := &pb.Resource{} // of a kind of a newer version
	const a, b, www, api = "a.test", "b.test", "www.a.test", "api.a.test"
	change := func(before, after *pb.Resource) *pb.Change { return &pb.Change{Before: before, After: after} }
	changes := []struct {
		name    string
		changes []*pb.Change
		allowed string // to which of the scopes below
	}{
		{"nothing", nil, "all zone-a zone-b zones service region zone-region"},
		{"create a zone", []*pb.Change{change(nil, zoneOf(a))}, "all zone-a zones"},
		{"update a zone", []*pb.Change{change(zoneOf(a), zoneOf(a))}, "all zone-a zones"},
		{"delete a zone", []*pb.Change{change(zoneOf(a), nil)}, "all zone-a zones"},
		{"create a service", []*pb.Change{change(nil, serviceOf(www, a))}, "all zone-a zones service"},
		{"update a service", []*pb.Change{change(serviceOf(www, a), serviceOf(www, a))}, "all zone-a zones service"},
		{"delete a service", []*pb.Change{change(serviceOf(www, a), nil)}, "all zone-a zones service"},
		{"another service", []*pb.Change{change(nil, serviceOf(api, a))}, "all zone-a zones"},
		{"move a service in", []*pb.Change{change(serviceOf(www, b), serviceOf(www, a))}, "all zones service"},
		{"move a service out", []*pb.Change{change(serviceOf(www, a), serviceOf(www, b))}, "all zones service"},
		{"one in, one out", []*pb.Change{change(nil, serviceOf(www, a)), change(nil, serviceOf("www.b.test", b))}, "all zones"},
		{"one of each", []*pb.Change{change(nil, zoneOf(a)), change(policy, policy)}, "all"},
		{"a policy", []*pb.Change{change(policy, policy)}, "all"},
		{"a region", []*pb.Change{change(region, nil)}, "all"},
		{"an agent", []*pb.Change{change(nil, agent)}, "all"},
		{"a nameserver", []*pb.Change{change(nil, nameserver)}, "all"},
		{"a health check", []*pb.Change{change(check, check)}, "all"},
		{"a newer kind", []*pb.Change{change(newer, newer)}, "all"},
	}
	scopes := map[string]identity.Identity{
		"all":    person(identity.Admin, "", "", ""),
		"zone-a": person(identity.Admin, a, "", ""), "zone-b": person(identity.Admin, b, "", ""),
		"zones": person(identity.Admin, a+" "+b, "", ""), "service": person(identity.Admin, "", www, ""),
		"region": person(identity.Admin, "", "", "eu-west"), "zone-region": person(identity.Admin, a, "", "eu-west"),
	}
	for _, c := range changes {
		for name, id := range scopes {
			allowed := strings.Contains(" "+c.allowed+" ", " "+name+" ")
			wantDenied(t, c.name+", scope "+name, Changes(With(t.Context(), id), c.changes), !allowed, "outside the scope of admin alice")
		}
	}
	err := Changes(With(t.Context(), scopes["zone-b"]), []*pb.Change{change(nil, serviceOf(www, a))})
	wantDenied(t, "what a denial says", err, true, "services/www.a.test", "zone b.test")
}

// A program has an empty scope, which is no permission; neither is nobody's.
func TestProgramsChangeNothing(t *testing.T) {
	anyone, _ := Anyone(t.Context())
	changes := []*pb.Change{{After: zoneOf("a.test")}}
	for _, id := range []identity.Identity{
		{}, program(identity.Agent, "a", "eu-west"), program(identity.Nameserver, "n", "eu-west"),
		program(identity.Controller, "c", ""), program(identity.Etcd, "e", ""),
	} {
		ctx := With(t.Context(), id)
		wantDenied(t, id.String(), Drain(ctx, "eu-west", "", ""), true)
		wantDenied(t, id.String(), Changes(ctx, changes), true)
	}
	wantDenied(t, "no interceptor", Changes(t.Context(), changes), true, "not known who calls")
	wantDenied(t, "anyone", Changes(With(t.Context(), anyone), changes), false)
	wantDenied(t, "anyone", Drain(With(t.Context(), anyone), "eu-west", "", ""), false)
}

// A program speaks for the name and the region of its certificate, and for no
// other.
func TestClaims(t *testing.T) {
	anyone, _ := Anyone(t.Context())
	for _, c := range []struct {
		id                identity.Identity
		name, region      string
		agent, nameserver bool
	}{
		{program(identity.Agent, "p", "eu-west"), "p", "eu-west", true, false},
		{program(identity.Agent, "p", "eu-west"), "p", "us-east", false, false},
		{program(identity.Agent, "p", "eu-west"), "q", "eu-west", false, false},
		{program(identity.Agent, "p", "eu-west"), "", "", false, false},
		{program(identity.Nameserver, "n", "eu-west"), "n", "eu-west", false, true},
		{program(identity.Nameserver, "n", "eu-west"), "n", "us-east", false, false},
		{program(identity.Nameserver, "n", "eu-west"), "m", "eu-west", false, false},
		{program(identity.Controller, "p", ""), "p", "", false, false},
		{person(identity.Admin, "", "", ""), "alice", "", false, false},
		{anyone, "p", "eu-west", true, true},
		{identity.Identity{}, "", "", false, false},
		{identity.Identity{Role: identity.Agent}, "p", "eu-west", false, false},
	} {
		ctx := With(t.Context(), c.id)
		what := fmt.Sprintf("%s speaks for %q of %q", c.id, c.name, c.region)
		wantDenied(t, what+" as agent", Agent(ctx, c.name, c.region), !c.agent, "cannot speak for agent")
		wantDenied(t, what+" as nameserver", Nameserver(ctx, c.name, c.region), !c.nameserver, "cannot speak for nameserver")
	}
	wantDenied(t, "no interceptor", Agent(t.Context(), "", ""), true)
}

// A method that is served and in no row of the matrix is denied, to admins and
// without TLS too; and so is everybody whom the connection does not prove.
func TestWhatIsNotInTheMatrixIsDenied(t *testing.T) {
	var caller identity.Identity
	var unknown error
	identify := func(context.Context) (identity.Identity, error) { return caller, unknown }
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(Unary(identify)), grpc.ChainStreamInterceptor(Stream(identify)))
	reached := 0
	desc := func(service string) *grpc.ServiceDesc {
		return &grpc.ServiceDesc{
			ServiceName: service, HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{MethodName: "Explain", Handler: func(srv any, ctx context.Context, dec func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
				in := &emptypb.Empty{}
				if err := dec(in); err != nil {
					return nil, err
				}
				return interceptor(ctx, in, &grpc.UnaryServerInfo{FullMethod: "/" + service + "/Explain"}, func(ctx context.Context, _ any) (any, error) {
					reached++
					if !Caller(ctx).Equal(caller) {
						t.Errorf("the caller is %v, want %v", Caller(ctx), caller)
					}
					return &emptypb.Empty{}, nil
				})
			}}},
			Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
				reached++
				if !Caller(s.Context()).Equal(caller) {
					t.Errorf("the caller of the stream is %v, want %v", Caller(s.Context()), caller)
				}
				return s.SendMsg(&emptypb.Empty{})
			}}},
		}
	}
	server.RegisterService(desc("fairlead.v9.NewService"), nil)
	server.RegisterService(desc("fairlead.v1.InsightService"), nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	conn, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	call := func(service string) (unary, stream error) {
		unary = conn.Invoke(t.Context(), "/"+service+"/Explain", &emptypb.Empty{}, &emptypb.Empty{})
		s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/"+service+"/Watch")
		if err == nil {
			err = s.SendMsg(&emptypb.Empty{})
			if err == nil || errors.Is(err, io.EOF) {
				err = s.RecvMsg(&emptypb.Empty{})
			}
		}
		return unary, err
	}
	anyone, _ := Anyone(t.Context())
	for _, caller = range []identity.Identity{person(identity.Admin, "", "", ""), anyone} {
		unary, stream := call("fairlead.v9.NewService")
		for _, err := range []error{unary, stream} {
			wantDenied(t, "the new service", err, true, "/fairlead.v9.NewService/", "open to nobody")
		}
	}
	unknown = errors.New("no certificate")
	unary, stream := call("fairlead.v1.InsightService")
	for _, err := range []error{unary, stream} {
		if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "no certificate") {
			t.Errorf("nobody: %v", err)
		}
	}
	if reached != 0 {
		t.Errorf("%d denied calls reached their handlers", reached)
	}
	unknown, caller = nil, person(identity.Viewer, "a.test", "", "")
	if unary, stream = call("fairlead.v1.InsightService"); unary != nil || stream != nil || reached != 2 {
		t.Errorf("a viewer: %v, %v, %d", unary, stream, reached)
	}
}
