package cli

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead-dns/fairlead/cmd/internal/options"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// drainOptions are the flags of drain and undrain.
type drainOptions struct {
	availabilityZone string
	service          string
	reason           string
	author           string
	expireAfter      time.Duration
	wait             time.Duration
	output           format
}

func (a *app) regionCommand() *cobra.Command {
	return group("region", "Take a region out of the answers, and back in", "Drain and undrain regions.",
		a.drainCommand(), a.undrainCommand())
}

func (a *app) drainCommand() *cobra.Command {
	var o drainOptions
	c := &cobra.Command{
		Use:   "drain REGION --reason TEXT",
		Short: "Take a region out of the answers",
		Long: `Take a region, or with --availability-zone or --service a part of it, out of the
answers. Its endpoints answer again as the last resort, when nothing else is
healthy. The drain stands until undrain, or until --expire-after has passed.
A drain that stands already stays as it is, unless the new one lasts longer and
so replaces it.`,
		Example:           "  fairlead region drain us-east --reason \"fibre cut\" --expire-after 2h --wait 10s",
		Args:              exactly("REGION"),
		ValidArgsFunction: a.completeName("region"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.author, err = a.author(o.author, c.Flags().Changed("author")); err != nil {
				return err
			}
			return a.drain(c.Context(), o, args[0])
		},
	}
	c.Flags().DurationVar(&o.expireAfter, "expire-after", 0, "remove the drain after this time, as 2h; 0: it stays")
	o.flags(a, c, "overrides/ID")
	return c
}

func (a *app) undrainCommand() *cobra.Command {
	var o drainOptions
	c := &cobra.Command{
		Use:   "undrain REGION --reason TEXT",
		Short: "Take a drained region back into the answers",
		Long: `Remove the drain of exactly the given scope. The verdicts on the region's
endpoints count again at once.`,
		Args:              exactly("REGION"),
		ValidArgsFunction: a.completeName("region"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.author, err = a.author(o.author, c.Flags().Changed("author")); err != nil {
				return err
			}
			return a.undrain(c.Context(), o, args[0])
		},
	}
	o.flags(a, c, "overrides/ID of what was removed")
	return c
}

func (o *drainOptions) flags(a *app, c *cobra.Command, names string) {
	f := c.Flags()
	f.StringVar(&o.reason, "reason", "", "why; kept with the change")
	f.StringVar(&o.author, "author", username(), "who decides it (a context can name you)")
	options.NotInFile(f, "belongs into a context, under contexts", "author")
	f.StringVar(&o.availabilityZone, "availability-zone", "", "only this part of the region")
	f.StringVar(&o.service, "service", "", "only for this service")
	waitFlag(c, &o.wait)
	outputFlag(c, &o.output, names)
	_ = c.RegisterFlagCompletionFunc("service", a.completeFlag("service"))
	_ = c.RegisterFlagCompletionFunc("availability-zone", a.completeAvailabilityZone)
}

// check checks the flags.
func (o *drainOptions) check() (wait *durationpb.Duration, err error) {
	if err := wantReason(o.reason); err != nil {
		return nil, err
	}
	if o.expireAfter < 0 {
		return nil, usagef("--expire-after %v: want a time to come, as 2h", o.expireAfter)
	}
	return waiting(o.wait)
}

func (a *app) drain(ctx context.Context, o drainOptions, region string) error {
	wait, err := o.check()
	if err != nil {
		return err
	}
	req := &pb.DrainRegionRequest{
		Region: region, AvailabilityZone: o.availabilityZone, Service: o.service,
		Reason: o.reason, Author: o.author, Wait: wait, RequestId: newRequestID(),
	}
	if o.expireAfter > 0 {
		req.ExpireAfter = durationpb.New(o.expireAfter)
	}
	return a.with(ctx, o.wait, func(ctx context.Context, c *client) error {
		stop := a.progress(o.wait > 0, "waiting for the nameservers")
		resp, err := c.DrainRegion(ctx, req)
		stop()
		if err != nil {
			return err
		}
		err = a.emit(o.output, resp, []string{"overrides/" + resp.GetOverride().GetId()}, func(p *printer) {
			printDrained(p, resp, !asAsked(resp.GetOverride(), req))
			printConvergence(p, resp.GetConvergence())
		})
		return errors.Join(err, converged(resp.GetConvergence(), resp.GetGeneration(), o.wait))
	})
}

// asAsked tells whether a drain is as the request wanted it. One that stood
// already stays as it is, and may differ.
func asAsked(o *pb.Override, req *pb.DrainRegionRequest) bool {
	lasts := time.Duration(0)
	if o.GetExpireTime() != nil {
		lasts = o.GetExpireTime().AsTime().Sub(o.GetCreateTime().AsTime())
	}
	return o.GetReason() == req.GetReason() && lasts == req.GetExpireAfter().AsDuration() &&
		(req.GetAuthor() == "" || o.GetAuthor() == req.GetAuthor())
}

func printDrained(p *printer, resp *pb.DrainRegionResponse, stood bool) {
	o := resp.GetOverride()
	if stood {
		p.linef(yellow, "%s was drained already; that drain stays, since it lasts as long (undrain first to change it); %s", scopeWords(o), inGeneration(resp.GetGeneration()))
	} else {
		p.linef(bold, "%s is drained; %s", scopeWords(o), inGeneration(resp.GetGeneration()))
	}
	overrideTable(p, []*pb.Override{o}).print(p)
}

func (a *app) undrain(ctx context.Context, o drainOptions, region string) error {
	wait, err := o.check()
	if err != nil {
		return err
	}
	req := &pb.UndrainRegionRequest{
		Region: region, AvailabilityZone: o.availabilityZone, Service: o.service,
		Reason: o.reason, Author: o.author, Wait: wait, RequestId: newRequestID(),
	}
	return a.with(ctx, o.wait, func(ctx context.Context, c *client) error {
		stop := a.progress(o.wait > 0, "waiting for the nameservers")
		resp, err := c.UndrainRegion(ctx, req)
		stop()
		if err != nil {
			return err
		}
		// Narrower drains are overrides of their own; one that is forgotten
		// would surprise. Where they cannot be listed, the undrain is done all
		// the same.
		var others []*pb.Override
		if rest, err := c.ListOverrides(ctx, &pb.ListOverridesRequest{}); err == nil {
			others = alsoInForce(rest.GetOverrides(), resp.GetRemoved(), region)
		}
		var names []string
		for _, r := range resp.GetRemoved() {
			names = append(names, "overrides/"+r.GetId())
		}
		err = a.emit(o.output, resp, names, func(p *printer) { printUndrained(p, req, resp, others) })
		return errors.Join(err, converged(resp.GetConvergence(), resp.GetGeneration(), o.wait))
	})
}

// alsoInForce are the overrides of a region but the removed ones.
func alsoInForce(all, removed []*pb.Override, region string) []*pb.Override {
	return slices.DeleteFunc(all, func(o *pb.Override) bool {
		return !strings.EqualFold(o.GetScope().GetRegion(), region) ||
			slices.ContainsFunc(removed, func(r *pb.Override) bool { return r.GetId() == o.GetId() })
	})
}

func printUndrained(p *printer, req *pb.UndrainRegionRequest, resp *pb.UndrainRegionResponse, others []*pb.Override) {
	asked := scopeWords(&pb.Override{Scope: &pb.OverrideScope{
		Region: strings.ToLower(req.GetRegion()), AvailabilityZone: req.GetAvailabilityZone(), Service: req.GetService(),
	}})
	if len(resp.GetRemoved()) == 0 {
		p.linef(yellow, "%s had no drain; nothing was changed", asked)
	} else {
		p.linef(bold, "%s is no longer drained; %s", asked, inGeneration(resp.GetGeneration()))
		overrideTable(p, resp.GetRemoved()).print(p)
	}
	printConvergence(p, resp.GetConvergence())
	if len(others) > 0 {
		p.linef(yellow, "still in force in region %s:", strings.ToLower(req.GetRegion()))
		overrideTable(p, others).print(p)
	}
}

// scopeWords is the scope of an override: region us-east, service www.….
func scopeWords(o *pb.Override) string {
	s := o.GetScope()
	return regions.Scope{Region: s.GetRegion(), AvailabilityZone: s.GetAvailabilityZone(), Service: s.GetService(), Endpoint: s.GetEndpoint()}.String()
}

func (a *app) overrideCommand() *cobra.Command {
	var output format
	list := &cobra.Command{
		Use:   "list",
		Short: "List drains and other overrides",
		Args:  exactly(),
		RunE:  func(c *cobra.Command, _ []string) error { return a.overrides(c.Context(), output) },
	}
	outputFlag(list, &output, "overrides/ID")
	return group("override", "Show what operators have overridden", "Show drains and other overrides.", list)
}

func (a *app) overrides(ctx context.Context, output format) error {
	return a.with(ctx, 0, func(ctx context.Context, c *client) error {
		resp, err := c.ListOverrides(ctx, &pb.ListOverridesRequest{})
		if err != nil {
			return err
		}
		var names []string
		for _, o := range resp.GetOverrides() {
			names = append(names, "overrides/"+o.GetId())
		}
		if len(names) == 0 && (output == formatTable || output == formatWide) {
			fmt.Fprintf(a.Err, "no overrides; %s\n", inGeneration(resp.GetGeneration()))
			return nil
		}
		return a.emit(output, resp, names, func(p *printer) { overrideTable(p, resp.GetOverrides()).print(p) })
	})
}

// overrideTable lists overrides; with -o wide with their ids and moments.
func overrideTable(p *printer, overrides []*pb.Override) *table {
	titles := []string{"ACTION", "SCOPE", "AUTHOR", "AGE", "EXPIRES", "REASON"}
	if p.wide {
		titles = append([]string{"ID"}, append(titles, "CREATED", "EXPIRES AT")...)
	}
	t := newTable(titles...)
	for _, o := range overrides {
		age, expires, created, expiresAt := "", "never", "", ""
		if at := o.GetCreateTime(); at != nil {
			age, created = human(p.now.Sub(at.AsTime())), at.AsTime().UTC().Format(time.RFC3339)
		}
		if at := o.GetExpireTime(); at != nil {
			expires, expiresAt = "in "+human(at.AsTime().Sub(p.now).Round(time.Second)), at.AsTime().UTC().Format(time.RFC3339)
			if !at.AsTime().After(p.now) {
				expires = "due"
			}
		}
		row := []any{word(o.GetAction(), "OVERRIDE_ACTION_"), scopeWords(o), o.GetAuthor(), age, expires, o.GetReason()}
		if p.wide {
			row = append([]any{o.GetId()}, append(row, created, expiresAt)...)
		}
		t.row(row...)
	}
	return t
}

// username is the name that the system knows the caller by; empty when it
// knows none.
func username() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}
