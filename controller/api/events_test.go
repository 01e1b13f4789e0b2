package api

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestEventFilter(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	event := &pb.AuditEvent{
		Time: timestamppb.New(at), Actor: "operator/alice", Author: "Bob", Action: "override-create", RequestId: "r1", Result: "forced",
		Subjects: []string{"overrides/19a-7 regions/eu-west services/www.example.test", "zones/example.test"},
	}
	old := &pb.AuditEvent{Time: timestamppb.New(at), Actor: "anonymous", Action: "apply"}
	for _, c := range []struct {
		filter          *pb.EventFilter
		matches, oldToo bool
	}{
		{nil, true, true},
		{&pb.EventFilter{}, true, true},
		{&pb.EventFilter{Actor: "alice"}, true, false},
		{&pb.EventFilter{Actor: "operator/alice"}, true, false},
		{&pb.EventFilter{Actor: "Bob"}, true, false},
		{&pb.EventFilter{Actor: "lice"}, false, false},
		{&pb.EventFilter{Actor: "operator"}, false, false},
		{&pb.EventFilter{Action: "override"}, true, false},
		{&pb.EventFilter{Action: "create"}, false, false},
		{&pb.EventFilter{Result: "forced"}, true, false},
		{&pb.EventFilter{Result: "done"}, false, true},
		{&pb.EventFilter{Result: "refused"}, false, false},
		{&pb.EventFilter{RequestId: "r1"}, true, false},
		{&pb.EventFilter{RequestId: "r"}, false, false},
		{&pb.EventFilter{Subject: "eu-west"}, true, false},
		{&pb.EventFilter{Subject: "regions/EU-west"}, true, false},
		{&pb.EventFilter{Subject: "services"}, true, false},
		{&pb.EventFilter{Subject: "www.example.test."}, true, false},
		{&pb.EventFilter{Subject: "19a-7"}, true, false},
		{&pb.EventFilter{Subject: "zones/example.test"}, true, false},
		{&pb.EventFilter{Subject: "eu"}, false, false},
		{&pb.EventFilter{Subject: "zones/www.example.test"}, false, false},
		{&pb.EventFilter{Since: timestamppb.New(at)}, true, true},
		{&pb.EventFilter{Since: timestamppb.New(at.Add(1))}, false, false},
		{&pb.EventFilter{Until: timestamppb.New(at)}, false, false},
		{&pb.EventFilter{Until: timestamppb.New(at.Add(1)), Actor: "alice", Result: "forced", Subject: "eu-west"}, true, false},
		{&pb.EventFilter{Actor: "alice", Result: "done"}, false, false},
	} {
		match, err := eventFilter(c.filter)
		if err != nil {
			t.Errorf("%v: %v", c.filter, err)
			continue
		}
		if match(event) != c.matches || match(old) != c.oldToo {
			t.Errorf("%v: %v and %v, want %v and %v", c.filter, match(event), match(old), c.matches, c.oldToo)
		}
	}
	for what, f := range map[string]*pb.EventFilter{
		"result":   {Result: "failed"},
		"subject":  {Subject: strings.Repeat("x", maxFilter+1)},
		"actor":    {Actor: strings.Repeat("x", maxFilter+1)},
		"since":    {Since: &timestamppb.Timestamp{Seconds: 1 << 50}},
		"until":    {Until: &timestamppb.Timestamp{Nanos: -1}},
		"is not b": {Since: timestamppb.New(at), Until: timestamppb.New(at)},
	} {
		if _, err := eventFilter(f); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// trail is an audit trail that a test writes.
type trail struct {
	mu     sync.Mutex
	events []string
	read   int
	err    error
	change chan struct{}
}

func (l *trail) Next(context.Context) (out []store.Positioned, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	for ; l.read < len(l.events) && len(out) < 2; l.read++ {
		out = append(out, store.Positioned{AuditEvent: &pb.AuditEvent{Action: l.events[l.read]}, Position: fmt.Sprint(l.read + 1)})
	}
	return out, nil
}

func (l *trail) Position() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.read)
}

func (l *trail) changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change
}

// gets adds events; hinted says that the head changed.
func (l *trail) gets(hinted bool, events ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, events...)
	if hinted {
		close(l.change)
		l.change = make(chan struct{})
	}
}

func (l *trail) fails(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// A reader is told what comes, at once when the head changed and soon otherwise;
// where it stands when nothing does; and that etcd is away only after a while.
func TestEventReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &trail{change: make(chan struct{})}
		var mu sync.Mutex
		var got []string
		ended := make(chan error, 1)
		r := eventReader{
			tail: l, changed: l.changed, stopped: make(chan struct{}),
			match: func(e *pb.AuditEvent) bool { return e.GetAction() != "other" },
			send: func(m *pb.StreamEventsResponse) error {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, m.GetEvent().GetAction()+m.GetPosition())
				return nil
			},
		}
		go func() { ended <- r.run(t.Context()) }()
		want := func(wait time.Duration, want string) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if text := strings.Join(got, " "); text != want {
				t.Errorf("after %v: %q, want %q", wait, text, want)
			}
			got = nil
		}
		want(watchPause, "0")
		l.gets(true, "a", "b", "other", "c", "other")
		want(watchPause, "a1 b2 c4")
		l.gets(false, "d")
		want(eventsTick, "d6")
		l.gets(true, "other")
		want(watchHeartbeat-eventsTick-watchPause, "")
		want(2*eventsTick+watchPause, "7")
		want(2*watchHeartbeat, "7 7")
		l.fails(fmt.Errorf("read: %w", store.ErrUnavailable))
		want(eventsPatience-eventsTick, "")
		l.gets(false, "e")
		l.fails(nil)
		want(2*eventsTick, "e8")
		l.fails(store.ErrUnavailable)
		want(2*eventsPatience, "")
		if err := <-ended; status.Code(err) != codes.Unavailable {
			t.Errorf("it ended with %v", err)
		}
		for err, code := range map[error]codes.Code{store.ErrTrimmed: codes.OutOfRange, store.ErrDenied: codes.PermissionDenied} {
			l.fails(err)
			if got := r.run(t.Context()); status.Code(got) != code {
				t.Errorf("%v: it ended with %v", err, got)
			}
		}
	})
}

func TestEventStreamsAreBounded(t *testing.T) {
	s := &Server{}
	s.eventStreams.Store(maxEventStreams)
	if err := s.StreamEvents(&pb.StreamEventsRequest{}, nil); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one too many: %v", err)
	}
	if n := s.eventStreams.Load(); n != maxEventStreams {
		t.Errorf("%d are counted", n)
	}
}
