package rest

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// services is a small catalog of regions behind the real gRPC server. What it
// does not implement answers UNIMPLEMENTED.
type services struct {
	pb.UnimplementedRegionServiceServer
	pb.UnimplementedZoneServiceServer
	pb.UnimplementedCatalogServiceServer
	pb.UnimplementedOverrideServiceServer
	pb.UnimplementedInsightServiceServer

	mu      sync.Mutex
	regions map[string]*pb.Region
	last    proto.Message // the last request that was no read of a region

	apply func(context.Context, *pb.ApplyRequest) (*pb.ApplyResponse, error)
	watch func(*pb.WatchRequest, grpc.ServerStreamingServer[pb.WatchResponse]) error
}

func newServices() *services {
	return &services{regions: map[string]*pb.Region{
		"eu-west": {Metadata: &pb.Metadata{Name: "eu-west"}, Spec: &pb.RegionSpec{
			Latitude: proto.Float64(53.3), Longitude: proto.Float64(0), AvailabilityZones: []string{"a"},
		}},
	}}
}

func (s *services) register(r grpc.ServiceRegistrar) {
	pb.RegisterRegionServiceServer(r, s)
	pb.RegisterZoneServiceServer(r, s)
	pb.RegisterCatalogServiceServer(r, s)
	pb.RegisterOverrideServiceServer(r, s)
	pb.RegisterInsightServiceServer(r, s)
}

func (s *services) note(m proto.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = m
}

func (s *services) noted() proto.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *services) GetRegion(_ context.Context, req *pb.GetRegionRequest) (*pb.GetRegionResponse, error) {
	r := s.regions[req.GetRegion()]
	if r == nil {
		return nil, status.Errorf(codes.NotFound, "no region %q", req.GetRegion())
	}
	return &pb.GetRegionResponse{Region: r, Generation: &pb.Generation{Epoch: 1, Revision: 7}}, nil
}

func (s *services) DrainRegion(_ context.Context, req *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
	s.note(req)
	if req.GetReason() == "" {
		st, err := status.New(codes.InvalidArgument, "1 error").WithDetails(&errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "reason", Description: "required"}},
		})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}
	return &pb.DrainRegionResponse{Override: &pb.Override{
		Id: "1", Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Reason: req.GetReason(),
		Scope: &pb.OverrideScope{Region: req.GetRegion()},
	}}, nil
}

func (s *services) GetZone(_ context.Context, req *pb.GetZoneRequest) (*pb.GetZoneResponse, error) {
	s.note(req)
	return &pb.GetZoneResponse{}, nil
}

func (s *services) Apply(ctx context.Context, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	if s.apply != nil {
		return s.apply(ctx, req)
	}
	resp := &pb.ApplyResponse{}
	for _, r := range req.GetResources() {
		resp.Changes = append(resp.Changes, &pb.Change{Action: pb.ChangeAction_CHANGE_ACTION_CREATE, After: r})
	}
	return resp, nil
}

func (s *services) ListResources(_ context.Context, req *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
	s.note(req)
	return &pb.ListResourcesResponse{}, nil
}

func (s *services) UpdateResource(_ context.Context, req *pb.UpdateResourceRequest) (*pb.UpdateResourceResponse, error) {
	s.note(req)
	return &pb.UpdateResourceResponse{Resource: req.GetResource()}, nil
}

func (s *services) DeleteResource(_ context.Context, req *pb.DeleteResourceRequest) (*pb.DeleteResourceResponse, error) {
	s.note(req)
	return nil, status.Error(codes.FailedPrecondition, "another refers to it")
}

func (s *services) DiffGenerations(_ context.Context, req *pb.DiffGenerationsRequest) (*pb.DiffGenerationsResponse, error) {
	s.note(req)
	return &pb.DiffGenerationsResponse{}, nil
}

func (s *services) Watch(req *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
	if s.watch == nil {
		return status.Error(codes.Unimplemented, "no watch")
	}
	return s.watch(req, stream)
}

// running is a server that runs, behind a real HTTP server.
type running struct {
	*testing.T
	url  string
	rest *Server
	stop func()
}

func newServer(t *testing.T, s *services, change func(*Options)) *Server {
	t.Helper()
	o := Options{Register: s.register, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	srv, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

func start(t *testing.T, s *services, change func(*Options), server func(*http.Server)) *running {
	t.Helper()
	srv := newServer(t, s, change)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	for range 5000 {
		if srv.link.Load() != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	h := httptest.NewUnstartedServer(srv)
	if server != nil {
		server(h.Config)
	}
	h.Start()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		http.DefaultClient.CloseIdleConnections()
		h.Close()
	})
	return &running{T: t, url: h.URL, rest: srv, stop: stop}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// do sends a request; a body goes as application/json unless a header says
// otherwise. Headers are NAME: VALUE.
func (r *running) do(method, path, body string, headers ...string) answer {
	r.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, reader)
	if err != nil {
		r.Fatal(err)
	}
	if method == http.MethodPost || method == http.MethodPatch {
		req.Header.Set("Content-Type", jsonType)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
		if value == "" {
			req.Header.Del(name)
		}
	}
	return r.send(req)
}

func (r *running) send(req *http.Request) answer {
	r.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	return answer{resp, string(b)}
}

// failure is the body of an error.
type failure struct {
	Code    codes.Code
	Message string
	Details []map[string]any
}

// refused checks that an answer is an error in the form that all have.
func (r *running) refused(a answer, httpStatus int, code codes.Code, says string) failure {
	r.Helper()
	var f failure
	if err := json.Unmarshal([]byte(a.body), &f); err != nil {
		r.Fatalf("%s: no JSON: %q", a.Status, a.body)
	}
	if a.StatusCode != httpStatus || f.Code != code || !strings.Contains(f.Message, says) || f.Message == "" {
		r.Errorf("%s %s: got %d %v %q; want %d %v %q", a.Request.Method, a.Request.URL, a.StatusCode, f.Code, f.Message, httpStatus, code, says)
	}
	if got := a.Header.Get("Content-Type"); got != jsonType {
		r.Errorf("content type %q", got)
	}
	if a.Header.Get("X-Content-Type-Options") != "nosniff" {
		r.Error("no X-Content-Type-Options")
	}
	return f
}

// same compares a message with one in JSON.
func same(t *testing.T, got proto.Message, want string) {
	t.Helper()
	if got == nil {
		t.Fatalf("nothing arrived; want %s", want)
	}
	w := got.ProtoReflect().New().Interface()
	if err := protojson.Unmarshal([]byte(want), w); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, w) {
		t.Errorf("got %v\nwant %v", protojson.Format(got), protojson.Format(w))
	}
}
