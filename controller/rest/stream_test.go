package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func verdict(target string) *pb.WatchResponse {
	return &pb.WatchResponse{Change: &pb.WatchResponse_Verdict{Verdict: &pb.VerdictChange{Now: &pb.TargetHealth{Target: target}}}}
}

// open starts a watch and returns its lines.
func (r *running) open(ctx context.Context, accept string) (contentType string, lines *bufio.Scanner) {
	r.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+watchPath+"?initial=true", nil)
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		r.Fatal(resp.Status)
	}
	return resp.Header.Get("Content-Type"), bufio.NewScanner(resp.Body)
}

type line struct {
	Result *struct {
		Verdict struct{ Now struct{ Target string } }
	}
	Error *failure
}

func TestWatchStreamsLines(t *testing.T) {
	s := newServices()
	var next, ended chan string
	s.watch = func(req *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
		defer close(ended)
		if !req.GetInitial() {
			return status.Error(codes.InvalidArgument, "want initial")
		}
		for {
			var target string
			select {
			case <-stream.Context().Done():
				return stream.Context().Err()
			case target = <-next:
			}
			if target == "" {
				return status.Error(codes.ResourceExhausted, "enough")
			}
			if err := stream.Send(verdict(target)); err != nil {
				return err
			}
		}
	}
	// A server whose own time for a request is over long before the stream's
	// end, and before the first message.
	short := 20 * time.Millisecond
	r := start(t, s, nil, func(h *http.Server) { h.ReadTimeout, h.WriteTimeout = short, short })
	for _, f := range []struct {
		accept, contentType, prefix string
		gap                         bool
	}{
		{"", lineType, "", false},
		{"*/*", lineType, "", false},
		{"text/html, text/event-stream", eventType, "data: ", true},
	} {
		next, ended = make(chan string), make(chan string)
		send := func(target string) {
			select {
			case next <- target:
			case <-ended:
			}
		}
		go func() {
			time.Sleep(3 * short)
			send("one")
		}()
		contentType, lines := r.open(t.Context(), f.accept)
		if contentType != f.contentType {
			t.Fatal(contentType)
		}
		read := func() (l line) {
			t.Helper()
			if !lines.Scan() {
				t.Fatalf("the stream ended: %v", lines.Err())
			}
			text, ok := strings.CutPrefix(lines.Text(), f.prefix)
			if err := json.Unmarshal([]byte(text), &l); err != nil || !ok {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			if f.gap && (!lines.Scan() || lines.Text() != "") {
				t.Fatalf("no empty line after an event: %q", lines.Text())
			}
			return l
		}
		for _, target := range []string{"one", "two", "three"} {
			// Each is there before the next is sent.
			if l := read(); l.Result == nil || l.Result.Verdict.Now.Target != target {
				t.Fatalf("%+v; want %s", l, target)
			}
			switch target {
			case "one":
				time.Sleep(3 * short)
				send("two")
			case "two":
				send("three")
			}
		}
		send("")
		if l := read(); l.Error == nil || l.Error.Code != codes.ResourceExhausted || l.Error.Message != "enough" {
			t.Errorf("the end: %+v", l)
		}
		if lines.Scan() {
			t.Errorf("after the end: %q", lines.Text())
		}
	}
}

func TestWatchRefusedIsAnOrdinaryError(t *testing.T) {
	r := start(t, newServices(), nil, nil)
	for _, accept := range []string{"*/*", eventType} {
		r.refused(r.do(http.MethodGet, watchPath, "", "Accept: "+accept), http.StatusNotImplemented, codes.Unimplemented, "no watch")
	}
}

func TestWatcherThatLeavesEndsTheCall(t *testing.T) {
	s := newServices()
	left := make(chan struct{})
	s.watch = func(_ *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
		defer close(left)
		if err := stream.Send(verdict("one")); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	r := start(t, s, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	_, lines := r.open(ctx, "*/*")
	lines.Scan()
	cancel()
	<-left
}

// broken is a connection that takes nothing.
type broken struct{ *httptest.ResponseRecorder }

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestClientThatTakesNothingEndsTheCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, _ := newWriter(broken{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, watchPath, nil), cancel)
	if n, err := w.Write([]byte("x")); n != 1 || err != nil {
		t.Errorf("the translator is told: %d %v", n, err)
	}
	if ctx.Err() == nil {
		t.Error("the call goes on")
	}
}

func TestStopEndsStreamsAndRefusesCalls(t *testing.T) {
	s := newServices()
	s.watch = func(_ *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
		if err := stream.Send(verdict("one")); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	r := start(t, s, nil, nil)
	_, lines := r.open(t.Context(), "*/*")
	lines.Scan()
	r.stop()
	var l line
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &l) != nil || l.Error == nil || l.Error.Code != codes.Unavailable || l.Error.Message != "the controller stops" {
		t.Errorf("the end: %q", lines.Text())
	}
	for _, path := range []string{"/v1/regions/eu-west", watchPath} {
		r.refused(r.do(http.MethodGet, path, ""), http.StatusServiceUnavailable, codes.Unavailable, "starting or stopping")
	}
}

func TestBeforeRun(t *testing.T) {
	w := httptest.NewRecorder()
	newServer(t, newServices(), nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/regions", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "starting") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A call may take longer than the server gives a request.
func TestCallThatWaitsIsAnswered(t *testing.T) {
	s := newServices()
	short := 20 * time.Millisecond
	s.apply = func(ctx context.Context, _ *pb.ApplyRequest) (*pb.ApplyResponse, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * short):
			return &pb.ApplyResponse{Unchanged: 3}, nil
		}
	}
	r := start(t, s, nil, func(h *http.Server) { h.ReadTimeout, h.WriteTimeout = short, short })
	if a := r.do(http.MethodPost, "/v1/configuration:apply", "{}"); a.StatusCode != 200 || !strings.Contains(a.body, "3") {
		t.Errorf("%s %s", a.Status, a.body)
	}
}
