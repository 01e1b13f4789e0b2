package api

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// maxEventStreams bounds the readers of StreamEvents together: each reads
	// etcd once in eventsTick at least, and at most once in watchPause.
	maxEventStreams = 100
	eventsTick      = time.Second
	// eventsPatience is how long a stream goes on while etcd does not answer.
	eventsPatience = 30 * time.Second
	// maxFilter bounds a field of a filter, in bytes.
	maxFilter = 512
)

// ListEvents implements pb.InsightServiceServer.
func (s *Server) ListEvents(ctx context.Context, req *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
	size, err := pageSize(req, historyPage)
	if err != nil {
		return nil, err
	}
	match, err := eventFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	q := store.EventQuery{Limit: size, Page: req.GetPageToken()}
	if f := req.GetFilter(); f != nil {
		q.Match = match
		if f.GetSince() != nil {
			q.Since = f.GetSince().AsTime()
		}
	}
	events, next, err := s.opts.Catalog.Events(ctx, q)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.ListEventsResponse{Events: events, NextPageToken: next}, nil
}

// StreamEvents implements pb.InsightServiceServer.
func (s *Server) StreamEvents(req *pb.StreamEventsRequest, stream pb.InsightService_StreamEventsServer) error {
	match, err := eventFilter(req.GetFilter())
	if err != nil {
		return err
	}
	if s.eventStreams.Add(1) > maxEventStreams {
		s.eventStreams.Add(-1)
		return status.Errorf(codes.ResourceExhausted, "%d stream events from this controller already: ask another", maxEventStreams)
	}
	defer s.eventStreams.Add(-1)
	tail, err := s.opts.Catalog.Tail(stream.Context(), req.GetAfter())
	if err != nil {
		return toStatus(err)
	}
	r := eventReader{tail: tail, match: match, changed: s.opts.Planner.Changed, stopped: s.stopped, send: stream.Send}
	return r.run(stream.Context())
}

// eventReader reads what is behind the last event that it read, when the head has
// changed and now and then: a refusal changes no head, and a watch is a hint.
type eventReader struct {
	tail interface {
		Next(ctx context.Context) ([]store.Positioned, error)
		Position() string
	}
	match   func(*pb.AuditEvent) bool
	changed func() <-chan struct{}
	stopped <-chan struct{}
	send    func(*pb.StreamEventsResponse) error

	sent time.Time
}

func (r *eventReader) run(ctx context.Context) error {
	// So that whoever loses the stream before the first event misses none.
	if err := r.message(nil, r.tail.Position()); err != nil {
		return err
	}
	tick := time.NewTicker(eventsTick)
	defer tick.Stop()
	answered := time.Now()
	for {
		changed := r.changed()
		events, err := r.tail.Next(ctx)
		switch {
		case err == nil:
			answered = time.Now()
		case !errors.Is(err, store.ErrUnavailable) || time.Since(answered) > eventsPatience:
			return toStatus(err)
		}
		for _, e := range events {
			if !r.match(e.AuditEvent) {
				continue
			}
			if err := r.message(e.AuditEvent, e.Position); err != nil {
				return err
			}
		}
		if err == nil && time.Since(r.sent) >= watchHeartbeat { // else nobody knows whether there is nothing new
			if err := r.message(nil, r.tail.Position()); err != nil {
				return err
			}
		}
		if len(events) > 0 {
			continue // there may be more
		}
		if err := r.wait(ctx, time.After(watchPause), nil); err != nil {
			return err
		}
		if err := r.wait(ctx, tick.C, changed); err != nil {
			return err
		}
	}
}

func (r *eventReader) message(e *pb.AuditEvent, position string) error {
	r.sent = time.Now()
	return r.send(&pb.StreamEventsResponse{Event: e, Position: position})
}

func (r *eventReader) wait(ctx context.Context, until <-chan time.Time, changed <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-r.stopped:
		return errStopping
	case <-until:
	case <-changed:
	}
	return nil
}

// eventFilter tells which events a filter selects; nil selects all.
func eventFilter(f *pb.EventFilter) (func(*pb.AuditEvent) bool, error) {
	for _, field := range []struct{ name, value string }{
		{"actor", f.GetActor()}, {"action", f.GetAction()}, {"subject", f.GetSubject()}, {"request_id", f.GetRequestId()},
	} {
		if len(field.value) > maxFilter {
			return nil, status.Errorf(codes.InvalidArgument, "filter: %s: %d bytes, at most %d", field.name, len(field.value), maxFilter)
		}
	}
	switch f.GetResult() {
	case "", store.ResultDone, store.ResultForced, store.ResultRefused:
	default:
		return nil, status.Errorf(codes.InvalidArgument, "filter: result: %.80q, want %s, %s or %s", f.GetResult(), store.ResultDone, store.ResultForced, store.ResultRefused)
	}
	for _, field := range []struct {
		name  string
		value *timestamppb.Timestamp
	}{{"since", f.GetSince()}, {"until", f.GetUntil()}} {
		if field.value != nil && !field.value.IsValid() {
			return nil, status.Errorf(codes.InvalidArgument, "filter: %s: no time: %v", field.name, field.value.CheckValid())
		}
	}
	if f.GetSince() != nil && f.GetUntil() != nil && !f.GetSince().AsTime().Before(f.GetUntil().AsTime()) {
		return nil, status.Errorf(codes.InvalidArgument, "filter: since (%s) is not before until (%s)",
			f.GetSince().AsTime().Format(time.RFC3339), f.GetUntil().AsTime().Format(time.RFC3339))
	}
	return func(e *pb.AuditEvent) bool {
		at := e.GetTime().AsTime()
		switch {
		case f == nil:
			return true
		case f.GetSince() != nil && at.Before(f.GetSince().AsTime()), f.GetUntil() != nil && !at.Before(f.GetUntil().AsTime()):
			return false
		case f.GetResult() != "" && f.GetResult() != resultOf(e):
			return false
		case f.GetRequestId() != "" && f.GetRequestId() != e.GetRequestId():
			return false
		case !strings.HasPrefix(e.GetAction(), f.GetAction()):
			return false
		case f.GetActor() != "" && !named(e.GetActor(), f.GetActor()) && !named(e.GetAuthor(), f.GetActor()):
			return false
		}
		return f.GetSubject() == "" || concerns(e, f.GetSubject())
	}, nil
}

// resultOf is an event's result; events of older versions have none.
func resultOf(e *pb.AuditEvent) string {
	if e.GetResult() == "" {
		return store.ResultDone
	}
	return e.GetResult()
}

// named tells whether whole is a name, or ends with it, as operator/alice with
// alice.
func named(whole, name string) bool {
	return whole == name || strings.HasSuffix(whole, "/"+name)
}

// concerns tells whether an event is about a subject, a name or a kind. A subject
// of an event may have several parts, as that of an override.
func concerns(e *pb.AuditEvent, subject string) bool {
	subject = strings.ToLower(strings.TrimSuffix(subject, "."))
	for _, s := range e.GetSubjects() {
		for part := range strings.FieldsSeq(strings.ToLower(s)) {
			if named(part, subject) || strings.HasPrefix(part, subject+"/") {
				return true
			}
		}
	}
	return false
}
