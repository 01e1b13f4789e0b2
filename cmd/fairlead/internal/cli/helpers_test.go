package cli

import (
	"bytes"
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Contexts of whoever runs the tests are none of theirs.
func TestMain(m *testing.M) {
	if err := os.Setenv("FAIRLEAD_CONFIG", filepath.Join(os.DevNull, "none")); err != nil {
		panic(err)
	}
	// Nor are the nameservers that they know.
	cache, err := os.MkdirTemp("", "fairlead-cli-")
	if err != nil {
		panic(err)
	}
	if err := os.Setenv("XDG_CACHE_HOME", cache); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(cache)
		os.Exit(code)
	}))
}

// noon is the moment at which the printers print.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// golden compares with testdata/NAME.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("%s (-want +got, -update rewrites it):\n%s", path, d)
	}
}

// result is what a run left.
type result struct {
	code     int
	out, err string
}

// run runs a command line.
func run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return runContext(t, t.Context(), stdin, args...)
}

func runContext(t *testing.T, ctx context.Context, stdin string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := Run(ctx, args, Streams{In: strings.NewReader(stdin), Out: &out, Err: &err})
	return result{code, out.String(), err.String()}
}

// want checks the exit code and that the outputs hold texts.
func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("%q is missing from\nstdout:\n%s\nstderr:\n%s", text, r.out, r.err)
		}
	}
}

// matches checks that stdout matches patterns.
func (r result) matches(t *testing.T, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(r.out) {
			t.Errorf("nothing matches %s in\n%s", p, r.out)
		}
	}
}

// fake is a controller that answers as a test says.
type fake struct {
	pb.UnimplementedCatalogServiceServer
	pb.UnimplementedRegionServiceServer
	pb.UnimplementedOverrideServiceServer
	pb.UnimplementedInsightServiceServer

	apply   func(*pb.ApplyRequest) (*pb.ApplyResponse, error)
	list    func(*pb.ListResourcesRequest) (*pb.ListResourcesResponse, error)
	status  func() (*pb.GetStatusResponse, error)
	drain   func(*pb.DrainRegionRequest) (*pb.DrainRegionResponse, error)
	explain func(*pb.ExplainRequest) (*pb.ExplainResponse, error)
	// progress is nil at a controller of an older version.
	progress func(*pb.GetOverrideProgressRequest) (*pb.GetOverrideProgressResponse, error)
	stream   func(*pb.StreamEventsRequest, pb.InsightService_StreamEventsServer) error
	create   func(*pb.CreateOverrideRequest) (*pb.CreateOverrideResponse, error)
	remove   func(*pb.DeleteOverrideRequest) (*pb.DeleteOverrideResponse, error)
	// listed is what overrides there are; nil: it cannot be told.
	listed func() *pb.ListOverridesResponse
	end    func(*pb.EndBreakGlassRequest) (*pb.EndBreakGlassResponse, error)

	generations func(*pb.ListGenerationsRequest) (*pb.ListGenerationsResponse, error)
	diff        func(*pb.DiffGenerationsRequest) (*pb.DiffGenerationsResponse, error)
	rollback    func(*pb.RollbackGenerationRequest) (*pb.RollbackGenerationResponse, error)
	events      func(*pb.ListEventsRequest) (*pb.ListEventsResponse, error)
	watch       func(*pb.WatchRequest, pb.InsightService_WatchServer) error
	release     func(*pb.ReleaseLatchRequest) (*pb.ReleaseLatchResponse, error)
	history     func(*pb.GetHistoryRequest, pb.InsightService_GetHistoryServer) error
}

func (f *fake) ReleaseLatch(_ context.Context, r *pb.ReleaseLatchRequest) (*pb.ReleaseLatchResponse, error) {
	return f.release(r)
}

func (f *fake) GetHistory(r *pb.GetHistoryRequest, s pb.InsightService_GetHistoryServer) error {
	return f.history(r, s)
}

func (f *fake) GetOverrideProgress(ctx context.Context, r *pb.GetOverrideProgressRequest) (*pb.GetOverrideProgressResponse, error) {
	if f.progress == nil {
		return f.UnimplementedOverrideServiceServer.GetOverrideProgress(ctx, r)
	}
	return f.progress(r)
}

func (f *fake) ListOverrides(ctx context.Context, r *pb.ListOverridesRequest) (*pb.ListOverridesResponse, error) {
	if f.listed == nil {
		return f.UnimplementedOverrideServiceServer.ListOverrides(ctx, r)
	}
	return f.listed(), nil
}

func (f *fake) CreateOverride(_ context.Context, r *pb.CreateOverrideRequest) (*pb.CreateOverrideResponse, error) {
	return f.create(r)
}

func (f *fake) DeleteOverride(_ context.Context, r *pb.DeleteOverrideRequest) (*pb.DeleteOverrideResponse, error) {
	return f.remove(r)
}

func (f *fake) EndBreakGlass(_ context.Context, r *pb.EndBreakGlassRequest) (*pb.EndBreakGlassResponse, error) {
	return f.end(r)
}

func (f *fake) StreamEvents(r *pb.StreamEventsRequest, s pb.InsightService_StreamEventsServer) error {
	return f.stream(r, s)
}

func (f *fake) Explain(_ context.Context, r *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	return f.explain(r)
}

func (f *fake) ListGenerations(_ context.Context, r *pb.ListGenerationsRequest) (*pb.ListGenerationsResponse, error) {
	return f.generations(r)
}

func (f *fake) DiffGenerations(_ context.Context, r *pb.DiffGenerationsRequest) (*pb.DiffGenerationsResponse, error) {
	return f.diff(r)
}

func (f *fake) RollbackGeneration(_ context.Context, r *pb.RollbackGenerationRequest) (*pb.RollbackGenerationResponse, error) {
	return f.rollback(r)
}

func (f *fake) ListEvents(_ context.Context, r *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
	return f.events(r)
}

func (f *fake) Watch(r *pb.WatchRequest, s pb.InsightService_WatchServer) error {
	if f.watch == nil {
		return f.UnimplementedInsightServiceServer.Watch(r, s)
	}
	return f.watch(r, s)
}

func (f *fake) Apply(_ context.Context, r *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	return f.apply(r)
}

func (f *fake) ListResources(ctx context.Context, r *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
	if f.list == nil {
		return f.UnimplementedCatalogServiceServer.ListResources(ctx, r)
	}
	return f.list(r)
}

func (f *fake) GetStatus(ctx context.Context, r *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	if f.status == nil {
		return f.UnimplementedInsightServiceServer.GetStatus(ctx, r)
	}
	return f.status()
}

func (f *fake) DrainRegion(_ context.Context, r *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
	return f.drain(r)
}

// serve serves a fake on loopback and returns its address.
func serve(t *testing.T, f *fake, opts ...grpc.ServerOption) string {
	t.Helper()
	addr, _ := serveUntil(t, f, opts...)
	return addr
}

// serveUntil is serve with a way to stop before the test ends.
func serveUntil(t *testing.T, f *fake, opts ...grpc.ServerOption) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(64<<20))...)
	pb.RegisterCatalogServiceServer(s, f)
	pb.RegisterRegionServiceServer(s, f)
	pb.RegisterOverrideServiceServer(s, f)
	pb.RegisterInsightServiceServer(s, f)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	stop = sync.OnceFunc(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// deadAddress is one that nobody listens on.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// writeFile writes a file and returns its path.
func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
