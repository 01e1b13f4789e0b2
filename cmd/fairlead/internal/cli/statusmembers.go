package cli

import (
	"fmt"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// agentSilent is after how long controllers no longer count what an agent said
	// last, and nameserverSilent is some of the reports that nameservers make every
	// second: whoever is connected and silent for longer hangs.
	agentSilent      = 3 * time.Second
	nameserverSilent = 5 * time.Second
	// skewWorthTelling is how wrong an agent's clock is before that is said. Nothing
	// depends on it but logs.
	skewWorthTelling = time.Second
)

// silent tells whether somebody who is connected was not heard for too long.
func silent(heard uint64, limit time.Duration) bool {
	return heard > uint64(limit.Milliseconds())
}

// stale tells whether the verdicts that a nameserver answers by are too old.
func stale(n *pb.NameserverStatus) bool {
	return n.GetHealthState() != "" && n.GetHealthState() != fresh
}

func agentTable(st *pb.GetStatusResponse) *table {
	t := newTable("AGENT", "REGION", "STATE", "HEARD", ">TARGETS", "CLOCK")
	for _, g := range st.GetAgents() {
		state, heard := cell{"connected", green}, cell{text: millis(g.GetHeardMillis()) + " ago"}
		switch {
		case !g.GetConnected():
			state = cell{"not connected", red}
			if g.GetHeardMillis() == 0 {
				heard.text = "never"
			}
		case silent(g.GetHeardMillis(), agentSilent):
			state, heard.style = cell{"connected, silent: its votes do not count", red}, red
		case !g.GetRegistered():
			state = cell{"connected, not registered: its votes do not count", yellow}
		case g.GetIsolated() != "":
			state = cell{"isolated: " + g.GetIsolated(), red}
		}
		t.row(g.GetAgent(), g.GetRegion(), state, heard, unlessZero(uint64(g.GetTargets())), skew(g))
	}
	return t
}

// skew is how an agent's clock differs from the controller's, where it does by much.
func skew(g *pb.AgentStatus) cell {
	d := time.Duration(g.GetClockSkewMillis()) * time.Millisecond
	switch {
	case !g.GetConnected() || d.Abs() <= skewWorthTelling:
		return cell{}
	case d < 0:
		return cell{human(-d) + " behind", yellow}
	}
	return cell{human(d) + " ahead", yellow}
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
	t := newTable("NAMESERVER", "REGION", "STATE", "HEARD", "GENERATION", "BEHIND", "VERDICTS FROM", "VERDICTS", "REFUSES")
	for _, n := range st.GetNameservers() {
		state, heard, follows := cell{"connected", green}, cell{text: millis(n.GetHeardMillis()) + " ago"}, "not this controller"
		if n.GetFollowing() {
			follows = "this controller"
		}
		switch {
		case !n.GetConnected():
			state, follows = cell{"not connected", red}, ""
			if n.GetHeardMillis() == 0 {
				heard.text = "never"
			}
		case silent(n.GetHeardMillis(), nameserverSilent):
			state, heard.style = cell{"connected, silent", red}, red
		case !n.GetRegistered():
			state = cell{"connected, not registered", yellow}
		}
		distance, s := behind(n, st.GetGeneration())
		gen := ""
		if g := generation(n.GetGeneration()); !g.IsZero() {
			gen = g.String()
		}
		t.row(n.GetNameserver(), n.GetRegion(), state, heard, gen, cell{distance, s}, follows, verdictAge(n), cell{n.GetRefusal(), red})
	}
	return t
}

// verdictAge tells that the verdicts which a nameserver answers by are too old, and
// what that makes of them.
func verdictAge(n *pb.NameserverStatus) cell {
	if !n.GetConnected() || !stale(n) {
		return cell{}
	}
	text := n.GetHealthState()
	if ms := n.GetHealthAgeMillis(); ms > 0 {
		text += ", " + millis(ms) + " old"
	}
	return cell{text, red}
}
