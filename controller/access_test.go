package controller_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"maps"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/fairlead-dns/fairlead/controller"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// authority is a CA.
type authority struct {
	t    testing.TB
	key  ed25519.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := a.template("ca")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.cert = template
	leaf := a.sign(template)
	a.key, a.cert = leaf.PrivateKey.(ed25519.PrivateKey), leaf.Leaf
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

// sign signs a certificate; the first one signs itself.
func (a *authority) sign(template *x509.Certificate) tls.Certificate {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// issue makes a certificate with an identity; an empty one is none.
func (a *authority) issue(uri string) tls.Certificate {
	template := a.template(uri)
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = []*url.URL{u}
	}
	return a.sign(template)
}

// callerOf reads the certificate of the caller, as the programs do.
func callerOf(ctx context.Context) (identity.Identity, error) {
	p, _ := peer.FromContext(ctx)
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return identity.Identity{}, errors.New("no certificate")
	}
	return identity.FromCertificate(info.State.PeerCertificates[0])
}

// secured is a controller with mutual TLS.
type secured struct {
	*running
	ca     *authority
	target string
}

func runSecured(t testing.TB, e *embedded.Cluster) *secured {
	s := &secured{ca: newAuthority(t)}
	s.running = run(t, "c1", e, func(o *controller.Options) {
		s.target = o.Listener.Addr().String()
		o.Identify = callerOf
		o.Credentials = credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: s.ca.pool,
			Certificates: []tls.Certificate{s.ca.issue("spiffe://fairlead/controller/c1")},
		})
	})
	return s
}

// dial connects with a certificate.
func (s *secured) dial(certificates ...tls.Certificate) *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.target, grpc.WithTransportCredentials(credentials.NewTLS(
		&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: s.ca.pool, Certificates: certificates})))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// as is the controller as a caller sees it: role/name and scope, as in the URI.
func (s *secured) as(who string) *running {
	s.t.Helper()
	r := *s.running
	r.conn = s.dial(s.ca.issue("spiffe://fairlead/" + who))
	r.CatalogServiceClient = pb.NewCatalogServiceClient(r.conn)
	r.RegionServiceClient = pb.NewRegionServiceClient(r.conn)
	r.ZoneServiceClient = pb.NewZoneServiceClient(r.conn)
	r.OverrideServiceClient = pb.NewOverrideServiceClient(r.conn)
	r.InsightServiceClient = pb.NewInsightServiceClient(r.conn)
	return &r
}

// Who may call what, all of it: a method that the controller serves and that
// has no row here is a mistake.
var matrix = map[string]string{
	"/fairlead.v1.AgentService/Report":      "agent",
	"/fairlead.v1.FeedService/Subscribe":    "nameserver",
	"/fairlead.v1.FeedService/FetchObjects": "nameserver",

	"/fairlead.v1.CatalogService/ListResources":      "viewer operator admin",
	"/fairlead.v1.CatalogService/GetResource":        "viewer operator admin",
	"/fairlead.v1.CatalogService/ListGenerations":    "viewer operator admin",
	"/fairlead.v1.CatalogService/DiffGenerations":    "viewer operator admin",
	"/fairlead.v1.CatalogService/Apply":              "admin",
	"/fairlead.v1.CatalogService/UpdateResource":     "admin",
	"/fairlead.v1.CatalogService/DeleteResource":     "admin",
	"/fairlead.v1.CatalogService/RollbackGeneration": "admin",

	"/fairlead.v1.RegionService/GetRegion":     "viewer operator admin",
	"/fairlead.v1.RegionService/ListRegions":   "viewer operator admin",
	"/fairlead.v1.RegionService/DrainRegion":   "operator admin",
	"/fairlead.v1.RegionService/UndrainRegion": "operator admin",

	"/fairlead.v1.ZoneService/GetZone":                                "viewer operator admin",
	"/fairlead.v1.ZoneService/ListZones":                              "viewer operator admin",
	"/fairlead.v1.OverrideService/CreateOverride":                     "operator admin",
	"/fairlead.v1.OverrideService/DeleteOverride":                     "operator admin",
	"/fairlead.v1.OverrideService/EndBreakGlass":                      "operator admin",
	"/fairlead.v1.OverrideService/GetOverrideProgress":                "viewer operator admin",
	"/fairlead.v1.OverrideService/ListOverrides":                      "viewer operator admin",
	"/fairlead.v1.InsightService/StreamEvents":                        "viewer operator admin",
	"/fairlead.v1.InsightService/Explain":                             "viewer operator admin",
	"/fairlead.v1.InsightService/GetStatus":                           "viewer operator admin",
	"/fairlead.v1.InsightService/Watch":                               "viewer operator admin",
	"/fairlead.v1.InsightService/ListEvents":                          "viewer operator admin",
	"/fairlead.v1.InsightService/GetHistory":                          "viewer operator admin",
	"/fairlead.v1.OverrideService/ReleaseLatch":                       "operator admin",
	"/grpc.health.v1.Health/Check":                                    "viewer operator admin",
	"/grpc.health.v1.Health/List":                                     "viewer operator admin",
	"/grpc.health.v1.Health/Watch":                                    "viewer operator admin",
	reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName: "viewer operator admin",
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo":  "viewer operator admin",
}

// served are the methods that a controller serves, as it says itself.
func served(t *testing.T, conn *grpc.ClientConn) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	methods := map[string]protoreflect.MethodDescriptor{}
	for _, s := range resp.GetListServicesResponse().GetService() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.GetName()))
		if err != nil {
			t.Fatalf("service %s: %v", s.GetName(), err)
		}
		list := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range list.Len() {
			methods["/"+s.GetName()+"/"+string(list.Get(i).Name())] = list.Get(i)
		}
	}
	return methods
}

// call calls any method with an empty request, and returns what came of it.
func call(ctx context.Context, conn *grpc.ClientConn, name string, m protoreflect.MethodDescriptor) error {
	in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return conn.Invoke(ctx, name, in, out)
	}
	if f := m.Input().Fields().ByName("initial"); f != nil {
		in.Set(f, protoreflect.ValueOfBool(true)) // or nothing comes for a while
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}, name)
	if err != nil {
		return err
	}
	if err := s.SendMsg(in); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	if err := s.RecvMsg(out); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// Every method that is served, called by every role over real TLS.
func TestWhoMayCallWhat(t *testing.T) {
	s := runSecured(t, etcd(t))
	s.as("admin/root").apply(base)
	methods := served(t, s.as("viewer/v").conn)
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		if matrix[name] == "" {
			t.Errorf("%s is served, and the matrix does not say who may call it", name)
		}
	}
	for name := range matrix {
		if methods[name] == nil {
			t.Errorf("%s is in the matrix and not served", name)
		}
	}
	for _, role := range identity.Roles() {
		who := role.String() + "/x"
		if role.Regional() {
			who = role.String() + "/eu-west/x"
		}
		conn := s.as(who).conn
		for name, m := range methods {
			allowed := slices.Contains(strings.Fields(matrix[name]), role.String())
			err := call(t.Context(), conn, name, m)
			switch denied := status.Code(err) == codes.PermissionDenied; {
			case allowed && (denied || status.Code(err) == codes.Unauthenticated):
				t.Errorf("%s calls %s: %v", role, name, err)
			case !allowed && !denied:
				t.Errorf("%s calls %s: %v, want a denial", role, name, err)
			case denied && !strings.Contains(err.Error(), name):
				t.Errorf("%s calls %s: %v does not say what was denied", role, name, err)
			}
		}
	}
}

// Who shows no certificate, one of another CA, or one without an identity gets
// nothing.
func TestWhoIsNotIdentified(t *testing.T) {
	s := runSecured(t, etcd(t))
	for name, conn := range map[string]*grpc.ClientConn{
		"no certificate": s.dial(),
		"another CA":     s.dial(newAuthority(t).issue("spiffe://fairlead/admin/root")),
		"plain text":     s.conn,
	} {
		_, err := pb.NewInsightServiceClient(conn).GetStatus(t.Context(), &pb.GetStatusRequest{})
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v, want no connection", name, err)
		}
	}
	for _, uri := range []string{"", "spiffe://fairlead/emperor/x", "https://fairlead/admin/root", "spiffe://fairlead/agent/x"} {
		_, err := pb.NewInsightServiceClient(s.dial(s.ca.issue(uri))).GetStatus(t.Context(), &pb.GetStatusRequest{})
		wantCode(t, err, codes.Unauthenticated)
	}
}

// A program's certificate is for one name in one region.
func TestProgramsSpeakForThemselves(t *testing.T) {
	s := runSecured(t, etcd(t))
	s.as("admin/root").apply(base)

	report := func(who, name, region string) (*pb.ReportResponse, error) {
		st, err := pb.NewAgentServiceClient(s.as(who).conn).Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Send(&pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{Agent: name, Region: region, Incarnation: 1}}}); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err) // EOF: it was refused already, and Recv tells why
		}
		return st.Recv()
	}
	_, err := report("agent/eu-west/probe-eu", "probe-us", "eu-west")
	wantCode(t, err, codes.PermissionDenied, "agent probe-eu of region eu-west", `cannot speak for agent "probe-us" of region "eu-west"`)
	_, err = report("agent/us-east/probe-eu", "probe-eu", "eu-west")
	wantCode(t, err, codes.PermissionDenied, "agent probe-eu of region us-east", `cannot speak for agent "probe-eu" of region "eu-west"`)
	_, err = report("nameserver/eu-west/probe-eu", "probe-eu", "eu-west")
	wantCode(t, err, codes.PermissionDenied, "AgentService/Report is for the role agent")
	// Registered in eu-west: a certificate for the wrong region helps nobody.
	_, err = report("agent/us-east/probe-eu", "probe-eu", "us-east")
	wantCode(t, err, codes.PermissionDenied, `is registered in "eu-west"`)
	if m, err := report("agent/eu-west/probe-eu", "probe-eu", "eu-west"); err != nil || m.GetAssignments() == nil {
		t.Errorf("itself: %v, %v", m, err)
	}

	subscribe := func(who, name, region string) (*pb.SubscribeResponse, error) {
		return s.as(who).subscribe(&pb.NameserverHello{Nameserver: name, Region: region}).stream.Recv()
	}
	_, err = subscribe("nameserver/eu-west/ns-1", "ns-2", "eu-west")
	wantCode(t, err, codes.PermissionDenied, `cannot speak for nameserver "ns-2"`)
	_, err = subscribe("nameserver/eu-west/ns-1", "ns-1", "us-east")
	wantCode(t, err, codes.PermissionDenied, `cannot speak for nameserver "ns-1" of region "us-east"`)
	if _, err := subscribe("nameserver/eu-west/ns-1", "ns-1", "eu-west"); err != nil {
		t.Errorf("itself: %v", err)
	}
	_, err = s.as("nameserver/eu-west/ns-1").Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, base)})
	wantCode(t, err, codes.PermissionDenied, "nameserver ns-1 of region eu-west is a nameserver", "needs admin or above")
}

func TestScopesOfPeople(t *testing.T) {
	s := runSecured(t, etcd(t))
	root := s.as("admin/root")
	root.apply(base + `---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: other.test}
spec: {nameservers: [ns1.example.test]}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: www.other.test}
spec: {zone: other.test, policy: nearest, endpoints: [{name: e, region: eu-west, addresses: [192.0.2.30]}]}
`)
	drain := func(c *running, region, service string) (*pb.DrainRegionResponse, error) {
		return c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: region, Service: service, Reason: "r", Force: true})
	}
	undrain := func(c *running, region, service string) error {
		_, err := c.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: region, Service: service, Reason: "r"})
		return err
	}
	drained := func() (scopes []string) {
		resp, err := root.ListOverrides(t.Context(), &pb.ListOverridesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range resp.GetOverrides() {
			scopes = append(scopes, strings.TrimSpace(o.GetScope().GetRegion()+" "+o.GetScope().GetService()))
		}
		slices.Sort(scopes)
		return scopes
	}

	_, err := drain(s.as("viewer/v"), "eu-west", "")
	wantCode(t, err, codes.PermissionDenied, "viewer v is a viewer", "needs operator or above")

	eu := s.as("operator/eu/region/eu-west")
	_, err = drain(eu, "us-east", "")
	wantCode(t, err, codes.PermissionDenied, "region us-east is outside the scope", "region eu-west")
	_, err = drain(eu, "us-east", "www.example.test")
	wantCode(t, err, codes.PermissionDenied, "service www.example.test in region us-east is outside the scope")
	made, err := drain(eu, "eu-west", "")
	if err != nil || made.GetOverride().GetAuthor() != "operator/eu" {
		t.Errorf("%v, %v", made, err)
	}
	if _, err := drain(root, "us-east", ""); err != nil {
		t.Error(err)
	}
	wantCode(t, undrain(eu, "us-east", ""), codes.PermissionDenied, "region us-east is outside the scope")
	if err := undrain(eu, "eu-west", ""); err != nil {
		t.Error(err)
	}
	_, err = eu.Apply(t.Context(), &pb.ApplyRequest{})
	wantCode(t, err, codes.PermissionDenied, "needs admin or above")

	// Latches are as drains: the guard is everybody's. Whoever may release one
	// that does not stand is told so.
	release := func(c *running, latch string) error {
		_, err := c.ReleaseLatch(t.Context(), &pb.ReleaseLatchRequest{Latch: latch, Reason: "r"})
		return err
	}
	wantCode(t, release(eu, "guard"), codes.PermissionDenied, "the mass-withdrawal guard is outside the scope")
	wantCode(t, release(eu, "failback/www.example.test/us-east"), codes.PermissionDenied, "is outside the scope")
	wantCode(t, release(eu, "failback/www.example.test/eu-west"), codes.NotFound, "stands")
	wantCode(t, release(s.as("operator/z/zone/example.test"), "failback/www.other.test/eu-west"), codes.PermissionDenied, "is outside the scope")
	wantCode(t, release(s.as("operator/z/zone/example.test"), "failback/www.example.test/eu-west"), codes.NotFound, "stands")
	wantCode(t, release(root, "guard"), codes.NotFound, "stands")

	zone := s.as("operator/z/zone/example.test")
	_, err = drain(zone, "eu-west", "")
	wantCode(t, err, codes.PermissionDenied, "region eu-west is outside the scope")
	_, err = drain(zone, "eu-west", "www.other.test")
	wantCode(t, err, codes.PermissionDenied, "service www.other.test in region eu-west is outside the scope")
	if _, err := drain(zone, "eu-west", "www.example.test"); err != nil {
		t.Error(err)
	}
	if got := drained(); !slices.Equal(got, []string{"eu-west www.example.test", "us-east"}) {
		t.Errorf("drained: %q", got)
	}

	// An admin of one zone changes that zone and its services, by whatever
	// call, and nothing else.
	admin := s.as("admin/z/zone/example.test")
	before := root.list("")
	apply := func(text string, dryRun bool) error {
		_, err := admin.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, text), DryRun: dryRun})
		return err
	}
	for _, dryRun := range []bool{true, false} {
		wantCode(t, apply(strings.ReplaceAll(service("x.other.test", "192.0.2.1"), "zone: example.test", "zone: other.test"), dryRun),
			codes.PermissionDenied, "services/x.other.test is outside the scope of admin z", "zone example.test")
		// One of them is enough.
		wantCode(t, apply(service("api.example.test", "192.0.2.1")+"---\n"+strings.ReplaceAll(base, "longitude: -77.45", "longitude: 77"), dryRun),
			codes.PermissionDenied, "regions/us-east is outside the scope")
	}
	_, err = admin.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, www), Prune: true})
	wantCode(t, err, codes.PermissionDenied, "is outside the scope")
	_, err = admin.DeleteResource(t.Context(), &pb.DeleteResourceRequest{Kind: "Service", Name: "www.other.test"})
	wantCode(t, err, codes.PermissionDenied, "services/www.other.test is outside the scope")
	other := &pb.Metadata{Name: "www.other.test", Labels: map[string]string{"mine": "now"}}
	_, err = admin.UpdateResource(t.Context(), update("metadata.labels", func(svc *pb.Service) { svc.Metadata = other }))
	wantCode(t, err, codes.PermissionDenied, "services/www.other.test is outside the scope")
	if after := root.list(""); !slices.EqualFunc(after.GetResources(), before.GetResources(), func(a, b *pb.Resource) bool { return proto.Equal(a, b) }) {
		t.Errorf("changed: %v, was %v", after, before)
	}
	// What is applied and does not change is nobody's concern.
	if err := apply(base+"---\n"+service("api.example.test", "192.0.2.1"), false); err != nil {
		t.Error(err)
	}
	mine := update("metadata.labels", func(svc *pb.Service) { svc.Metadata.Labels = map[string]string{"team": "web"} })
	if resp, err := admin.UpdateResource(t.Context(), mine); err != nil || config.Metadata(resp.GetResource()).GetLabels()["team"] != "web" {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := admin.DeleteResource(t.Context(), &pb.DeleteResourceRequest{Kind: "Service", Name: "api.example.test"}); err != nil {
		t.Error(err)
	}
}

// The scope of an endpoint or an availability zone is that of its region, and of
// its service.
func TestScopesOfOverrides(t *testing.T) {
	s := runSecured(t, etcd(t))
	root := s.as("admin/root")
	root.apply(three)
	create := func(c *running, scope *pb.OverrideScope) (*pb.CreateOverrideResponse, error) {
		return c.CreateOverride(t.Context(), &pb.CreateOverrideRequest{Action: drained, Scope: scope, Reason: "r", DryRun: true})
	}
	endpoint := func(name string) *pb.OverrideScope {
		return &pb.OverrideScope{Service: "www.example.test", Endpoint: name}
	}
	az := &pb.OverrideScope{Region: "eu-west", AvailabilityZone: "eu-west-a"}
	eu, www, other := s.as("operator/eu/region/eu-west"), s.as("operator/w/service/www.example.test"), s.as("operator/p/service/pay.example.test")
	for _, test := range []struct {
		who   *running
		scope *pb.OverrideScope
		want  string // empty: it may
	}{
		{eu, endpoint("eu-1"), ""},
		{eu, az, ""},
		{eu, endpoint("us-1"), "service www.example.test in region us-east is outside the scope"},
		{eu, &pb.OverrideScope{Region: "us-east", Service: "www.example.test"}, "is outside the scope"},
		{www, endpoint("us-1"), ""},
		{www, &pb.OverrideScope{Region: "us-east", Service: "www.example.test"}, ""},
		{www, az, "region eu-west is outside the scope"},
		{other, endpoint("us-1"), "is outside the scope"},
	} {
		_, err := create(test.who, test.scope)
		if test.want == "" && err != nil {
			t.Errorf("%v: %v", test.scope, err)
		}
		if test.want != "" {
			wantCode(t, err, codes.PermissionDenied, test.want)
		}
	}
	// Who may not make it may not end it, by its id either.
	made, err := root.CreateOverride(t.Context(), &pb.CreateOverrideRequest{Action: drained, Scope: endpoint("us-1"), Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for _, del := range []*pb.DeleteOverrideRequest{
		{Id: made.GetOverride().GetId(), Reason: "r"}, {Action: drained, Scope: endpoint("us-1"), Reason: "r"},
	} {
		_, err := eu.DeleteOverride(t.Context(), del)
		wantCode(t, err, codes.PermissionDenied, "in region us-east is outside the scope")
	}
	if gone, err := www.DeleteOverride(t.Context(), &pb.DeleteOverrideRequest{Id: made.GetOverride().GetId(), Reason: "r"}); err != nil || len(gone.GetRemoved()) != 1 {
		t.Error(gone, err)
	}
}
