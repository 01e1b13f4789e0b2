package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// followEvents prints events as they are written.
func (a *app) followEvents(ctx context.Context, o eventOptions) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.close()
	f := &eventFollower{app: a, c: c, o: o, listed: map[string]bool{}, maxSilence: maxSilence, pause: watchPause}
	return f.run(ctx)
}

// eventFollower follows the events at one controller after the other.
type eventFollower struct {
	*app
	c *client
	o eventOptions
	// position is where to go on from; empty: nothing was heard yet.
	position string
	// listed are the events that were printed from the list, which the stream may
	// tell again.
	listed            map[string]bool
	maxSilence, pause time.Duration
}

// run follows until ctx ends, which is no error. It fails when no controller can be
// followed at the start, or when one refuses.
func (f *eventFollower) run(ctx context.Context) error {
	conns := f.c.conns
	var failed []attempt
	told := false
	for {
		t := conns.all[conns.next]
		before := f.position
		reached, err := f.follow(ctx, t)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errOutput) {
			return err
		}
		if over, wait := overLimit(err); over {
			if f.patience(ctx, t.addr, wait) != nil {
				return nil
			}
			continue
		}
		switch st, _ := status.FromError(err); st.Code() {
		case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated:
			return &callError{addr: t.addr, st: st}
		case codes.Unimplemented:
			if len(conns.all) == 1 {
				return &callError{addr: t.addr, st: st}
			}
		case codes.OutOfRange:
			fmt.Fprintf(f.Err, "fairlead: %s: %s; going on with what is written from now on\n", t.addr, clean(st.Message()))
			f.position = ""
			continue
		}
		conns.next = (conns.next + 1) % len(conns.all)
		if f.position != before { // it was heard
			failed, told = nil, false
			fmt.Fprintf(f.Err, "fairlead: %s: %s; going on after the last event\n", t.addr, clean(f.lost(err)))
		}
		failed = append(failed, attempt{addr: t.addr, reached: reached, message: message(err)})
		if len(failed) < len(conns.all) {
			continue
		}
		none := conns.unavailable(failed, false)
		if f.position == "" {
			return none
		}
		if !told {
			fmt.Fprintf(f.Err, "fairlead: %s; trying on\n", clean(none.Error()))
		}
		failed, told = nil, true
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(f.pause):
		}
	}
}

// lost is in words why a stream ended.
func (f *eventFollower) lost(err error) string {
	if errors.Is(err, io.EOF) {
		return "it ended the stream"
	}
	why, _ := dialReason(message(err), f.c.conns.flag, f.c.conns.security)
	return why
}

// follow prints what one controller tells, until its stream ends, and says whether
// it was connected to.
func (f *eventFollower) follow(ctx context.Context, t callee) (reached bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(f.timeout, func() { cancel(errSilent) })
	defer watchdog.Stop()
	fail := func(err error) error {
		if errors.Is(context.Cause(ctx), errSilent) {
			return errSilent
		}
		return err
	}
	var p peer.Peer
	req := &pb.StreamEventsRequest{Filter: f.o.filter, After: f.position}
	stream, err := pb.NewInsightServiceClient(t.conn).StreamEvents(ctx, req, grpc.Peer(&p), grpc.MaxCallRecvMsgSize(maxResponse))
	if err != nil {
		return p.Addr != nil, fail(err)
	}
	for {
		r, err := stream.Recv()
		if err != nil {
			return p.Addr != nil, fail(err)
		}
		watchdog.Reset(f.maxSilence)
		if f.position == "" && r.GetEvent() == nil {
			// The stream has begun: what there was before is listed, and nothing is missed
			// in between.
			if err := f.before(ctx); err != nil {
				return true, fail(err)
			}
		}
		if e := r.GetEvent(); e != nil && !f.listed[eventKey(e)] {
			if err := f.print(e); err != nil {
				return true, err
			}
		}
		f.position = r.GetPosition()
	}
}

// before prints the newest events that there are, oldest first.
func (f *eventFollower) before(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	all, err := f.c.events(ctx, f.o.filter, f.o.limit)
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(all.GetEvents()) {
		if f.listed[eventKey(e)] {
			continue
		}
		f.listed[eventKey(e)] = true
		if err := f.print(e); err != nil {
			return err
		}
	}
	if f.Progress {
		fmt.Fprintln(f.Err, "following; Ctrl-C ends it")
	}
	return nil
}

// eventKey tells events apart.
func eventKey(e *pb.AuditEvent) string {
	return fmt.Sprint(generation(e.GetGeneration()), e.GetTime().AsTime().UnixNano(), e.GetAction(), e.GetRequestId())
}

// print prints one event as a line.
func (f *eventFollower) print(e *pb.AuditEvent) error {
	var err error
	if f.o.output == formatJSON {
		err = f.write(jsonLine(e))
	} else {
		p := f.printer()
		p.wide = f.o.output == formatWide
		printEvent(p, e)
		err = f.write(p.Bytes(), nil)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

// printEvent prints an event that stands alone.
func printEvent(p *printer, e *pb.AuditEvent) {
	by := e.GetActor()
	if author := authorBesides(e); author != "" {
		by += " for " + author
	}
	if e.GetPeer() != "" {
		by += " from " + e.GetPeer()
	}
	result := resultCell(e)
	text := fmt.Sprintf("%s  %-7s  %s %s, by %s", moment(e.GetTime()), result.text, e.GetAction(), subjects(p, e), by)
	if e.GetReason() != "" {
		text += ": " + e.GetReason()
	}
	p.linef(result.style, "%s (%s)", text, inGeneration(e.GetGeneration()))
	if p.wide {
		for _, l := range eventWords(e) {
			p.linef(l.style, "    %s", l.text)
		}
	}
}
