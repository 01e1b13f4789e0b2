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
	goleak.VerifyTestMain(m)
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

func (f *fake) ListResources(_ context.Context, r *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
	return f.list(r)
}

func (f *fake) GetStatus(context.Context, *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
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
