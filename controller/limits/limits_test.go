package limits

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/access"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func as(role identity.Role, name string) context.Context {
	id := identity.Identity{TrustDomain: "fairlead", Role: role, Name: name}
	if role.Regional() {
		id.Region = "eu-west"
	}
	return access.With(context.Background(), id)
}

func from(address string) context.Context {
	ctx := access.With(context.Background(), identity.Identity{Role: identity.Admin, Name: "anonymous"})
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		panic(err)
	}
	return peer.NewContext(ctx, &peer.Peer{Addr: addr})
}

const (
	read  = "/fairlead.v1.InsightService/GetStatus"
	write = "/fairlead.v1.CatalogService/Apply"
	drain = "/fairlead.v1.RegionService/DrainRegion"
	watch = "/fairlead.v1.InsightService/Watch"
	hears = "/fairlead.v1.AgentService/Report"
	feeds = "/fairlead.v1.FeedService/Subscribe"
)

func made(t *testing.T, o Options) *Limits {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// call calls a method, or opens a stream that ends at once.
func (l *Limits) call(ctx context.Context, method string) error {
	if method == watch || method == hears || method == feeds {
		return l.Stream()(nil, &stream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: method, IsClientStream: method != watch},
			func(any, grpc.ServerStream) error { return nil })
	}
	_, err := l.Unary()(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) { return nil, nil })
	return err
}

// admitted counts how many of n calls go through.
func (l *Limits) admitted(ctx context.Context, method string, n int) (ok int) {
	for range n {
		if l.call(ctx, method) == nil {
			ok++
		}
	}
	return ok
}

// The stated defaults, each of them by itself: at once, and in a second.
func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		method       string
		role         identity.Role
		burst, later int
	}{
		{read, identity.Viewer, 1000, 200},
		{read, identity.Admin, 1000, 200},
		{drain, identity.Operator, 200, 20},
		{write, identity.Admin, 200, 20},
		{"/of.a/newer.Version", identity.Admin, 200, 20},
		{watch, identity.Viewer, 50, 5},
		{hears, identity.Agent, 100, 10},
		{feeds, identity.Nameserver, 100, 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := made(t, Options{})
			ctx := as(c.role, "x")
			if got := l.admitted(ctx, c.method, 2000); got != c.burst {
				t.Errorf("%s: %d at once, want %d", c.method, got, c.burst)
			}
			time.Sleep(time.Second)
			if got := l.admitted(ctx, c.method, 2000); got != c.later {
				t.Errorf("%s: %d in the next second, want %d", c.method, got, c.later)
			}
			time.Sleep(time.Hour)
			if got := l.admitted(ctx, c.method, 2000); got != c.burst {
				t.Errorf("%s: %d after a rest, want %d", c.method, got, c.burst)
			}
		})
	}
}

// One limit leaves the others alone: who reads too much can still drain.
func TestLimitsAreSeparate(t *testing.T) {
	l := made(t, Options{})
	ctx := as(identity.Admin, "alice")
	l.admitted(ctx, read, 500)
	l.admitted(ctx, watch, 500)
	if err := l.call(ctx, drain); err != nil {
		t.Error(err)
	}
	l.admitted(ctx, drain, 500)
	if err := l.call(as(identity.Admin, "bob"), drain); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

// Whom a certificate names has one bucket at whatever address; others have one
// an address, however it is written.
func TestCallers(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b context.Context
		same bool
	}{
		{"a name", as(identity.Viewer, "x"), as(identity.Viewer, "y"), false},
		{"a role", as(identity.Viewer, "x"), as(identity.Operator, "x"), false},
		{"an address", from("192.0.2.1:1000"), from("192.0.2.2:1000"), false},
		{"a port", from("192.0.2.1:1000"), from("192.0.2.1:2000"), true},
		{"an IPv6 network", from("[2001:db8::1]:1000"), from("[2001:db8::2:3:4:5]:2000"), true},
		{"another IPv6 network", from("[2001:db8::1]:1000"), from("[2001:db8:0:1::1]:1000"), false},
		{"a mapped address", from("192.0.2.1:1000"), from("[::ffff:192.0.2.1]:2000"), true},
		{"a name at two addresses", as(identity.Viewer, "x"),
			peer.NewContext(as(identity.Viewer, "x"), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9)}}), true},
		{"no address", access.With(context.Background(), identity.Identity{}), context.Background(), true},
	} {
		if same := key(c.a) == key(c.b); same != c.same {
			t.Errorf("%s: %q and %q", c.name, key(c.a), key(c.b))
		}
	}
}

func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		l := made(t, Options{Writes: Rate{PerSecond: 0.5, Burst: 1}, Registerer: reg})
		ctx := as(identity.Operator, "alice")
		if err := l.call(ctx, drain); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		st := status.Convert(l.call(ctx, drain))
		want := `operator alice is over the limit "writes" of 0.5 changes a second (1 at once); nothing was done, try again in 1.5s`
		if st.Code() != codes.ResourceExhausted || st.Message() != want {
			t.Errorf("%v %q, want %q", st.Code(), st.Message(), want)
		}
		var retry *errdetails.RetryInfo
		var quota *errdetails.QuotaFailure
		for _, d := range st.Details() {
			switch d := d.(type) {
			case *errdetails.RetryInfo:
				retry = d
			case *errdetails.QuotaFailure:
				quota = d
			}
		}
		if v := quota.GetViolations(); len(v) != 1 || v[0].GetSubject() != "operator alice" || v[0].GetDescription() != "limit writes" {
			t.Errorf("quota: %v", quota)
		}
		// Who tries again then, gets through; having been refused costs nothing.
		time.Sleep(retry.GetRetryDelay().AsDuration())
		if err := l.call(ctx, drain); err != nil {
			t.Errorf("after %v: %v", retry.GetRetryDelay().AsDuration(), err)
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP fairlead_controller_calls_limited_total Calls that were refused, and messages on streams that were delayed, because their caller was over a limit.
# TYPE fairlead_controller_calls_limited_total counter
fairlead_controller_calls_limited_total{limit="attempts"} 0
fairlead_controller_calls_limited_total{limit="messages"} 0
fairlead_controller_calls_limited_total{limit="program_streams"} 0
fairlead_controller_calls_limited_total{limit="requests"} 0
fairlead_controller_calls_limited_total{limit="streams"} 0
fairlead_controller_calls_limited_total{limit="writes"} 1
`)); err != nil {
			t.Error(err)
		}
	})
}

func TestOptions(t *testing.T) {
	_, err := New(Options{Writes: Rate{PerSecond: 5}, Messages: Rate{PerSecond: -1, Burst: 3}, MaxCallers: -1})
	for _, want := range []string{"writes: 5/s, 0 at once: want", "messages: -1/s", "-1 callers"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	reg := prometheus.NewRegistry()
	made(t, Options{Registerer: reg})
	if _, err := New(Options{Registerer: reg}); err == nil {
		t.Error("registered twice")
	}
}

// However many callers come, those that are remembered stay few, and whoever
// keeps calling is among them.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := made(t, Options{MaxCallers: 100, Requests: Rate{PerSecond: 50, Burst: 100}})
		abuser := as(identity.Viewer, "abuser")
		l.admitted(abuser, read, 100)
		for i := range 10_000 {
			if err := l.call(as(identity.Viewer, fmt.Sprint(i)), read); err != nil {
				t.Fatalf("caller %d: %v", i, err)
			}
			if l.call(abuser, read) == nil {
				t.Fatalf("forgotten after %d others", i)
			}
			if n, m := len(l.callers.byKey), l.callers.order.Len(); n > 100 || n != m {
				t.Fatalf("%d callers, %d in order", n, m)
			}
		}
	})
}

// stream is a stream that brings one message after the other, however fast
// they are read.
type stream struct {
	grpc.ServerStream
	ctx   context.Context
	bring *pb.ReportRequest
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) RecvMsg(m any) error {
	m.(*pb.ReportRequest).Message = s.bring.GetMessage()
	return nil
}

// received counts the messages that are read in a while.
func received(t *testing.T, l *Limits, ctx context.Context, m *pb.ReportRequest, d time.Duration) int {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	n := 0
	err := l.Stream()(nil, &stream{ctx: ctx, bring: m}, &grpc.StreamServerInfo{FullMethod: hears, IsClientStream: true, IsServerStream: true},
		func(_ any, s grpc.ServerStream) error {
			for {
				if err := s.RecvMsg(&pb.ReportRequest{}); err != nil {
					return err
				}
				n++
			}
		})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the stream ended with %v", err)
	}
	return n
}

func opinions(bytes int) *pb.ReportRequest {
	return &pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: &pb.OpinionUpdate{
		Opinions: []*pb.Opinion{{Reason: strings.Repeat("x", bytes)}},
	}}}
}

// Messages are delayed and never refused; large ones count as more, so that
// neither many messages nor much in them keeps the judge busy.
func TestMessagesAreDelayed(t *testing.T) {
	for _, c := range []struct {
		name string
		m    *pb.ReportRequest
		want int // in 10 s
	}{
		{"small ones", opinions(10), 5000 + 10*1000},
		{"large ones", opinions(99 * MessageUnit), 50 + 10*10},
		{"enormous ones", opinions(9999 * MessageUnit), 1 + 10/5},
	} {
		synctest.Test(t, func(t *testing.T) {
			reg := prometheus.NewPedanticRegistry()
			l := made(t, Options{Registerer: reg})
			got := received(t, l, as(identity.Agent, "probe"), c.m, 10*time.Second)
			if got < c.want-1 || got > c.want+1 {
				t.Errorf("%s: %d in 10 s, want %d", c.name, got, c.want)
			}
			if n := testutil.ToFloat64(l.limited[messages]); n == 0 {
				t.Errorf("%s: none counted", c.name)
			}
		})
	}
}

// All streams of a caller share one bucket, and no other caller is in it.
func TestOneAbuserDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := made(t, Options{})
		abuser := as(identity.Agent, "abuser")
		counts := make(chan int)
		for range 4 {
			go func() { counts <- received(t, l, abuser, opinions(10), 10*time.Second) }()
		}
		// Meanwhile another agent sends heartbeats.
		ctx := as(identity.Agent, "probe")
		if err := l.Stream()(nil, &stream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: hears, IsClientStream: true}, func(_ any, s grpc.ServerStream) error {
			for range 40 {
				before := time.Now()
				if err := s.RecvMsg(&pb.ReportRequest{}); err != nil {
					return err
				}
				if d := time.Since(before); d != 0 {
					t.Errorf("a heartbeat was delayed by %v", d)
				}
				if err := l.call(as(identity.Operator, "alice"), read); err != nil {
					t.Error(err)
				}
				time.Sleep(250 * time.Millisecond)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		total := 0
		for range 4 {
			total += <-counts
		}
		if total < 14_990 || total > 15_010 {
			t.Errorf("the abuser got %d messages through, want 15,000", total)
		}
	})
}
