package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// maxSilence is how long a controller may be silent: three of its
	// heartbeats.
	maxSilence = 30 * time.Second
	// watchPause is how long to wait when no controller answers.
	watchPause = time.Second
)

func (a *app) watchCommand() *cobra.Command {
	var output format
	var initial bool
	c := &cobra.Command{
		Use:   "watch",
		Short: "Show changes as they happen",
		Long: `Show generations, verdicts, agents and nameservers that come, go or catch up,
vantages that are isolated, and what the mass-withdrawal guard and latches do, as it
happens, one line each, until it is interrupted. What is shown is what one
controller sees; when it goes, the next one is watched, and what changed meanwhile
is shown too, as far as that one knows it.

-o json prints one change a line.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error { return a.watch(c.Context(), initial, output) },
	}
	c.Flags().BoolVar(&initial, "initial", false, "show the present state first")
	output = formatTable
	c.Flags().VarP(&output, "output", "o", "table, wide or json (one change a line)")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) watch(ctx context.Context, initial bool, output format) error {
	if output == formatYAML || output == formatName {
		return usagef("-o %s: want table, wide or json", output)
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.close()
	w := &watcher{app: a, conns: c.conns, output: output, seen: newSeen(), maxSilence: maxSilence, pause: watchPause}
	return w.run(ctx, initial)
}

// watcher follows one controller after the other.
type watcher struct {
	*app
	conns             *controllers
	output            format
	seen              *seen
	heard             time.Time // the last message; zero: none yet
	maxSilence, pause time.Duration
}

var errSilent = errors.New("it has gone silent")

// run follows controllers until ctx ends, which is no error. It fails when
// none can be followed at the start, or when one refuses.
func (w *watcher) run(ctx context.Context, initial bool) error {
	var failed []attempt // since the last that could be followed
	lost, told := "", false
	for {
		t := w.conns.all[w.conns.next]
		began, before := time.Now(), w.heard
		reached, err := w.follow(ctx, t, initial, lost)
		if ctx.Err() != nil {
			return nil
		}
		if fatal := w.refused(t, err); fatal != nil {
			return fatal
		}
		if over, wait := overLimit(err); over {
			if w.patience(ctx, t.addr, wait) != nil {
				return nil
			}
			continue
		}
		w.conns.next = (w.conns.next + 1) % len(w.conns.all)
		failed = append(failed, attempt{addr: t.addr, reached: reached, message: message(err)})
		if w.heard != before {
			failed, lost, told = nil, t.addr, false
			fmt.Fprintf(w.Err, "fairlead: %s: %s; going on to %s\n", t.addr, clean(w.why(err)), w.nextName())
			if time.Since(began) > w.pause {
				continue
			}
		} else if len(failed) < len(w.conns.all) {
			continue
		}
		if len(failed) >= len(w.conns.all) {
			none := w.conns.unavailable(failed, false)
			if w.heard.IsZero() {
				return none
			}
			if !told {
				fmt.Fprintf(w.Err, "fairlead: %s; trying on\n", clean(none.Error()))
			}
			failed, told = nil, true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.pause):
		}
	}
}

func (w *watcher) nextName() string {
	if len(w.conns.all) == 1 {
		return "it again"
	}
	return w.conns.all[w.conns.next].addr
}

// refused is the error that ends everything: another controller would say the
// same. An UNIMPLEMENTED is none: the others may be newer.
func (w *watcher) refused(t callee, err error) error {
	st, ok := status.FromError(err)
	if !ok {
		if errors.Is(err, errOutput) {
			return err
		}
		return nil
	}
	switch st.Code() {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated:
		return &callError{addr: t.addr, st: st}
	case codes.Unimplemented:
		if w.heard.IsZero() && len(w.conns.all) == 1 {
			return &callError{addr: t.addr, st: st}
		}
	}
	return nil
}

// why is an error in a person's words.
func (w *watcher) why(err error) string {
	if errors.Is(err, io.EOF) {
		return "it ended the stream"
	}
	why, _ := dialReason(message(err), w.conns.flag, w.conns.security)
	return why
}

func message(err error) string {
	if st, ok := status.FromError(err); ok {
		return st.Message()
	}
	return err.Error()
}

// errOutput is that nobody reads what is printed.
var errOutput = errors.New("output")

// follow prints what one controller tells, until its stream ends, and says
// whether it was connected to. lost is the controller that was followed before.
func (w *watcher) follow(ctx context.Context, t callee, initial bool, lost string) (reached bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(w.timeout, func() { cancel(errSilent) })
	defer watchdog.Stop()
	fail := func(err error) error {
		if errors.Is(context.Cause(ctx), errSilent) {
			return errSilent
		}
		return err
	}
	catchingUp, gap := !w.heard.IsZero(), w.Now().Sub(w.heard)
	var p peer.Peer
	stream, err := pb.NewInsightServiceClient(t.conn).Watch(ctx, &pb.WatchRequest{Initial: initial || catchingUp}, grpc.Peer(&p), grpc.MaxCallRecvMsgSize(maxResponse))
	if err != nil {
		return p.Addr != nil, fail(err)
	}
	// Without headers it ended at once, and Recv says why.
	if header, err := stream.Header(); err == nil && header != nil {
		switch {
		case lost != "":
			fmt.Fprintf(w.Err, "fairlead: %s is followed now\n", t.addr)
		case w.Progress:
			fmt.Fprintf(w.Err, "%s is followed; Ctrl-C ends it\n", t.addr)
		}
		w.heard = w.Now()
	}
	for {
		watchdog.Reset(w.maxSilence)
		r, err := stream.Recv()
		if err != nil {
			return p.Addr != nil, fail(err)
		}
		w.heard = w.Now()
		if closesInitial(r) {
			catchingUp = false
		}
		if !w.seen.news(r, catchingUp, gap) {
			continue
		}
		if err := w.print(r); err != nil {
			return true, fmt.Errorf("%w: %w", errOutput, err)
		}
	}
}

// closesInitial tells whether a message comes behind the present state: that
// comes as changes from nothing, and a heartbeat follows it.
func closesInitial(r *pb.WatchResponse) bool {
	switch c := r.GetChange().(type) {
	case *pb.WatchResponse_Heartbeat:
		return true
	case *pb.WatchResponse_Generation:
		return !generation(c.Generation.GetPrevious()).IsZero()
	case *pb.WatchResponse_Verdict:
		return c.Verdict.GetBefore() != pb.HealthStatus_HEALTH_STATUS_UNSPECIFIED
	}
	return false
}

// print prints one change.
func (w *watcher) print(r *pb.WatchResponse) error {
	if w.output == formatJSON {
		return w.write(jsonLine(r))
	}
	p := w.printer()
	p.wide = w.output == formatWide
	printWatched(p, r)
	return w.write(p.Bytes(), nil)
}

// seen is what was told, so that the present state at another controller can
// be told as what changed.
type seen struct {
	generation *pb.Generation
	verdicts   map[string][2]pb.HealthStatus // by target: verdict and quorum
	members    map[string]string             // by kind and name
}

func newSeen() *seen {
	return &seen{verdicts: map[string][2]pb.HealthStatus{}, members: map[string]string{}}
}

// news takes a message in and tells whether it is to be shown. While catching
// up, what was not seen before counts as news only if it is younger than the
// gap.
func (s *seen) news(r *pb.WatchResponse, catchingUp bool, gap time.Duration) bool {
	switch c := r.GetChange().(type) {
	case *pb.WatchResponse_Generation:
		// Another controller may lag behind.
		now := c.Generation.GetGeneration()
		if s.generation != nil && generation(now).Compare(generation(s.generation)) <= 0 {
			return false
		}
		s.generation = now
		return true
	case *pb.WatchResponse_Verdict:
		h := c.Verdict.GetNow()
		now := [2]pb.HealthStatus{h.GetVerdict(), h.GetQuorum()}
		was, known := s.verdicts[h.GetTarget()]
		s.verdicts[h.GetTarget()] = now
		switch {
		case known:
			if c.Verdict.Before == pb.HealthStatus_HEALTH_STATUS_UNSPECIFIED {
				c.Verdict.Before = was[0]
			}
			return was != now
		case catchingUp:
			return h.GetVerdict() >= pb.HealthStatus_HEALTH_STATUS_HEALTHY && time.Duration(h.GetHeldMillis())*time.Millisecond <= gap
		}
		return true
	case *pb.WatchResponse_Member:
		key, now := memberKey(c.Member)
		was, known := s.members[key]
		s.members[key] = now
		if known || catchingUp {
			return known && was != now
		}
		return true
	case *pb.WatchResponse_Health:
		return true // never of the present state
	}
	return false // a heartbeat, or a change of a newer version's
}
