package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/cmd/internal/options"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// lever is one of the things that operators do to endpoints.
type lever struct {
	// action is what the control plane keeps, and breakGlass what nameservers are
	// told directly.
	action     pb.OverrideAction
	breakGlass pb.BreakGlassAction
	// done is what a scope is then: drained.
	done string
	// undo removes the action.
	undo bool
}

var (
	drains     = lever{pb.OverrideAction_OVERRIDE_ACTION_DRAIN, pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, "drained", false}
	undrains   = lever{pb.OverrideAction_OVERRIDE_ACTION_DRAIN, pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN, "no longer drained", true}
	forcesUp   = lever{pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP, pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_UP, "forced up", false}
	forcesDown = lever{pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN, pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_DOWN, "forced down", false}
	releases   = lever{done: "no longer forced", undo: true}
)

// withdraws tells whether it takes endpoints out of the answers, so that caches
// may hold what is not answered any more.
func (l lever) withdraws() bool {
	return !l.undo && l.action != pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP
}

// leverOptions are the flags of the commands that pull levers.
type leverOptions struct {
	scope          *pb.OverrideScope
	target         string // the scope, as it was typed
	reason, author string
	expire         expiryFlag
	start, end     string
	force, dryRun  bool
	etag           string
	direct         bool // break-glass
	nameservers    []string
	wait           waitFlag
	output         format
}

// jsonHelp tells what machines get.
const jsonHelp = `

-o json prints one object: of what the change made or removed, with --wait how far it
has come, and what else holds the scope. A name that is not there is empty, zero or
false; refused is true of what the safety rules refused. Names stay; new ones may come.`

const breakGlassHelp = `

With --break-glass the nameservers themselves are told, each by itself, and no
controller: for when none can write. It must say when it ends by itself
(--expire-after, at most 24h). The exit code is 3 when some of them did not do it,
and 1 when none did.`

// leverFlags adds the flags of a lever.
func (a *app) leverFlags(c *cobra.Command, l lever, o *leverOptions) {
	f := c.Flags()
	f.StringVar(&o.reason, "reason", "", "why; kept with the change")
	f.StringVar(&o.author, "author", username(), "who decides it (a context can name you)")
	options.NotInFile(f, "belongs into a context, under contexts", "author")
	direct := l.breakGlass != 0
	if direct {
		text := "remove it after this time, as 2h, or never; default: as the safety policy says"
		if l.undo {
			text = "with --break-glass: end it after this time, as 2h"
		}
		f.Var(&o.expire, "expire-after", text)
	}
	if !l.undo {
		f.StringVar(&o.start, "start", "", "let it begin then: 2026-11-23T22:00:00Z, 22:00 (UTC, the next one) or +2h")
		f.StringVar(&o.end, "end", "", "let it end then, as --start; +2h counts from the start")
		f.BoolVar(&o.dryRun, "dry-run", false, "let the safety rules judge it, and change nothing")
	}
	if direct {
		text := "with --break-glass, go on though a controller can write"
		if !l.undo {
			text = "pass the safety rules that are not absolute; the reason should say why. " + strings.ToUpper(text[:1]) + text[1:]
		}
		f.BoolVar(&o.force, "force", false, text)
	}
	f.StringVar(&o.etag, "etag", "", "refuse when what stands for the scope has another etag (override list -o wide shows it)")
	if direct {
		f.BoolVar(&o.direct, "break-glass", false, "tell the nameservers themselves, past the controllers")
		a.nameserversFlag(c, &o.nameservers)
	}
	waitFlagOf(c, &o.wait, l.withdraws())
	outputFlag(c, &o.output, "overrides/ID")
	// What is dangerous is said outright.
	for _, name := range []string{"force", "break-glass", "start", "end", "etag"} {
		if f.Lookup(name) != nil {
			options.CommandLineOnly(f, name)
		}
	}
}

// pull pulls a lever.
func (a *app) pull(c *cobra.Command, l lever, o leverOptions) (err error) {
	if o.author, err = a.author(o.author, c.Flags().Changed("author")); err != nil {
		return err
	}
	if err := wantReason(o.reason); err != nil {
		return err
	}
	if o.direct {
		return a.breakGlass(c.Context(), l, o)
	}
	if len(o.nameservers) > 0 {
		return usagef("--nameservers goes with --break-glass")
	}
	if l.undo && o.expire.given {
		return usagef("--expire-after goes with --break-glass: without it, %s is for good", c.Name())
	}
	w, err := parseWindow(o.start, o.end, o.expire, a.Now())
	if err != nil {
		return err
	}
	if o.wait.mode == waitCaches && !w.start.IsZero() {
		return usagef("--wait=caches: what begins later leaves nothing in caches yet; use --wait")
	}
	began := a.Now()
	var done *changed
	var seen *confirmation
	err = a.with(c.Context(), 0, func(ctx context.Context, c *client) error {
		if done, err = l.call(ctx, c, o, w); err == nil {
			done.committed = a.Now().Sub(began)
			done.compare(o, w, began)
			a.keepNameservers(ctx, c, true)
			if !o.dryRun {
				done.held = c.heldIn(ctx, done.scope(o.scope), done.own()).against(l)
			}
		}
		return err
	})
	if err != nil {
		return a.refused(err, o)
	}
	if o.wait.on() && !o.dryRun && done.generation != nil {
		seen, err = a.confirm(c.Context(), change{
			scope: done.scope(o.scope), generation: done.generation, withdraws: l.withdraws() && w.start.IsZero(),
			began: began, committed: done.committed, convergence: done.convergence,
		}, o.wait)
		if err != nil {
			return err
		}
	}
	err = a.emitChanged(o.output, done, seen, func(p *printer) { printChanged(p, l, o, done, seen) })
	if o.dryRun && done.safety != nil && !done.safety.GetAllowed() {
		return errors.Join(err, fmt.Errorf("the safety rules would refuse it (%s); nothing was changed", broken(done.safety)))
	}
	return errors.Join(err, seen.unconfirmed(a.Now()))
}

// clockSlip is how far the clocks of operator and controller may be apart for an
// override to count as made just now.
const clockSlip = 5 * time.Second

// changed is what pulling a lever changed.
type changed struct {
	response proto.Message
	// made is what stands now; nil of an undo.
	made *pb.Override
	// stood tells that it stood already.
	stood bool
	// differs tells that what stood is not as it was asked for.
	differs bool
	removed []*pb.Override
	// held is what else holds endpoints of the scope.
	held        held
	generation  *pb.Generation
	convergence *pb.Convergence
	safety      *pb.SafetyDecision
	end         *pb.BreakGlassEnd
	committed   time.Duration
}

// names are what -o name prints.
func (d *changed) names() (names []string) {
	if d.made != nil {
		names = append(names, overrideName(d.made.GetId()))
	}
	for _, o := range d.removed {
		names = append(names, overrideName(o.GetId()))
	}
	if d.end != nil {
		names = append(names, overrideName(d.end.GetId()))
	}
	return names
}

// own are the overrides that the change itself is about.
func (d *changed) own() []*pb.Override {
	if d.made != nil {
		return []*pb.Override{d.made}
	}
	return d.removed
}

func overrideName(id string) string { return "overrides/" + id }

// call makes the call.
func (l lever) call(ctx context.Context, c *client, o leverOptions, w window) (*changed, error) {
	region := o.scope.GetEndpoint() == ""
	var start *timestamppb.Timestamp
	if !w.start.IsZero() {
		start = timestamppb.New(w.start)
	}
	switch {
	case l.undo && region:
		resp, err := c.UndrainRegion(ctx, &pb.UndrainRegionRequest{
			Region: o.scope.GetRegion(), AvailabilityZone: o.scope.GetAvailabilityZone(), Service: o.scope.GetService(),
			Reason: o.reason, Author: o.author, Etag: o.etag, RequestId: newRequestID(),
		})
		if err != nil {
			return nil, err
		}
		return &changed{response: resp, removed: resp.GetRemoved(), generation: resp.GetGeneration(), convergence: resp.GetConvergence()}, nil
	case l.undo:
		return l.remove(ctx, c, o)
	case region:
		req := &pb.DrainRegionRequest{
			Region: o.scope.GetRegion(), AvailabilityZone: o.scope.GetAvailabilityZone(), Service: o.scope.GetService(),
			Reason: o.reason, Author: o.author, ExpireAfter: w.expires, StartTime: start,
			Force: o.force, DryRun: o.dryRun, Etag: o.etag, RequestId: newRequestID(),
		}
		resp, err := c.DrainRegion(ctx, req)
		if err != nil {
			return nil, err
		}
		return &changed{response: resp, made: resp.GetOverride(), generation: resp.GetGeneration(), convergence: resp.GetConvergence(), safety: resp.GetSafety()}, nil
	}
	resp, err := c.CreateOverride(ctx, &pb.CreateOverrideRequest{
		Action: l.action, Scope: o.scope, Reason: o.reason, Author: o.author, ExpireAfter: w.expires, StartTime: start,
		Force: o.force, DryRun: o.dryRun, Etag: o.etag, RequestId: newRequestID(),
	})
	if err != nil {
		return nil, err
	}
	return &changed{response: resp, made: resp.GetOverride(), generation: resp.GetGeneration(), convergence: resp.GetConvergence(), safety: resp.GetSafety()}, nil
}

// remove removes what a lever made for an endpoint; of a release, all that forces.
func (l lever) remove(ctx context.Context, c *client, o leverOptions) (*changed, error) {
	actions := []pb.OverrideAction{l.action}
	if l == releases {
		actions = c.forced(ctx, o.scope)
	}
	all := &pb.DeleteOverrideResponse{}
	for _, action := range actions {
		resp, err := c.DeleteOverride(ctx, &pb.DeleteOverrideRequest{
			Action: action, Scope: o.scope, Reason: o.reason, Author: o.author, Etag: o.etag, RequestId: newRequestID(),
		})
		if err != nil && len(all.Removed) > 0 {
			return nil, fmt.Errorf("half of it is done: %s is removed in generation %v, and %s may still stand; repeat the command: %w",
				word(all.Removed[0].GetAction(), "OVERRIDE_ACTION_"), generation(all.Generation), word(action, "OVERRIDE_ACTION_"), err)
		}
		if err != nil {
			return nil, err
		}
		all.Removed = append(all.Removed, resp.GetRemoved()...)
		all.Generation, all.Convergence = resp.GetGeneration(), resp.GetConvergence()
	}
	return &changed{response: all, removed: all.GetRemoved(), generation: all.GetGeneration(), convergence: all.GetConvergence()}, nil
}

// compare tells whether what stands was made by this command.
func (d *changed) compare(asked leverOptions, w window, began time.Time) {
	if d.made == nil || d.safety != nil {
		return
	}
	d.differs = !asAsked(d.made, asked, w)
	at := d.made.GetCreateTime()
	d.stood = d.differs || at != nil && began.Sub(at.AsTime()) > clockSlip
}

// forced are the actions that force an endpoint now or are scheduled to; where nothing
// does, one, so that the controller judges the name; where that cannot be listed, both.
func (c *client) forced(ctx context.Context, scope *pb.OverrideScope) (actions []pb.OverrideAction) {
	both := []pb.OverrideAction{pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP, pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN}
	list, err := c.overrides(ctx)
	if err != nil {
		return both
	}
	for _, action := range both {
		if slices.ContainsFunc(slices.Concat(list.GetOverrides(), list.GetScheduled()), func(o *pb.Override) bool {
			return o.GetAction() == action && scopeText(o.GetScope()) == scopeText(scope)
		}) {
			actions = append(actions, action)
		}
	}
	if len(actions) == 0 {
		return both[:1]
	}
	return actions
}

// asAsked tells whether an override is as it was asked for. One that stood already
// stays as it is, and may differ.
func asAsked(o *pb.Override, asked leverOptions, w window) bool {
	if w.expires != nil {
		began, lasts := o.GetCreateTime(), time.Duration(0)
		if o.GetStartTime() != nil {
			began = o.GetStartTime()
		}
		if o.GetExpireTime() != nil {
			lasts = o.GetExpireTime().AsTime().Sub(began.AsTime())
		}
		asked := w.expires.AsDuration()
		if (lasts == 0) != (asked == 0) || (lasts-asked).Abs() > time.Second {
			return false
		}
	}
	return o.GetReason() == asked.reason && (asked.author == "" || o.GetAuthor() == asked.author)
}
