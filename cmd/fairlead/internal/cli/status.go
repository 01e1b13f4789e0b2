package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// mostServices is how many services with problems are listed without -o wide.
const mostServices = 20

func (a *app) statusCommand() *cobra.Command {
	var output format
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how regions, services, agents and nameservers are",
		Long: `Show how regions, services, agents and nameservers are, as one controller sees
it. Of the services, those with an endpoint that is unhealthy are listed (the
first 20; all of them with -o wide). How far a nameserver is behind is counted in
revisions of the store, of which one change may take several.

-o name prints what is not well, and nothing when all is.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), 0, func(ctx context.Context, c *client) error {
				st, err := c.GetStatus(ctx, &pb.GetStatusRequest{})
				if err != nil {
					return err
				}
				return a.emit(output, st, notWell(st), func(p *printer) { printStatus(p, st) })
			})
		},
	}
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
		add(len(s.GetProblems()) > 0, "services", s.GetService())
	}
	for _, g := range st.GetAgents() {
		add(!g.GetConnected() || !g.GetRegistered(), "agents", g.GetAgent())
	}
	for _, n := range st.GetNameservers() {
		behind, _ := behind(n, st.GetGeneration())
		add(!n.GetConnected() || !n.GetRegistered() || n.GetRefusal() != "" || behind != current, "nameservers", n.GetNameserver())
	}
	return names
}

func printStatus(p *printer, st *pb.GetStatusResponse) {
	if !st.GetStoreAvailable() {
		p.linef(alarm, "ETCD DOES NOT ANSWER: nothing can be changed, drains neither; answers and failover go on. The state below is the last one known.")
	}
	for _, text := range st.GetAlarms() {
		p.linef(alarm, "ALARM: %s", text)
	}
	if !st.GetHealthReady() && !generation(st.GetGeneration()).IsZero() {
		p.linef(alarm, "HEALTH IS NOT JUDGED here: this controller has not heard enough registered agents; the last verdicts stay, and endpoints never judged count as their services say.")
	}
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
	section(p, "AGENTS", agentTable(st), "none is registered: health is not judged, endpoints count as their service says of the never judged")
	section(p, "NAMESERVERS", nameserverTable(p, st), "none is registered or connected")
	section(p, "OVERRIDES", overrideTable(p, st.GetOverrides()), "none")
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
func share(n, of uint32) cell {
	c := cell{text: fmt.Sprintf("%d/%d", n, of)}
	switch {
	case of == 0:
		c.text = "-"
	case n == 0:
		c.style = red
	case n < of:
		c.style = yellow
	}
	return c
}

func regionTable(st *pb.GetStatusResponse) *table {
	t := newTable("REGION", ">HEALTHY", ">DRAINED", "STATE")
	for _, r := range st.GetRegions() {
		state := cell{"all healthy", green}
		switch n := r.GetEndpoints(); {
		case n == 0:
			state = cell{"no endpoints", plain}
		case r.GetDrained() == n:
			state = cell{"drained", yellow}
		case r.GetHealthy() == 0:
			state = cell{"all unhealthy", red}
		case r.GetDrained() > 0:
			state = cell{"partly drained", yellow}
		case r.GetHealthy() < n:
			state = cell{"partly unhealthy", yellow}
		}
		drained := cell{text: "-"}
		if r.GetDrained() > 0 {
			drained = cell{fmt.Sprintf("%d/%d", r.GetDrained(), r.GetEndpoints()), yellow}
		}
		t.row(r.GetRegion(), share(r.GetHealthy(), r.GetEndpoints()), drained, state)
	}
	return t
}

// printServices lists the services with an unhealthy endpoint, and sums up
// the others.
func printServices(p *printer, st *pb.GetStatusResponse) {
	var sick []*pb.ServiceStatus
	drained := 0
	for _, s := range st.GetServices() {
		switch {
		case s.GetHealthy() < s.GetEndpoints():
			sick = append(sick, s)
		case s.GetDrained() > 0:
			drained++
		}
	}
	if len(st.GetServices()) == 0 {
		return
	}
	summary := count(len(st.GetServices()), "service") + ", all endpoints healthy"
	if len(sick) > 0 {
		summary = fmt.Sprintf("%s, %d with unhealthy endpoints", count(len(st.GetServices()), "service"), len(sick))
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
	t := newTable("SERVICE", ">HEALTHY", ">DRAINED", "ENDPOINT", "ADDRESS", "STATE", "WHY")
	for _, s := range shown {
		drained := ""
		if s.GetDrained() > 0 {
			drained = fmt.Sprintf("%d/%d", s.GetDrained(), s.GetEndpoints())
		}
		row := []any{s.GetService(), share(s.GetHealthy(), s.GetEndpoints()), drained}
		for _, e := range s.GetProblems() {
			t.row(append(row, e.GetEndpoint(), e.GetAddress(), stateCell(e.GetState()), e.GetDetail())...)
			row = []any{"", "", ""}
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

func agentTable(st *pb.GetStatusResponse) *table {
	t := newTable("AGENT", "REGION", "STATE", "HEARD", ">TARGETS")
	for _, g := range st.GetAgents() {
		state, heard := cell{"connected", green}, millis(g.GetHeardMillis())+" ago"
		switch {
		case g.GetConnected() && !g.GetRegistered():
			state = cell{"connected, not registered: its votes do not count", yellow}
		case !g.GetConnected():
			state = cell{"not connected", red}
			if g.GetHeardMillis() == 0 {
				heard = "never"
			}
		}
		t.row(g.GetAgent(), g.GetRegion(), state, heard, unlessZero(uint64(g.GetTargets())))
	}
	return t
}

// current is what behind says of a nameserver that serves the newest generation.
const current = "current"

// behind says how far a nameserver's generation is from the controller's.
func behind(n *pb.NameserverStatus, newest *pb.Generation) (text string, s style) {
	has, want := generation(n.GetGeneration()), generation(newest)
	switch order := has.Compare(want); {
	case has.IsZero() && want.IsZero():
		return current, plain
	case has.IsZero() && !n.GetConnected():
		return "not known", yellow
	case has.IsZero():
		return "serves nothing", red
	case order == 0:
		return current, green
	case order > 0:
		return "AHEAD of this controller", alarm
	case has.Epoch != want.Epoch:
		return fmt.Sprintf("of epoch %d, now %d", has.Epoch, want.Epoch), red
	}
	return count(int(want.Revision-has.Revision), "revision") + " behind", yellow
}

func nameserverTable(p *printer, st *pb.GetStatusResponse) *table {
	t := newTable("NAMESERVER", "REGION", "STATE", "HEARD", "GENERATION", "BEHIND", "VERDICTS FROM", "REFUSES")
	for _, n := range st.GetNameservers() {
		state, heard, follows := cell{"connected", green}, millis(n.GetHeardMillis())+" ago", "not this controller"
		if n.GetFollowing() {
			follows = "this controller"
		}
		switch {
		case n.GetConnected() && !n.GetRegistered():
			state = cell{"connected, not registered", yellow}
		case !n.GetConnected():
			state, follows = cell{"not connected", red}, ""
			if n.GetHeardMillis() == 0 {
				heard = "never"
			}
		}
		distance, s := behind(n, st.GetGeneration())
		gen := ""
		if g := generation(n.GetGeneration()); !g.IsZero() {
			gen = g.String()
		}
		t.row(n.GetNameserver(), n.GetRegion(), state, heard, gen, cell{distance, s}, follows, cell{n.GetRefusal(), red})
	}
	return t
}
