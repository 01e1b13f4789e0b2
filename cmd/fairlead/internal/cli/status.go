package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/cmd/internal/options"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// mostServices is how many services with problems are listed without -o wide.
const mostServices = 20

func (a *app) statusCommand() *cobra.Command {
	var output format
	var direct bool
	var nameservers []string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how regions, services, agents and nameservers are",
		Long: `Show how regions, services, agents and nameservers are, as one controller sees
it. Of the services, those with an endpoint that is unhealthy are listed (the
first 20; all of them with -o wide). An endpoint on which no verdict was passed yet
counts as unjudged, not as healthy, whether it answers or not. How far a nameserver
is behind is counted in revisions of the store, of which one change may take several.
What waits for a person (fairlead latch) and what the mass-withdrawal guard holds is
there when there is any, with the command that releases it; so are scheduled overrides
and what nameservers were told directly (break-glass).

With --direct the nameservers are asked, each what it serves and holds, and no
controller. That is done, too, when no controller answers.

-o name prints what is not well, and nothing when all is.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case direct:
				return a.direct(c.Context(), nameservers, output)
			case len(nameservers) > 0:
				return usagef("--nameservers goes with --direct")
			}
			err := a.with(c.Context(), 0, func(ctx context.Context, c *client) error {
				st, err := c.GetStatus(ctx, &pb.GetStatusRequest{})
				if err != nil {
					return err
				}
				a.keepNameservers(ctx, c, true)
				return a.emit(output, st, notWell(st), func(p *printer) { printStatus(p, st) })
			})
			return a.statusWithout(c.Context(), err, output)
		},
	}
	c.Flags().BoolVar(&direct, "direct", false, "ask the nameservers themselves, and no controller")
	options.CommandLineOnly(c.Flags(), "direct")
	a.nameserversFlag(c, &nameservers)
	outputFlag(c, &output, "what is not well")
	return c
}

// notWell names what needs somebody's attention.
func notWell(st *pb.GetStatusResponse) []string {
	var names []string
	add := func(bad bool, kind, name string) {
		if bad {
			names = append(names, kind+"/"+name)
		}
	}
	for _, r := range st.GetRegions() {
		add(r.GetHealthy() < r.GetEndpoints() || r.GetDrained() > 0, "regions", r.GetRegion())
	}
	for _, s := range st.GetServices() {
		add(len(s.GetProblems()) > 0 || s.GetUnjudged() > 0, "services", s.GetService())
	}
	for _, g := range st.GetAgents() {
		add(!g.GetConnected() || !g.GetRegistered() || silent(g.GetHeardMillis(), agentSilent) || g.GetIsolated() != "", "agents", g.GetAgent())
	}
	for _, n := range st.GetNameservers() {
		behind, _ := behind(n, st.GetGeneration())
		add(!n.GetConnected() || !n.GetRegistered() || n.GetRefusal() != "" || behind != current ||
			silent(n.GetHeardMillis(), nameserverSilent) || stale(n), "nameservers", n.GetNameserver())
	}
	for _, name := range latchNames(st) {
		add(true, "latches", name)
	}
	for _, i := range st.GetIgnoredOverrides() {
		add(true, "overrides", i.GetOverride().GetId())
	}
	for _, o := range st.GetScheduled() {
		add(o.GetRefusal() != "", "overrides", o.GetId())
	}
	for _, b := range st.GetBreakGlass() {
		add(stands(b.GetRecord()), "overrides", b.GetRecord().GetId())
	}
	for _, c := range st.GetCertificates() {
		add(c.GetState() != fresh, "certificates", c.GetUse()+"-"+c.GetWhat())
	}
	return names
}

func printStatus(p *printer, st *pb.GetStatusResponse) {
	printReadOnly(p, st)
	for _, text := range st.GetAlarms() {
		p.linef(alarm, "ALARM: %s", text)
	}
	if !st.GetHealthReady() && !generation(st.GetGeneration()).IsZero() {
		p.linef(alarm, "HEALTH IS NOT JUDGED here: this controller has not heard enough registered agents; the last verdicts stay, and endpoints never judged count as their services say.")
	}
	if g := st.GetGuard(); g.GetHeld() > 0 {
		p.linef(alarm, "ALARM: %s: see GUARD below", holds(g))
	}
	printCertificates(p, st.GetCertificates())
	health := "health is judged"
	if !st.GetHealthReady() {
		health = "health is not judged"
	}
	p.linef(plain, "controller %s (%s): %s, %s", st.GetController(), st.GetVersion(), inGeneration(st.GetGeneration()), health)
	if generation(st.GetGeneration()).IsZero() {
		p.linef(plain, "nothing is configured, or nothing could be read yet: begin with `fairlead apply -f FILE`")
	}
	section(p, "REGIONS", regionTable(st), "")
	printServices(p, st)
	if len(st.GetLatches()) > 0 {
		p.WriteByte('\n')
		printLatches(p, st.GetLatches())
	}
	if st.GetGuard().GetHeld() > 0 {
		p.WriteString("\n" + p.paint(bold, "GUARD") + "  ")
		printGuard(p, st.GetGuard())
	}
	section(p, "AGENTS", agentTable(st), "none is registered: health is not judged, endpoints count as their service says of the never judged")
	section(p, "NAMESERVERS", nameserverTable(p, st), "none is registered or connected")
	section(p, "OVERRIDES", overrideTable(p, st.GetOverrides()), "none")
	titled(p, "SCHEDULED", overrideTable(p, st.GetScheduled()))
	printBreakGlass(p, breakGlassTitle, orAdopt, st.GetBreakGlass())
	for _, i := range st.GetIgnoredOverrides() {
		p.linef(yellow, "%s of %s by %s changes nothing: %s", word(i.GetOverride().GetAction(), "OVERRIDE_ACTION_"), scopeWords(i.GetOverride()), i.GetOverride().GetAuthor(), i.GetReason())
	}
}

// printReadOnly tells that nothing can be changed, why, and what is left.
func printReadOnly(p *printer, st *pb.GetStatusResponse) {
	if st.GetStoreAvailable() && st.GetReadOnly() == "" {
		return
	}
	age := ""
	if ms := st.GetControlAgeMillis(); ms > 0 {
		age = ", " + millis(ms) + " old"
	}
	what := "ETCD DOES NOT ANSWER"
	if st.GetStoreAvailable() {
		what = "THE STORE IS NOT TRUSTED"
	}
	p.linef(alarm, "%s: this controller is read-only, nothing can be changed, drains neither; answers and failover go on. The state below is the last one known%s.", what, age)
	if why := st.GetReadOnly(); why != "" {
		p.linef(alarm, "why: %s", why)
	}
	p.linef(plain, "what cannot wait, the nameservers take themselves: fairlead region drain REGION --break-glass --expire-after 1h --reason TEXT")
}

// titled prints a table below its title, if it has any row.
func titled(p *printer, title string, t *table) {
	if len(t.rows) == 0 {
		return
	}
	p.WriteString("\n" + p.paint(bold, title) + "\n")
	t.print(p)
}

// statusWithout asks the nameservers where no controller answers and somebody reads:
// what they say is printed, and that no controller answers stays the outcome.
func (a *app) statusWithout(ctx context.Context, err error, output format) error {
	if status.Code(err) != codes.Unavailable && status.Code(err) != codes.DeadlineExceeded || output != formatTable && output != formatWide {
		return err
	}
	if len(a.keptNameservers().Nameservers) == 0 {
		return err
	}
	fmt.Fprintln(a.Err, "no controller answers; this is what the nameservers say of themselves:")
	if direct := a.direct(ctx, nil, output); direct != nil {
		err = fmt.Errorf("%w\n%s", err, direct.Error()) // the exit code is that of the first
	}
	return err
}

// fresh is the state of a certificate that is valid for long, and of verdicts that
// are young.
const fresh = "fresh"

// printCertificates tells of those of the controller that end or have ended.
func printCertificates(p *printer, all []*pb.CertificateStatus) {
	for _, c := range all {
		what, mend := "this controller's certificate", "renew it, as with `fairlead pki renew`"
		if c.GetWhat() == "ca" {
			what, mend = "the CA of this controller's certificate", "make a new one, as `fairlead pki --help` says"
		}
		if c.GetUse() != "program" {
			what += " for " + c.GetUse()
		}
		until := c.GetExpireTime().AsTime()
		switch c.GetState() {
		case "warn":
			p.linef(yellow, "%s expires in %s: %s", what, human(until.Sub(p.now)), mend)
		case "expired":
			p.linef(alarm, "ALARM: %s expired %s ago: %s", what, human(p.now.Sub(until)), mend)
		case "early":
			p.linef(alarm, "ALARM: %s is not valid yet: is a clock wrong?", what)
		}
	}
}

// section prints a title and a table, or what an empty one means.
func section(p *printer, title string, t *table, empty string) {
	if len(t.rows) == 0 && empty == "" {
		return
	}
	p.WriteByte('\n')
	if len(t.rows) == 0 {
		p.WriteString(p.paint(bold, title) + "  " + empty + "\n")
		return
	}
	t.columns[0].title = strings.TrimSuffix(title, "S")
	t.print(p)
}

// share is 2/3, in red where nothing is left and in yellow where something is
// missing.
// What is unjudged is missing, and no reason for alarm.
func share(n, unjudged, of uint32) cell {
	c := cell{text: fmt.Sprintf("%d/%d", n, of)}
	switch {
	case of == 0:
		c.text = "-"
	case n == 0 && unjudged == 0:
		c.style = red
	case n < of:
		c.style = yellow
	}
	return c
}

func regionTable(st *pb.GetStatusResponse) *table {
	t := newTable("REGION", ">HEALTHY", ">UNJUDGED", ">DRAINED", "STATE")
	for _, r := range st.GetRegions() {
		state := cell{"all healthy", green}
		switch n := r.GetEndpoints(); {
		case n == 0:
			state = cell{"no endpoints", plain}
		case r.GetDrained() == n:
			state = cell{"drained", yellow}
		case r.GetUnjudged() == n:
			state = cell{"not judged yet", yellow}
		case r.GetHealthy()+r.GetUnjudged() == 0:
			state = cell{"all unhealthy", red}
		case r.GetDrained() > 0:
			state = cell{"partly drained", yellow}
		case r.GetHealthy()+r.GetUnjudged() < n:
			state = cell{"partly unhealthy", yellow}
		case r.GetUnjudged() > 0:
			state = cell{"partly not judged yet", yellow}
		}
		if at := drainedAt(st.GetBreakGlass(), r.GetRegion()); at != "" {
			state = cell{state.text + "; break-glass drain at " + at, yellow}
		}
		drained := cell{text: "-"}
		if r.GetDrained() > 0 {
			drained = cell{fmt.Sprintf("%d/%d", r.GetDrained(), r.GetEndpoints()), yellow}
		}
		t.row(r.GetRegion(), share(r.GetHealthy(), r.GetUnjudged(), r.GetEndpoints()), of(r.GetUnjudged(), r.GetEndpoints()), drained, state)
	}
	return t
}

// drainedAt are the nameservers that were told directly to drain a whole region, which
// what a controller counts does not show.
func drainedAt(records []*pb.BreakGlassStatus, region string) string {
	var at []string
	for _, b := range records {
		r := b.GetRecord()
		if stands(r) && r.GetAction() == pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN && covers(r.GetScope(), &pb.OverrideScope{Region: region}) {
			at = append(at, b.GetNameservers()...)
		}
	}
	return strings.Join(at, ", ")
}

// of is 2/3, in yellow, and nothing for none.
func of(n, all uint32) cell {
	if n == 0 {
		return cell{}
	}
	return cell{fmt.Sprintf("%d/%d", n, all), yellow}
}

// printServices lists the services with an unhealthy endpoint, and sums up
// the others.
func printServices(p *printer, st *pb.GetStatusResponse) {
	var sick []*pb.ServiceStatus
	drained, unjudged := 0, 0
	for _, s := range st.GetServices() {
		if s.GetUnjudged() > 0 {
			unjudged++
		}
		switch {
		case s.GetHealthy()+s.GetUnjudged() < s.GetEndpoints():
			sick = append(sick, s)
		case s.GetDrained() > 0:
			drained++
		}
	}
	if len(st.GetServices()) == 0 {
		return
	}
	summary := count(len(st.GetServices()), "service")
	switch {
	case len(sick) > 0:
		summary += fmt.Sprintf(", %d with unhealthy endpoints", len(sick))
	case st.GetGuard().GetHeld() > 0:
		summary += ", all endpoints count as healthy, some because the guard holds them"
	case unjudged == 0:
		summary += ", all endpoints healthy"
	default:
		summary += ", none with unhealthy endpoints"
	}
	if unjudged > 0 {
		summary += fmt.Sprintf(", %d with endpoints that are not judged yet", unjudged)
	}
	if drained > 0 {
		summary += fmt.Sprintf("; %d with healthy but drained ones", drained)
	}
	p.WriteString("\n" + p.paint(bold, "SERVICES") + "  " + summary + "\n")
	shown := sick
	if !p.wide {
		shown = sick[:min(len(sick), mostServices)]
	}
	if len(shown) == 0 {
		return
	}
	t := newTable("SERVICE", ">HEALTHY", ">UNJUDGED", ">DRAINED", "ENDPOINT", "ADDRESS", "STATE", "WHY")
	for _, s := range shown {
		drained := ""
		if s.GetDrained() > 0 {
			drained = fmt.Sprintf("%d/%d", s.GetDrained(), s.GetEndpoints())
		}
		row := []any{s.GetService(), share(s.GetHealthy(), s.GetUnjudged(), s.GetEndpoints()), of(s.GetUnjudged(), s.GetEndpoints()), drained}
		for _, e := range s.GetProblems() {
			t.row(append(row, e.GetEndpoint(), e.GetAddress(), stateCell(e.GetState()), e.GetDetail())...)
			row = []any{"", "", "", ""}
		}
		if len(s.GetProblems()) == 0 {
			t.row(row...)
		}
	}
	t.print(p)
	if n := len(sick) - len(shown); n > 0 {
		p.linef(plain, "… and %d more (-o wide lists all)", n)
	}
}

// stateCell is the effective state of an endpoint.
func stateCell(state string) cell {
	switch {
	case state == "healthy":
		return cell{state, green}
	case state == "drained":
		return cell{state, yellow}
	}
	return cell{state, red}
}
