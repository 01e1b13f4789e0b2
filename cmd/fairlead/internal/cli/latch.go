package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-dns/fairlead/cmd/internal/options"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func (a *app) latchCommand() *cobra.Command {
	return group("latch", "See what waits for a person, and release it", `A latch waits for a person. failback/SERVICE/REGION: a region of a service whose
failback is manual was out of service, and comes back only when it is released.
guard: the mass-withdrawal guard holds verdicts HEALTHY that many targets lost at
once, on evidence that could be the vantages' own broken path.`,
		a.latchListCommand(), a.latchReleaseCommand())
}

func (a *app) latchListCommand() *cobra.Command {
	var output format
	c := &cobra.Command{
		Use:   "list",
		Short: "List the latches that stand",
		Long: `List the latches that stand, as one controller knows them: regions of services
that wait for a release, and what the mass-withdrawal guard holds (its first ten
targets; with -o wide a hundred).`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), 0, func(ctx context.Context, c *client) error {
				st, err := c.GetStatus(ctx, &pb.GetStatusRequest{})
				if err != nil {
					return err
				}
				return a.latches(output, st)
			})
		},
	}
	outputFlag(c, &output, "the latches")
	return c
}

func (a *app) latches(output format, st *pb.GetStatusResponse) error {
	names := latchNames(st)
	if len(names) == 0 && (output == formatTable || output == formatWide) {
		fmt.Fprintf(a.Err, "no latches; %s\n", inGeneration(st.GetGeneration()))
		return nil
	}
	only := &pb.GetStatusResponse{Controller: st.GetController(), Generation: st.GetGeneration(), Latches: st.GetLatches(), Guard: st.GetGuard()}
	return a.emit(output, only, names, func(p *printer) {
		printLatches(p, st.GetLatches())
		if len(st.GetLatches()) > 0 && st.GetGuard().GetHeld() > 0 {
			p.WriteByte('\n')
		}
		if g := st.GetGuard(); g.GetHeld() > 0 {
			p.linef(red, "%s", holds(g))
			printGuard(p, g)
		}
	})
}

// latchNames are the latches that stand, as a release names them.
func latchNames(st *pb.GetStatusResponse) (names []string) {
	for _, l := range st.GetLatches() {
		names = append(names, latchName(l.GetLatch()))
	}
	if st.GetGuard().GetHeld() > 0 {
		names = append(names, regions.GuardLatch)
	}
	return names
}

func latchName(l *pb.Latch) string { return regions.FailbackLatch(l.GetService(), l.GetRegion()) }

// printLatches lists regions of services that wait, and says what releases them.
func printLatches(p *printer, latches []*pb.LatchStatus) {
	if len(latches) == 0 {
		return
	}
	t := newTable("LATCH", ">TRIP", "SINCE", "STATE")
	for _, l := range latches {
		state := cell{"no endpoint of the region can serve yet", red}
		if l.GetHealthy() {
			state = cell{"healthy, and waits for a release", yellow}
		}
		t.row(latchName(l.GetLatch()), fmt.Sprint(l.GetLatch().GetTrip()), millis(l.GetLatch().GetHeldMillis())+" ago", state)
	}
	t.print(p)
	which := "LATCH"
	if len(latches) == 1 {
		which = latchName(latches[0].GetLatch())
	}
	p.linef(plain, "%s", releaseWith(which))
}

func releaseWith(latch string) string {
	return "release with: fairlead latch release " + latch + " --reason TEXT"
}

// fewHeld is how many of the targets that the guard holds are named without -o wide.
const fewHeld = 10

// printGuard tells why the mass-withdrawal guard holds what, and what releases it.
func printGuard(p *printer, g *pb.GuardStatus) {
	p.linef(plain, "%s", sentence(g.GetReason()))
	most := fewHeld
	if p.wide {
		most = len(g.GetTargets())
	}
	named := g.GetTargets()[:min(most, len(g.GetTargets()))]
	held := strings.Join(named, ", ")
	if n := int(g.GetHeld()) - len(named); n > 0 {
		held += fmt.Sprintf(" and %d more", n)
	}
	p.linef(plain, "held: %s", held)
	p.linef(plain, "%s", releaseWith(regions.GuardLatch))
}

// holds says in short what the guard holds.
func holds(g *pb.GuardStatus) string {
	return fmt.Sprintf("the mass-withdrawal guard holds %s HEALTHY for %s (trip %d)", count(int(g.GetHeld()), "target"), millis(g.GetHeldMillis()), g.GetTrip())
}

type releaseOptions struct {
	reason, author string
	trip           uint64
	wait           waitFlag
	output         format
}

func (a *app) latchReleaseCommand() *cobra.Command {
	var o releaseOptions
	c := &cobra.Command{
		Use:   "release LATCH --reason TEXT",
		Short: "Let a region come back, or let the guard's verdicts follow the evidence",
		Long: `Release a latch that stands (fairlead latch list): failback/SERVICE/REGION lets the
region of the service come back, by its failback policy; guard lets the verdicts
that the mass-withdrawal guard holds follow the quorum.

What trips afterwards stands: a region that is still out of service trips its latch
again. With --trip, nothing but that trip is released, however late the command is.`,
		Example:           "  fairlead latch release failback/www.example.test/eu-west --reason \"replication has caught up\" --wait",
		Args:              exactly("LATCH"),
		ValidArgsFunction: a.completeLatch,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.author, err = a.author(o.author, c.Flags().Changed("author")); err != nil {
				return err
			}
			return a.release(c.Context(), o, args[0])
		},
	}
	f := c.Flags()
	f.StringVar(&o.reason, "reason", "", "why; kept with the change")
	f.StringVar(&o.author, "author", username(), "who decides it (a context can name you)")
	options.NotInFile(f, "belongs into a context, under contexts", "author")
	f.Uint64Var(&o.trip, "trip", 0, "release this trip only; 0: the one that stands")
	waitFlagOf(c, &o.wait, false)
	outputFlag(c, &o.output, "the latch")
	return c
}

// completeLatch completes the latches that stand.
func (a *app) completeLatch(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.suggest(c, typed, func(ctx context.Context, c *client) []string {
		st, err := c.GetStatus(ctx, &pb.GetStatusRequest{})
		if err != nil {
			return nil
		}
		return latchNames(st)
	})
}

func (a *app) release(ctx context.Context, o releaseOptions, latch string) error {
	service, region, ok := regions.SplitFailbackLatch(latch)
	if !ok && latch != regions.GuardLatch {
		return usagef("latch %q: want failback/SERVICE/REGION or guard (`fairlead latch list` shows those that stand)", latch)
	}
	if err := wantReason(o.reason); err != nil {
		return err
	}
	began := a.Now()
	req := &pb.ReleaseLatchRequest{Latch: latch, Reason: o.reason, Author: o.author, Trip: o.trip, RequestId: newRequestID()}
	var now consequence
	var resp *pb.ReleaseLatchResponse
	err := a.with(ctx, 0, func(ctx context.Context, c *client) (err error) {
		now = a.whatNow(ctx, c, service, region, o.trip)
		resp, err = c.ReleaseLatch(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	var late error
	resp.Convergence, late = a.followed(ctx, resp.GetGeneration(), began, o.wait)
	err = a.emit(o.output, resp, []string{latch}, func(p *printer) {
		printReleased(p, req, resp, now)
		printConvergence(p, resp.GetConvergence())
	})
	return errors.Join(err, late)
}

// consequence is what a release leads to, and whether that is what one hopes.
type consequence struct {
	text string
	good bool
}

// whatNow says what the release of a latch leads to, as things stand; empty when
// that cannot be told. It keeps nobody from the release.
func (a *app) whatNow(ctx context.Context, c *client, service, region string, trip uint64) consequence {
	st, err := c.GetStatus(ctx, &pb.GetStatusRequest{})
	if err != nil {
		return consequence{}
	}
	earlier := func(stands uint64) consequence {
		return consequence{fmt.Sprintf("trip %d stands: only a release of that one changes anything", stands), false}
	}
	if service == "" {
		if stands := st.GetGuard().GetTrip(); trip != 0 && trip < stands {
			return earlier(stands)
		}
		return consequence{fmt.Sprintf("%s follow the quorum now: those that it calls UNHEALTHY leave the answers", count(int(st.GetGuard().GetHeld()), "held verdict")), true}
	}
	for _, l := range st.GetLatches() {
		if l.GetLatch().GetService() != service || l.GetLatch().GetRegion() != region {
			continue
		}
		if stands := l.GetLatch().GetTrip(); trip != 0 && trip < stands {
			return earlier(stands)
		}
		if !l.GetHealthy() {
			return consequence{fmt.Sprintf("no endpoint of region %s can serve %s yet; while they are unhealthy the latch trips again, and must be released again when they are well (`fairlead describe service %s` shows them)", region, service, service), false}
		}
		text := fmt.Sprintf("region %s may serve %s again", region, service)
		if r, err := c.one(ctx, config.KindService, service); err == nil {
			text += failbackWords(r.GetService().GetSpec().GetFailback())
		}
		return consequence{text, true}
	}
	return consequence{}
}

// failbackWords say how clients come back to a region after its release.
func failbackWords(f *pb.FailbackPolicy) string {
	text := ": its clients come back at once"
	if steps := f.GetRampSteps(); len(steps) > 0 {
		var percents []string
		for _, s := range steps {
			percents = append(percents, fmt.Sprintf("%d %%", s))
		}
		text = fmt.Sprintf(": its clients come back in steps, %s, each for %s, then all", strings.Join(percents, ", "), exact(rampInterval(f)))
	}
	if hold := f.GetHoldDown().AsDuration(); hold > 0 {
		text += fmt.Sprintf("; endpoints count when they have been healthy for %s", exact(hold))
	}
	return text
}

// rampInterval is how long a step of a failback lasts; a minute where it is not stated.
func rampInterval(f *pb.FailbackPolicy) time.Duration {
	if f.GetRampInterval() == nil {
		return time.Minute
	}
	return f.GetRampInterval().AsDuration()
}

func printReleased(p *printer, req *pb.ReleaseLatchRequest, resp *pb.ReleaseLatchResponse, now consequence) {
	r := resp.GetRelease()
	if r.GetReason() != req.GetReason() || req.GetAuthor() != "" && r.GetAuthor() != req.GetAuthor() {
		p.linef(yellow, "%s (trip %d) was released already, by %s %s ago (%s); nothing was changed; %s", r.GetLatch(), r.GetTrip(), r.GetAuthor(),
			human(p.now.Sub(r.GetCreateTime().AsTime())), r.GetReason(), inGeneration(resp.GetGeneration()))
		return
	}
	p.linef(bold, "%s is released (trip %d); %s", r.GetLatch(), r.GetTrip(), inGeneration(resp.GetGeneration()))
	switch {
	case now.text == "":
	case now.good:
		p.linef(plain, "%s", now.text)
	default:
		p.linef(yellow, "%s", now.text)
	}
}
