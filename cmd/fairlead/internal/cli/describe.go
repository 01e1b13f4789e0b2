package cli

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func (a *app) describeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "describe KIND NAME",
		Short: "Show a resource and the state of what it stands for",
		Long: `Show a resource as YAML and below it how it is now: for a service the state of
its endpoints and what waits for a release, for a region its endpoints, overrides
and latches, for an agent or a nameserver whether it is there.

` + kindHelp,
		Args:              kindArgs("KIND and NAME", 2, 2),
		ValidArgsFunction: a.completeResource,
		RunE:              func(c *cobra.Command, args []string) error { return a.describe(c.Context(), args) },
	}
}

func (a *app) describe(ctx context.Context, args []string) error {
	kind, name, err := resourceArgs(args)
	if err != nil {
		return err
	}
	return a.with(ctx, 0, func(ctx context.Context, c *client) error {
		r, err := c.one(ctx, kind, name)
		if err != nil {
			return err
		}
		text, err := config.MarshalOptions{}.YAML([]*pb.Resource{r})
		if err != nil {
			return err
		}
		p := a.printer()
		p.Write(text)
		switch kind {
		case config.KindService:
			err = describeService(ctx, p, c, r.GetService())
		case config.KindRegion, config.KindAgent, config.KindNameserver:
			var st *pb.GetStatusResponse
			if st, err = c.GetStatus(ctx, &pb.GetStatusRequest{}); err == nil {
				describeMember(p, kind, config.Name(r), st, c.placer(ctx))
			}
		}
		if err != nil {
			return err
		}
		return a.write(p.Bytes(), nil)
	})
}

// anyClient stands for a client where it does not matter which: the state of
// endpoints is the same for all.
const anyClient = "192.0.2.1"

// describeService prints the state of every endpoint. Explain tells it, with
// the votes; status would tell of those alone that do not serve.
func describeService(ctx context.Context, p *printer, c *client, s *pb.Service) error {
	types := map[string]bool{}
	for _, e := range s.GetSpec().GetEndpoints() {
		if e.GetCname() != "" {
			types["CNAME"] = true
		}
		for _, text := range e.GetAddresses() {
			if addr, err := netip.ParseAddr(text); err == nil && addr.Is4() {
				types["A"] = true
			} else {
				types["AAAA"] = true
			}
		}
	}
	states := map[string][]*pb.EndpointExplanation{}
	var at *pb.Generation
	for _, typ := range []string{"CNAME", "A", "AAAA"} {
		if !types[typ] {
			continue
		}
		x, err := c.Explain(ctx, &pb.ExplainRequest{Name: s.GetMetadata().GetName(), Type: typ, Client: anyClient})
		if err != nil {
			return err
		}
		at = x.GetGeneration()
		for _, r := range x.GetRegions() {
			for _, e := range r.GetEndpoints() {
				states[e.GetEndpoint()] = append(states[e.GetEndpoint()], e)
			}
		}
	}
	t := newTable("ENDPOINT", "REGION", "ADDRESS", ">WEIGHT", "STATE", "VOTES", "WHY")
	for _, e := range s.GetSpec().GetEndpoints() {
		for _, x := range states[e.GetName()] {
			t.row(e.GetName(), e.GetRegion(), x.GetAddress(), fmt.Sprint(x.GetWeight()), stateCell(x.GetState()), tally(x.GetHealth()), x.GetDetail())
		}
	}
	p.WriteByte('\n')
	t.print(p)
	if s.GetSpec().GetFailback().GetMode() == pb.FailbackMode_FAILBACK_MODE_MANUAL {
		st, err := c.GetStatus(ctx, &pb.GetStatusRequest{})
		if err != nil {
			return err
		}
		describeLatches(p, st, func(l *pb.Latch) bool { return l.GetService() == s.GetMetadata().GetName() })
	}
	p.linef(plain, "%s", inGeneration(at))
	return nil
}

// describeLatches prints the latches that stand and are selected.
func describeLatches(p *printer, st *pb.GetStatusResponse, selected func(*pb.Latch) bool) {
	var some []*pb.LatchStatus
	for _, l := range st.GetLatches() {
		if selected(l.GetLatch()) {
			some = append(some, l)
		}
	}
	if len(some) > 0 {
		p.WriteByte('\n')
		printLatches(p, some)
	}
}

// tally counts the votes behind a verdict: 2 of 3 HEALTHY.
func tally(h *pb.TargetHealth) string {
	if len(h.GetVotes()) == 0 {
		return ""
	}
	n, held := map[pb.HealthStatus]int{}, 0
	for _, v := range h.GetVotes() {
		if !v.GetCounted() {
			continue
		}
		n[countedAs(v)]++
		if damped(v) {
			held++
		}
	}
	var parts []string
	for _, s := range []pb.HealthStatus{pb.HealthStatus_HEALTH_STATUS_HEALTHY, pb.HealthStatus_HEALTH_STATUS_UNHEALTHY} {
		if n[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[s], verdictWord(s)))
		}
	}
	if len(parts) == 0 {
		parts = []string{"none"}
	}
	text := strings.Join(parts, ", ") + fmt.Sprintf(" of %d", len(h.GetVotes()))
	if held > 0 {
		text += fmt.Sprintf(", %d of them damped", held)
	}
	return text
}

// countedAs is what a vote counted as. Older controllers do not say, and damp nothing.
func countedAs(v *pb.Vote) pb.HealthStatus {
	if v.GetCountedAs() == pb.HealthStatus_HEALTH_STATUS_UNSPECIFIED {
		return v.GetStatus()
	}
	return v.GetCountedAs()
}

// damped tells whether a vote says that the target is well again, and does not
// count so yet.
func damped(v *pb.Vote) bool {
	return v.GetCounted() && v.GetStatus() == pb.HealthStatus_HEALTH_STATUS_HEALTHY && countedAs(v) == pb.HealthStatus_HEALTH_STATUS_UNHEALTHY
}

// verdictWord is a status as regions.Status prints it: HEALTHY.
func verdictWord(s pb.HealthStatus) string {
	return strings.TrimPrefix(s.String(), "HEALTH_STATUS_")
}

// describeMember prints what status says of one region, agent or nameserver.
func describeMember(p *printer, kind, name string, st *pb.GetStatusResponse, place func(*pb.OverrideScope) *pb.OverrideScope) {
	var in held
	one := &pb.GetStatusResponse{Generation: st.GetGeneration()}
	switch kind {
	case config.KindRegion:
		for _, r := range st.GetRegions() {
			if r.GetRegion() == name {
				one.Regions = append(one.Regions, r)
			}
		}
		in = heldOf(&pb.ListOverridesResponse{Overrides: st.GetOverrides(), Scheduled: st.GetScheduled(), BreakGlass: st.GetBreakGlass()}, nil, &pb.OverrideScope{Region: name}, place)
		one.Overrides, one.BreakGlass = append(in.all, in.parts...), in.glass
	case config.KindAgent:
		for _, g := range st.GetAgents() {
			if g.GetAgent() == name {
				one.Agents = append(one.Agents, g)
			}
		}
	case config.KindNameserver:
		for _, n := range st.GetNameservers() {
			if n.GetNameserver() == name {
				one.Nameservers = append(one.Nameservers, n)
			}
		}
	}
	p.WriteByte('\n')
	for i, t := range []*table{regionTable(one), agentTable(one), nameserverTable(p, one), overrideTable(p, one.GetOverrides())} {
		if len(t.rows) == 0 {
			continue
		}
		if i == 3 {
			p.WriteByte('\n')
		}
		t.print(p)
	}
	if kind == config.KindRegion {
		if len(one.GetOverrides()) == 0 {
			p.linef(plain, "no overrides")
		}
		titled(p, "SCHEDULED", overrideTable(p, in.scheduled))
		printBreakGlass(p, breakGlassTitle, orAdopt, in.glass)
		describeLatches(p, st, func(l *pb.Latch) bool { return l.GetRegion() == name })
	}
}
