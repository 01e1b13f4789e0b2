package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// pollEvery is how often a controller is asked how far a change has come, and
	// pollTimeout how long for an answer.
	pollEvery   = 500 * time.Millisecond
	pollTimeout = 3 * time.Second
	// clockSlack is how much longer than the drain clock said is waited for it.
	clockSlack = 10 * time.Second
)

// change is a change of overrides that is to be confirmed.
type change struct {
	// scope is nil where it is not known.
	scope      *pb.OverrideScope
	generation *pb.Generation
	// withdraws tells that it takes endpoints out of the answers.
	withdraws bool
	began     time.Time
	committed time.Duration
	// convergence is what the change's own answer told, if anything.
	convergence *pb.Convergence
}

// confirmation is how far a change has come.
type confirmation struct {
	change
	mode string
	// last is what a controller told last, at heard.
	last  *pb.GetOverrideProgressResponse
	heard time.Time
	// samples are the counts of answers with drained endpoints, by nameserver,
	// each with when: the newest last, over a second or two.
	samples []sample
	// older says why nothing but the nameservers' generations is known.
	older string
	// trouble is why there was no answer just now.
	trouble string
	// served is when every nameserver served it, cached when no cache held what was
	// before; 0: not yet.
	served, cached time.Duration
	waited         time.Duration
	limit          time.Duration
	interrupted    bool
}

type sample struct {
	at     time.Time
	counts map[string]uint64
}

// confirm waits until a change is served, and with --wait=caches until no compliant
// cache holds an answer from before, and shows meanwhile how far it has come. What
// was not reached is no error: unconfirmed tells it.
func (a *app) confirm(ctx context.Context, ch change, w waitFlag) (*confirmation, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	defer c.close()
	x := &confirmation{change: ch, mode: w.mode, limit: a.waitLimit(w)}
	if len(ch.convergence.GetMissing())+len(ch.convergence.GetServing()) > 0 {
		x.last = &pb.GetOverrideProgressResponse{Generation: ch.generation, Convergence: ch.convergence}
	}
	bounded := w.limit > 0 || a.flags.Changed("timeout")
	view := a.screen()
	defer view.close()
	for {
		x.poll(ctx, c, a.Now)
		x.waited = a.Now().Sub(ch.began)
		view.show(x.frame(a.Now()))
		deadline := x.limit
		if left, ok := x.clockLeft(a.Now()); x.served > 0 && ok && !bounded {
			deadline = max(x.limit, x.waited+left+clockSlack)
		}
		if x.reached() || x.waited >= deadline {
			return x, nil
		}
		t := time.NewTimer(min(pollEvery, deadline-x.waited))
		select {
		case <-ctx.Done():
			t.Stop()
			x.interrupted = true
			return x, nil
		case <-t.C:
		}
	}
}

// followed waits, where that is asked for, until a change of the configuration is
// served, and tells who serves it.
func (a *app) followed(ctx context.Context, g *pb.Generation, began time.Time, w waitFlag) (*pb.Convergence, error) {
	if !w.on() {
		return nil, nil
	}
	x, err := a.confirm(ctx, change{generation: g, began: began, committed: a.Now().Sub(began)}, w)
	if err != nil {
		return nil, err
	}
	return x.last.GetConvergence(), x.unconfirmed(a.Now())
}

// reached tells whether all that is waited for has come.
func (x *confirmation) reached() bool {
	if x.mode == waitCaches && x.withdraws && x.older == "" {
		return x.cached > 0
	}
	return x.served > 0
}

// poll asks once.
func (x *confirmation) poll(ctx context.Context, c *client, now func() time.Time) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	var resp *pb.GetOverrideProgressResponse
	var err error
	if x.scope != nil && x.older == "" {
		resp, err = c.GetOverrideProgress(ctx, &pb.GetOverrideProgressRequest{Scope: x.scope, Generation: x.generation})
		switch st, _ := status.FromError(err); st.Code() {
		case codes.Unimplemented:
			x.older = c.conns.answerer() + " is of an older version, and does not know how long caches keep what was answered"
		case codes.PermissionDenied, codes.InvalidArgument, codes.NotFound:
			x.older = "how long caches keep what was answered is not known: " + err.Error()
		}
	}
	if x.scope == nil || x.older != "" {
		resp, err = c.progressByStatus(ctx, x.generation)
	}
	if err != nil {
		x.trouble = err.Error()
		return
	}
	x.take(resp, now())
}

// progressByStatus is what a controller of an older version can tell.
func (c *client) progressByStatus(ctx context.Context, g *pb.Generation) (*pb.GetOverrideProgressResponse, error) {
	st, err := c.GetStatus(ctx, &pb.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	out := &pb.Convergence{Reasons: map[string]string{}}
	for _, n := range st.GetNameservers() {
		switch name := n.GetNameserver(); {
		case n.GetConnected() && generation(n.GetGeneration()).Compare(generation(g)) >= 0:
			out.Serving = append(out.Serving, name)
		case !n.GetRegistered():
		default:
			out.Missing = append(out.Missing, name)
			switch {
			case !n.GetConnected():
				out.Reasons[name] = "not connected"
			case n.GetRefusal() != "":
				out.Reasons[name] = n.GetRefusal()
			}
		}
	}
	return &pb.GetOverrideProgressResponse{Generation: st.GetGeneration(), Convergence: out}, nil
}

// take takes an answer in.
func (x *confirmation) take(resp *pb.GetOverrideProgressResponse, now time.Time) {
	x.last, x.heard, x.trouble = resp, now, ""
	counts := map[string]uint64{}
	for _, n := range resp.GetNameservers() {
		if n.GetUsage() != nil {
			counts[n.GetNameserver()] = n.GetUsage().GetLastResortAnswers()
		}
	}
	x.samples = append(x.samples, sample{now, counts})
	for len(x.samples) > 2 && now.Sub(x.samples[1].at) >= time.Second {
		x.samples = x.samples[1:]
	}
	after := max(now.Sub(x.began), time.Millisecond)
	switch {
	case len(resp.GetConvergence().GetMissing()) > 0:
		x.served, x.cached = 0, 0 // one that was gone for a moment may be back with an old generation
		return
	case x.served == 0:
		x.served = after
	}
	left, known := x.clockLeft(now)
	switch {
	case !known || left > 0 || len(resp.GetUnknown()) > 0:
		x.cached = 0
	case x.cached == 0:
		x.cached = after
	}
}

// clockLeft is how much longer a compliant cache may hold an answer from before, of
// those nameservers that serve the change, and whether any has told that. What nameservers say is how much longer, so the
// clocks of controller and operator may differ.
func (x *confirmation) clockLeft(now time.Time) (left time.Duration, known bool) {
	if !x.withdraws || x.last == nil || x.older != "" {
		return 0, false
	}
	told := false
	var most time.Duration
	for _, n := range x.last.GetNameservers() {
		if n.GetUsage() != nil && !slices.Contains(x.last.GetConvergence().GetMissing(), n.GetNameserver()) {
			told = true
			most = max(most, time.Duration(n.GetUsage().GetCachedMillis())*time.Millisecond)
		}
	}
	if told {
		return max(0, most-now.Sub(x.heard)), true
	}
	if at := x.last.GetCachedUntil(); at != nil {
		return max(0, at.AsTime().Sub(now)), true
	}
	return 0, !x.heard.IsZero() && len(x.last.GetUnknown()) == 0
}

// stillAnswers says which nameservers answered with the scope in the last second or
// so, and how often; empty: none did.
func (x *confirmation) stillAnswers() []string {
	var out []string
	for _, n := range x.last.GetNameservers() {
		u := n.GetUsage()
		if u == nil || u.LastAnswerMillis == nil || u.GetLastAnswerMillis() > uint64(2*pollEvery.Milliseconds()) {
			continue
		}
		if more := x.more(n.GetNameserver()); more > 0 {
			out = append(out, fmt.Sprintf("%d at %s", more, n.GetNameserver()))
		} else if slices.Contains(x.last.GetConvergence().GetMissing(), n.GetNameserver()) {
			out = append(out, "some at "+n.GetNameserver())
		}
	}
	return out
}

// more is how many answers with drained endpoints a nameserver gave since the oldest
// sample.
func (x *confirmation) more(nameserver string) uint64 {
	first, last := x.samples[0].counts[nameserver], x.samples[len(x.samples)-1].counts[nameserver]
	if len(x.samples) < 2 || last < first {
		return 0
	}
	return last - first
}

// unconfirmed is nil when all that was waited for has come.
func (x *confirmation) unconfirmed(now time.Time) error {
	if x == nil || x.reached() {
		return nil
	}
	lead := "not converged: after " + exact(x.limit)
	switch {
	case x.interrupted:
		lead = "interrupted before it converged; the change is made all the same: after " + human(x.waited)
	case x.served > 0:
		lead = "not converged: after " + human(x.waited)
	}
	if x.served > 0 {
		left, _ := x.clockLeft(now)
		text := fmt.Sprintf("%s, caches may hold answers with %s", lead, scopeText(x.scope))
		switch {
		case left > 0:
			text += fmt.Sprintf(" until %s (%s)", oclock(now.Add(left), now), in(now.Add(left), now))
		case x.last != nil && len(x.last.GetUnknown()) > 0:
			text += ": it is not known what " + strings.Join(x.last.GetUnknown(), ", ") + " answered"
		}
		return notConvergedError{fmt.Errorf("%s", text)}
	}
	if x.last == nil {
		return notConvergedError{fmt.Errorf("%s it is not known who serves generation %v: %s", lead, generation(x.generation), x.trouble)}
	}
	return notConvergedError{fmt.Errorf("%s, generation %v is not served by %s; `fairlead status` says more",
		lead, generation(x.generation), laggards(x.last.GetConvergence()))}
}

// laggards are the nameservers that do not serve it, with why.
func laggards(c *pb.Convergence) string {
	var out []string
	for _, name := range c.GetMissing() {
		if why := c.GetReasons()[name]; why != "" {
			name += " (" + why + ")"
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}
