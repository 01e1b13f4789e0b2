package controller_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller"
	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/limits"
	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The door, item by item, and the test of each; program is cmd/internal/program,
// in which controller and nameserver run as they do in production.
//
//	deny by default                              access: TestWhatIsNotInTheMatrixIsDenied; authdns: TestDeniedByDefault
//	the matrix role × RPC, all that is served    program: TestMatrix, golden in testdata/matrix.md; TestWhoMayCallWhat
//	scopes of people                             TestScopesOfPeople; access: TestDrain, TestChanges
//	tokens: people only, TLS only, one identity  program: TestTokens, TestTokensNeedTLS; tokenfile: TestIdentify
//	tokens: the file, read again, its end        tokenfile: TestOpenRefuses, TestReload, TestExpiryIsToldBefore
//	failed attempts are limited and counted      limits: TestAttempts; program: TestTokens
//	an agent speaks of its own vantage           TestProgramsSpeakForThemselves, TestStreamsSpeakForOne; probes: TestWhatAnAgentSays
//	a nameserver of itself                       TestProgramsSpeakForThemselves, TestStreamsSpeakForOne
//	raw objects reach nameservers only           TestBytesOfObjects; program: TestMatrix
//	TLS 1.3                                      program: TestOnlyTLS13; tlsfiles: TestServerRefusesOtherClients
//	expired certificates: no new connection      tlsfiles: TestExpiredPeersAreRefused
//	… no new call on an old connection           tlsfiles: TestCallerOfAnOldConnection
//	… and no stream beyond the connection's age  TestConnectionsEnd; authdns: TestConnectionsEnd; rest: TestStreamsEndAtTheirAge
//	… and every answer as before                 program: TestExpiredNameserverAnswers
//	… and a warning before: log, metric, status  tlsfiles: TestReminders, TestMetrics, TestInUse
//	rotation of leaf and CA under streams        program: TestRotationUnderStreams; tlsfiles: TestCARotatesWhileRunning
//	limits of streams, headers, message, pings   program: TestConnectionLimits (each is exceeded, at both)
//	… and a client that is gone is noticed       TestConnectionsEnd; authdns: TestConnectionsEnd
//	what is denied is read by nobody             program: TestConnectionLimits, "denied at the door"
//	what one caller may ask                      limits: TestDefaults, TestFlood, TestOpenStreams; TestLimitsPerCaller; authdns: TestCallersArePaced
//	pagination of every list                     TestListsHavePages
//	quotas: overrides, scheduled                 TestOverrideQuota
//	… latches, watches, events, resources        api: TestMayAdd, TestWatchersAreBounded, TestEventStreamsAreBounded; config: TestLimits
//	… break-glass records                        authdns/breakglass: TestBounds
//	probe targets, bodies                        probes/door_test.go
//	no secrets in logs                           program: TestNoSecretsInLogs; tokenfile: TestIdentify
//	0600 or no start                             program: TestSecretsOfOthersAreRefused; pki: TestRefusals, TestTokenRefusals; cli: security_test.go

// own are the services and messages of the product.
func own(each func(protoreflect.ServiceDescriptor)) {
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			if strings.HasPrefix(string(f.Package()), "fairlead.") {
				each(f.Services().Get(i))
			}
		}
		return true
	})
}

// callWith calls a method with some fields.
func callWith(ctx context.Context, conn *grpc.ClientConn, name string, m protoreflect.MethodDescriptor, fields map[protoreflect.Name]protoreflect.Value) error {
	in := dynamicpb.NewMessage(m.Input())
	for field, value := range fields {
		in.Set(m.Input().Fields().ByName(field), value)
	}
	return conn.Invoke(ctx, name, in, dynamicpb.NewMessage(m.Output()))
}

// Every list has pages, but for one that is short by nature; and a size that is
// no size, or a page of nobody's, is refused by each.
func TestListsHavePages(t *testing.T) {
	short := map[string]string{"ListBreakGlass": "at most the standing ones and the last 100 that ended"}
	c := run(t, "c1", etcd(t))
	c.apply(base)
	methods := served(t, c.conn)
	lists := 0
	own(func(s protoreflect.ServiceDescriptor) {
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			if !strings.HasPrefix(string(m.Name()), "List") || short[string(m.Name())] != "" {
				continue
			}
			lists++
			in, out := m.Input().Fields(), m.Output().Fields()
			if in.ByName("page_size") == nil || in.ByName("page_token") == nil || out.ByName("next_page_token") == nil {
				t.Errorf("%s has no pages", m.FullName())
				continue
			}
			path := fmt.Sprintf("/%s/%s", s.FullName(), m.Name())
			if methods[path] == nil {
				continue
			}
			for field, value := range map[protoreflect.Name]protoreflect.Value{
				"page_size": protoreflect.ValueOfInt32(-1), "page_token": protoreflect.ValueOfString("rubbish"),
			} {
				if err := callWith(t.Context(), c.conn, path, m, map[protoreflect.Name]protoreflect.Value{field: value}); status.Code(err) != codes.InvalidArgument {
					t.Errorf("%s with a bad %s: %v", m.FullName(), field, err)
				}
			}
		}
	})
	if lists < 6 {
		t.Errorf("%d lists only", lists)
	}
}

// Nothing that is returned to anybody holds raw bytes, but for digests: objects,
// and keys when there are some, go to nameservers alone, by FetchObjects.
func TestBytesOfObjects(t *testing.T) {
	digests := []string{"Head.manifest", "Head.overrides", "FetchObjectsResponse.digest"}
	objects := false
	own(func(s protoreflect.ServiceDescriptor) {
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			seen := map[protoreflect.FullName]bool{}
			var walk func(protoreflect.MessageDescriptor)
			walk = func(d protoreflect.MessageDescriptor) {
				if seen[d.FullName()] || !strings.HasPrefix(string(d.FullName()), "fairlead.") {
					return
				}
				seen[d.FullName()] = true
				for i := range d.Fields().Len() {
					f := d.Fields().Get(i)
					switch name := string(d.Name()) + "." + string(f.Name()); {
					case f.Message() != nil:
						walk(f.Message())
					case f.Kind() != protoreflect.BytesKind || slices.Contains(digests, name):
					case m.FullName() == "fairlead.v1.FeedService.FetchObjects" && name == "FetchObjectsResponse.data":
						objects = true
					default:
						t.Errorf("%s returns the bytes of %s", m.FullName(), name)
					}
				}
			}
			walk(m.Output())
		}
	})
	if !objects {
		t.Error("FetchObjects returns no objects: the test tests nothing")
	}
}

// A stream is one program's from its hello on: a second hello ends it, also one
// with the same name.
func TestStreamsSpeakForOne(t *testing.T) {
	s := runSecured(t, etcd(t))
	s.as("admin/root").apply(base)
	report, err := pb.NewAgentServiceClient(s.as("agent/eu-west/probe-eu").conn).Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hello := func(region string) *pb.ReportRequest {
		return &pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{Agent: "probe-eu", Region: region, Incarnation: 1}}}
	}
	if err := report.Send(hello("eu-west")); err != nil {
		t.Fatal(err)
	}
	if _, err := report.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := report.Send(hello("us-east")); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = report.Recv()
	}
	wantCode(t, err, codes.InvalidArgument, "a second hello")

	ns := s.as("nameserver/eu-west/ns-1").subscribe(&pb.NameserverHello{Nameserver: "ns-1", Region: "eu-west"})
	ns.plan(&pb.Generation{Epoch: 1})
	ns.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: &pb.NameserverHello{Nameserver: "ns-2", Region: "eu-west"}}})
	for err = nil; err == nil; {
		_, err = ns.stream.Recv()
	}
	wantCode(t, err, codes.InvalidArgument, "a second hello")
	// Nothing of what was said is anybody else's.
	st, err := s.as("viewer/v").GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range st.GetNameservers() {
		if n.GetNameserver() != "ns-1" {
			t.Errorf("the status knows %q", n.GetNameserver())
		}
	}
}

// Overrides are bounded, those to come too; what is there already can be
// changed and taken away.
func TestOverrideQuota(t *testing.T) {
	e := etcd(t)
	c := run(t, "c1", e, func(o *controller.Options) {
		o.Limits = limits.Options{Writes: limits.Rate{PerSecond: 1e6, Burst: 1e6}}
	})
	c.apply(base)
	st, err := store.New(store.Options{Client: raw(t, e)})
	if err != nil {
		t.Fatal(err)
	}
	const most = 1000
	var standing, scheduled []*pb.Override
	tomorrow := timestamppb.New(time.Now().Add(24 * time.Hour))
	for i := range most {
		standing = append(standing, &pb.Override{
			Id: fmt.Sprintf("ov-%04d", i), Action: pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP, Author: "a", Reason: "r",
			Scope: &pb.OverrideScope{Service: fmt.Sprintf("s%d.example.test", i), Endpoint: "e"},
		})
		later := proto.CloneOf(standing[i])
		later.Id, later.StartTime = fmt.Sprintf("later-%04d", i), tomorrow
		scheduled = append(scheduled, later)
	}
	cat := catalog.New(st, nil)
	if _, err := cat.Change(t.Context(), catalog.Request{Actor: "test", Action: "override-create"}, func(*catalog.Version) (catalog.Edit, error) {
		return catalog.Edit{Overrides: standing, SetOverrides: true, Scheduled: scheduled, SetScheduled: true}, nil
	}); err != nil {
		t.Fatal(err)
	}
	create := func(start *timestamppb.Timestamp) error {
		_, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Service: "www.example.test", Reason: "r", Force: true, StartTime: start})
		return err
	}
	wantCode(t, create(nil), codes.ResourceExhausted, "1000 overrides stand already")
	wantCode(t, create(tomorrow), codes.ResourceExhausted, "1000")
	if _, err := c.DeleteOverride(t.Context(), &pb.DeleteOverrideRequest{Id: "ov-0007", Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if err := create(nil); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}

// A connection ends at its age, with the streams on it, so that a certificate
// that has expired since, or was taken back with its CA, is asked for again; and
// one whose client is gone ends without.
func TestConnectionsEnd(t *testing.T) {
	defer controller.SetConnections(keepalive.ServerParameters{
		Time: time.Second, Timeout: 200 * time.Millisecond, MaxConnectionAge: 500 * time.Millisecond, MaxConnectionAgeGrace: 100 * time.Millisecond,
	})()
	var target string
	c := run(t, "c1", etcd(t), func(o *controller.Options) { target = o.Listener.Addr().String() })
	watch, err := c.Watch(t.Context(), &pb.WatchRequest{Initial: true})
	for err == nil {
		_, err = watch.Recv()
	}
	wantCode(t, err, codes.Unavailable)
	if _, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{}); err != nil {
		t.Errorf("the next connection: %v", err)
	}

	controller.SetConnections(keepalive.ServerParameters{Time: time.Second, Timeout: 200 * time.Millisecond})
	run(t, "c2", etcd(t), func(o *controller.Options) { target = o.Listener.Addr().String() })
	silent, err := net.Dial("tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := io.WriteString(silent, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := http2.NewFramer(silent, silent).WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := silent.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, silent); err != nil {
		t.Errorf("one that answers no ping: %v", err)
	}
}
