package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func numbered(n int64) *pb.AuditEvent {
	return &pb.AuditEvent{Time: timestamppb.New(noon), Action: "apply", Reason: fmt.Sprintf("event %d", n), Generation: gen(n), RequestId: fmt.Sprint(n), Result: "done"}
}

// journal is the events that all controllers of a test tell.
type journal struct {
	mu     sync.Mutex
	events []*pb.AuditEvent
	more   chan struct{}
}

func (j *journal) write(e *pb.AuditEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
	close(j.more)
	j.more = make(chan struct{})
}

func (j *journal) after(n int) ([]*pb.AuditEvent, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.events[n:], j.more
}

// controller tells a journal, most events in a stream at most.
func (j *journal) controller(most int) *fake {
	return &fake{
		events: func(r *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
			all, _ := j.after(0)
			out := &pb.ListEventsResponse{}
			for i := len(all) - 1; i >= 0 && len(out.Events) < int(r.GetPageSize()); i-- {
				out.Events = append(out.Events, all[i])
			}
			return out, nil
		},
		stream: func(r *pb.StreamEventsRequest, s pb.InsightService_StreamEventsServer) error {
			at := 0
			if r.GetAfter() == "" {
				all, _ := j.after(0)
				at = max(0, len(all)-1) // what is listed too is told again
			} else if _, err := fmt.Sscan(r.GetAfter(), &at); err != nil {
				return err
			}
			if err := s.Send(&pb.StreamEventsResponse{Position: fmt.Sprint(at)}); err != nil {
				return err
			}
			for sent := 0; sent < most; {
				events, more := j.after(at)
				for _, e := range events {
					at++
					sent++
					if err := s.Send(&pb.StreamEventsResponse{Event: e, Position: fmt.Sprint(at)}); err != nil {
						return err
					}
				}
				select {
				case <-more:
				case <-s.Context().Done():
					return nil
				}
			}
			return status.Error(codes.Unavailable, "the controller is stopping")
		},
	}
}

// Every event is told once, in order, whatever becomes of the controllers.
func TestFollowEvents(t *testing.T) {
	j := &journal{more: make(chan struct{})}
	for n := range int64(5) {
		j.write(numbered(n + 1))
	}
	addrs := serve(t, j.controller(3)) + "," + deadAddress(t) + "," + serve(t, j.controller(4))
	var out, errs lockedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- Run(ctx, []string{"events", "--follow", "--limit", "3", "-o", "json", "--controller", addrs}, Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	}()
	until := func(n int64) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), fmt.Sprintf("event %d\"", n)); time.Sleep(2 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no event %d in\n%s%s", n, out.String(), errs.String())
			}
		}
	}
	until(5)
	for n := int64(6); n <= 20; n++ {
		j.write(numbered(n))
		until(n)
	}
	cancel()
	if code := <-done; code != exitDone {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	n := int64(3)
	for line := range strings.Lines(out.String()) {
		var e struct{ Reason string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Reason != fmt.Sprintf("event %d", n) {
			t.Fatalf("%v: got %q, want event %d", err, line, n)
		}
		n++
	}
	if n != 21 || !strings.Contains(errs.String(), "the controller is stopping; going on after the last event") {
		t.Errorf("%d lines; %s", n-3, errs.String())
	}
}

func TestFollowRefused(t *testing.T) {
	for code, want := range map[codes.Code]string{
		codes.PermissionDenied: "fairlead: not allowed: no\n",
		codes.InvalidArgument:  "fairlead: no\n",
		codes.Unimplemented:    " does not know this call; is it of an older version?",
	} {
		addr := serve(t, &fake{stream: func(*pb.StreamEventsRequest, pb.InsightService_StreamEventsServer) error {
			return status.Error(code, "no")
		}})
		run(t, "", "events", "-f", "--controller", addr).want(t, exitFailed, want)
	}
	run(t, "", "events", "-f", "--controller", deadAddress(t)).want(t, exitFailed, "is a controller running there?")
}

// What is no longer kept cannot be gone on with: that is told, and the rest follows.
func TestFollowTooLate(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	addr := serve(t, &fake{
		events: func(*pb.ListEventsRequest) (*pb.ListEventsResponse, error) { return &pb.ListEventsResponse{}, nil },
		stream: func(r *pb.StreamEventsRequest, s pb.InsightService_StreamEventsServer) error {
			mu.Lock()
			asked = append(asked, r.GetAfter())
			n := len(asked)
			mu.Unlock()
			switch n {
			case 1:
				return s.Send(&pb.StreamEventsResponse{Position: "7"})
			case 2:
				return status.Error(codes.OutOfRange, "what is behind position 7 is no longer kept")
			}
			_ = s.Send(&pb.StreamEventsResponse{Position: "90"})
			_ = s.Send(&pb.StreamEventsResponse{Event: numbered(91), Position: "91"})
			<-s.Context().Done()
			return nil
		},
	})
	var out, errs lockedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- Run(ctx, []string{"events", "-f", "--controller", addr}, Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	}()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), "event 91") && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
	}
	cancel()
	<-done
	if !strings.Contains(errs.String(), "is no longer kept; going on with what is written from now on") || !strings.Contains(out.String(), "done     apply ") {
		t.Errorf("%s%s", out.String(), errs.String())
	}
}

// What was before and after, in words.
func TestEventWords(t *testing.T) {
	www := parse(t, allKindsYAML)
	var before *pb.Resource
	for _, r := range www {
		if r.GetService().GetMetadata().GetName() == "www.example.test" {
			before = r
		}
	}
	after := proto.CloneOf(before)
	s := after.GetService().GetSpec()
	s.Ttl.Seconds = 10
	s.Endpoints[0].Weight = proto.Uint32(7)
	s.Endpoints = append(s.Endpoints, &pb.Endpoint{Name: "new", Region: "eu-west", Addresses: []string{"192.0.2.99"}})
	longer := sampleOverrides()[0]
	longer.ExpireTime, longer.Reason = nil, "it takes longer"
	events := sampleEvents()
	events[0].Author, events[0].Result = "Alice A.", "forced"
	events[0].OverridesBefore, events[0].OverridesAfter = sampleOverrides(), append([]*pb.Override{longer}, sampleScheduled()[0])
	events[0].OverridesAfter[1].Scope = euWest
	events[0].Safety = sampleDecision()
	events[1].Author = "bob"
	events[1].Changes = []*pb.Change{{Before: before, After: after}, {Before: before}, {After: after}}
	events[1].ChangesOmitted = 3
	refused := &pb.AuditEvent{Time: timestamppb.New(noon), Actor: "operator/alice", Action: "override-create", Result: "refused", Error: "refused by safety rule quiet-time", OverridesAfter: sampleOverrides()[:1], Generation: gen(42)}
	events = append(events, refused)
	printed(t, "events-words", &printer{wide: true}, func(p *printer) { eventTable(p, events).print(p) })
	printed(t, "events-followed", &printer{wide: true}, func(p *printer) {
		for _, e := range events {
			printEvent(p, e)
		}
	})
}
