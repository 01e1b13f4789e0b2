package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// awayEvery is how often a change that waits for etcd asks whether it is away.
const awayEvery = 50 * time.Millisecond

// breakGlassCommand is the command that tells nameservers directly to do what an
// override would have done, or with undo what its end would.
func breakGlassCommand(a pb.OverrideAction, scope *pb.OverrideScope, undo bool) string {
	verb, what := "region drain", cmp.Or(scope.GetRegion(), "REGION")
	if scope.GetEndpoint() != "" {
		verb, what = "endpoint drain", scope.GetService()+"/"+scope.GetEndpoint()
		switch a {
		case pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP:
			verb = "endpoint force-up"
		case pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN:
			verb = "endpoint force-down"
		}
	}
	if undo {
		verb, _, _ = strings.Cut(verb, " ")
		verb += " undrain"
	}
	if az := scope.GetAvailabilityZone(); az != "" {
		what += " --availability-zone " + az
	}
	if svc := scope.GetService(); svc != "" && scope.GetEndpoint() == "" {
		what += " --service " + svc
	}
	return "fairlead " + verb + " " + what + " --break-glass --expire-after 1h --reason REASON"
}

// readOnly says why nothing can be written, and is empty where nothing is known
// that stands against it.
func (s *Server) readOnly() string {
	if a := s.opts.Planner.Away(); a != nil {
		return fmt.Sprintf("etcd does not answer or has no quorum since %s (%v): %v", a.Since.UTC().Format(time.RFC3339), time.Since(a.Since).Round(time.Second), a.Err)
	}
	if r := s.opts.Planner.Refusal(); r != "" {
		return "the head is not trusted: " + r
	}
	return ""
}

// electionTime is how long etcd may be without a leader while nothing is wrong but
// one member: a write that waits so long is carried out.
const electionTime = 5 * time.Second

// away tells whether etcd is known to be away for longer than an election takes.
func (s *Server) away() bool {
	a := s.opts.Planner.Away()
	return a != nil && time.Since(a.Since) >= electionTime
}

// refuseWrites fails a write at once while etcd is known to be away.
func (s *Server) refuseWrites(c *change) error {
	if !s.away() {
		return nil
	}
	return status.Errorf(codes.Unavailable, "nothing was written, this controller is read-only: %s; %s", shorten(s.readOnly()), c.instead())
}

// whileReadable returns a context that ends when etcd is found to be away before
// read is called: so long a change has written nothing, and there is no use in
// waiting longer than whoever follows the head did. After read it does not end:
// what is on its way to etcd then, etcd alone can tell of.
func (s *Server) whileReadable(parent context.Context) (ctx context.Context, read func()) {
	return untilRead(parent, func() error {
		if !s.away() {
			return nil
		}
		return fmt.Errorf("%w: %s", store.ErrUnavailable, s.readOnly())
	})
}

func untilRead(parent context.Context, away func() error) (ctx context.Context, read func()) {
	ctx, cancel := context.WithCancelCause(parent)
	done := make(chan struct{})
	var first sync.Once // of the two: that it is read, and that etcd is away
	go func() {
		t := time.NewTicker(awayEvery)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				if err := away(); err != nil {
					first.Do(func() { cancel(err) })
					return
				}
			}
		}
	}()
	return ctx, func() { first.Do(func() { close(done) }) }
}

// instead is what can be done while nothing can be written.
func (c *change) instead() string {
	command := c.breakGlass
	if command == "" {
		command = breakGlassCommand(pb.OverrideAction_OVERRIDE_ACTION_DRAIN, nil, false)
	}
	return "another controller may reach etcd, and where none does, tell the nameservers: " + command
}

// hinted adds to the store's own error what can be done.
func (c *change) hinted(err error) error {
	if errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknownOutcome) {
		return status.Error(codes.Unavailable, status.Convert(toStatus(err)).Message()+"; "+c.instead())
	}
	return toStatus(err)
}

// controlAge is how long ago etcd last confirmed what is published, in milliseconds.
func (s *Server) controlAge(now time.Time) uint64 {
	at := s.opts.Planner.Confirmed()
	if at.IsZero() {
		return 0
	}
	return healthpb.Millis(max(now.Sub(at), 0))
}
