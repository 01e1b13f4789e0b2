package cli

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

type explainOptions struct {
	client     string
	qtype      string
	nameserver string
	output     format
}

func (a *app) explainCommand() *cobra.Command {
	var o explainOptions
	c := &cobra.Command{
		Use:   "explain NAME --client ADDR",
		Short: "Say what a client is answered, and why",
		Long: `Say what a query for NAME by a client is answered, and why: where the client is,
how the regions rank for it, which of them serve, and on what evidence.

A controller explains from the newest generation. With --nameserver, that
nameserver explains from what it answers with at this moment. Both choose by the
same code that answers queries. dig tells it too, where a nameserver allows that
(fairlead-authdns --debug-clients); the command for it is printed below.`,
		Example:           "  fairlead explain www.example.test --client 193.0.6.139",
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeName("service"),
		RunE:              func(c *cobra.Command, args []string) error { return a.explain(c.Context(), o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.client, "client", "", "the client's address or prefix, as 193.0.6.139 or 193.0.6.0/24")
	f.StringVar(&o.qtype, "type", "A", "A, AAAA or CNAME")
	f.StringVar(&o.nameserver, "nameserver", "", "ask this nameserver, at its own generation: a Nameserver resource, or HOST:PORT")
	outputFlag(c, &o.output, "the answers")
	_ = c.RegisterFlagCompletionFunc("nameserver", a.completeFlag("nameserver"))
	_ = c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"A", "AAAA", "CNAME"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) explain(ctx context.Context, o explainOptions, name string) error {
	if o.client == "" {
		return usagef("missing --client ADDR: an address or a prefix, as 193.0.6.139 or 193.0.6.0/24")
	}
	req := &pb.ExplainRequest{Name: name, Type: o.qtype, Client: o.client}
	dns := ""
	var unseen []*pb.BreakGlassStatus
	show := func(ctx context.Context, c *client) error {
		x, err := c.Explain(ctx, req)
		if err != nil {
			return err
		}
		return a.emit(o.output, x, x.GetAnswers(), func(p *printer) {
			printExplanation(p, req, x)
			for _, b := range unseen {
				p.linef(yellow, "%s: a break-glass %s, which this does not know of; --nameserver %s does", strings.Join(b.GetNameservers(), ", "), recordWords(b.GetRecord()), b.GetNameservers()[0])
			}
			p.linef(plain, "The same through dig, from where it may ask: %s", digCommand(dns, req))
		})
	}
	if o.nameserver == "" {
		for _, k := range a.keptNameservers().Nameservers {
			if dns = k.DNS; dns != "" {
				break
			}
		}
		err := a.with(ctx, 0, func(ctx context.Context, c *client) error {
			unseen = c.breakGlassOf(ctx, name)
			return show(ctx, c)
		})
		return a.orAskNameservers(err, a.command("--nameserver", "NAME"))
	}
	n, err := a.nameserver(ctx, o.nameserver)
	if err != nil {
		return err
	}
	dns = n.DNS
	settings, err := a.settings()
	if err != nil {
		return err
	}
	sec, err := a.secureNameservers(settings)
	if err != nil {
		return err
	}
	c, err := dial(flagNameserver, []string{n.GRPC}, sec, n.identity())
	if err != nil {
		return err
	}
	c.conns.patience = a.patience
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return show(ctx, c)
}

// breakGlassOf are the break-glass records that stand at nameservers, and that may
// hold endpoints of a service: a controller explains without them. Where they cannot
// be listed, there are none.
func (c *client) breakGlassOf(ctx context.Context, service string) (out []*pb.BreakGlassStatus) {
	list, err := c.ListOverrides(ctx, &pb.ListOverridesRequest{PageSize: 1})
	if err != nil {
		return nil
	}
	service = strings.ToLower(strings.TrimSuffix(service, "."))
	for _, b := range list.GetBreakGlass() {
		of := b.GetRecord().GetScope().GetService()
		if stands(b.GetRecord()) && len(b.GetNameservers()) > 0 && (of == "" || of == service) {
			out = append(out, b)
		}
	}
	return out
}

// nameserver is one that --nameserver names, by its address or as a controller knows
// it; where no controller answers, as one did last.
func (a *app) nameserver(ctx context.Context, name string) (n nameserver, err error) {
	if _, _, err := net.SplitHostPort(name); err == nil {
		return nameserver{GRPC: name}, nil
	}
	err = a.with(ctx, 0, func(ctx context.Context, c *client) error {
		r, err := c.one(ctx, config.KindNameserver, name)
		n = nameserverOf(r.GetNameserver())
		return err
	})
	if code := status.Code(err); code == codes.Unavailable || code == codes.DeadlineExceeded {
		kept := a.keptNameservers()
		if i := slices.IndexFunc(kept.Nameservers, func(k nameserver) bool { return k.Name == strings.ToLower(name) }); i >= 0 {
			fmt.Fprintf(a.Err, "no controller answers; where %s is was learnt %s ago\n", kept.Nameservers[i].Name, human(a.Now().Sub(kept.Learnt)))
			n, err = kept.Nameservers[i], nil
		}
	}
	if err != nil || n.GRPC != "" {
		return n, err
	}
	return n, fmt.Errorf("nameservers %q has no spec.grpc, so where it listens is not known: add it, or give --nameserver HOST:PORT", name)
}

// digCommand is what asks a nameserver for the same explanation.
func digCommand(dns string, req *pb.ExplainRequest) string {
	at, port := "NAMESERVER", ""
	if host, p, err := net.SplitHostPort(dns); err == nil {
		at = host
		if p != "53" {
			port = " -p " + p
		}
	}
	name := strings.TrimSuffix(req.GetName(), ".")
	if t := strings.ToLower(req.GetType()); t != "" && t != "a" {
		name = "_" + t + "." + name
	}
	return fmt.Sprintf("dig @%s%s +tcp CH TXT %s.explain.fairlead. +subnet=%s", at, port, name, req.GetClient())
}

// printExplanation tells the story from the client to the answer.
func printExplanation(p *printer, req *pb.ExplainRequest, x *pb.ExplainResponse) {
	p.linef(bold, "%s %s, asked for by %s", strings.TrimSuffix(req.GetName(), "."), strings.ToUpper(req.GetType()), req.GetClient())
	p.WriteByte('\n')
	if name := strings.ToLower(strings.TrimSuffix(req.GetName(), ".")); name != x.GetService() {
		fact(p, "Service", x.GetService())
	}
	fact(p, "Client", place(x.GetClient()))
	fact(p, "Ranked by", rankedBy(x))
	p.WriteByte('\n')
	ranking(x).print(p)
	for _, r := range x.GetRegions() {
		if len(r.GetEndpoints()) > 0 {
			printEndpoints(p, r)
		}
		// Farther down the ranking nothing has a bearing on the answer.
		if r.GetSelected() && !p.wide {
			break
		}
	}
	titled(p, "OVERRIDES", overrideTable(p, x.GetOverrides()))
	titled(p, "BREAK-GLASS", breakGlassTable(p, recordsOf(x)))
	p.WriteByte('\n')
	answers := strings.Join(x.GetAnswers(), ", ")
	if answers == "" {
		answers = "NODATA"
	}
	fact(p, "Answer", answers)
	fact(p, "TTL", fmt.Sprintf("%ds", x.GetTtl()))
	fact(p, "ECS scope", fmt.Sprintf("/%d", x.GetScope()))
	fact(p, "Rung", x.GetRung())
	p.WriteByte('\n')
	p.linef(bold, "%s", sentence(x.GetSummary()))
	control := ""
	if ms := x.GetControlAgeMillis(); p.wide && ms > 0 || silent(ms, controlOld) {
		control = fmt.Sprintf(", known to be the newest %s ago", millis(ms))
	}
	p.linef(plain, "As %s sees it: %s%s, health state %s old.", x.GetSource(), inGeneration(x.GetGeneration()), control, millis(x.GetHealthAgeMillis()))
}

// controlOld is how old a generation's confirmation is before that is said.
const controlOld = 10 * time.Second

// recordsOf are the break-glass records of an explanation.
func recordsOf(x *pb.ExplainResponse) (out []*pb.BreakGlassStatus) {
	for _, r := range x.GetBreakGlass() {
		out = append(out, &pb.BreakGlassStatus{Record: r})
	}
	return out
}

func fact(p *printer, name, value string) { p.linef(plain, "%-10s %s", name, value) }

// sentence ends a text with a full stop.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// place says where a client is.
func place(l *pb.ClientLocation) string {
	out := l.GetAddress()
	if l.GetNetwork() != "" {
		out += " in " + l.GetNetwork()
	}
	var parts []string
	for _, s := range []string{l.GetCity(), l.GetSubdivision(), l.GetCountry(), l.GetContinent()} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if l.Latitude != nil && l.Longitude != nil {
		parts = append(parts, fmt.Sprintf("at %.2f %.2f", l.GetLatitude(), l.GetLongitude()))
	}
	by := ""
	if l.GetDatabase() != "" {
		by = " (" + l.GetDatabase() + ")"
	}
	if len(parts) == 0 {
		return out + ": the geo data do not say where that is" + by
	}
	return out + ": " + strings.Join(parts, ", ") + by
}

// rankings say what made a ranking.
var rankings = map[string]string{
	"cidr-rule":        "the client's address",
	"subdivision-rule": "the client's subdivision",
	"country-rule":     "the client's country",
	"continent-rule":   "the client's continent",
	"nearest":          "distance",
	"fixed-order":      "the policy's order of regions, for every client",
	"default":          "the policy's default order, since the client's place is not known",
}

func rankedBy(x *pb.ExplainResponse) string {
	by := rankings[x.GetClient().GetRankedBy()]
	if by == "" {
		by = x.GetClient().GetRankedBy()
	}
	if rule := x.GetClient().GetRule(); rule != "" {
		by += fmt.Sprintf(" (rule %s)", rule)
	}
	return by + "; policy " + x.GetPolicy()
}

// ranking is the regions in the client's order.
func ranking(x *pb.ExplainResponse) *table {
	t := newTable(">RANK", "REGION", ">KM", ">BIASED KM", "STATE", "REASON")
	biased := false
	for _, r := range x.GetRegions() {
		biased = biased || r.GetBiasedKm() != r.GetDistanceKm()
	}
	for i, r := range x.GetRegions() {
		state := cell{"out of service", red}
		switch {
		case r.GetSelected():
			state = cell{"answers", green}
		case r.GetInService():
			state = cell{"in service", plain}
		case strings.HasPrefix(r.GetReason(), "drained"):
			state = cell{"drained", yellow}
		}
		km, biasedKm := "", ""
		if r.DistanceKm != nil {
			km = fmt.Sprintf("%.0f", r.GetDistanceKm())
		}
		if r.BiasedKm != nil && biased {
			biasedKm = fmt.Sprintf("%.0f", r.GetBiasedKm())
		}
		t.row(fmt.Sprint(i+1), r.GetRegion(), km, biasedKm, state, without(r.GetReason(), state.text))
	}
	return t
}

// without cuts what the column before says already off a reason.
func without(reason, state string) string {
	rest, ok := strings.CutPrefix(reason, state)
	switch {
	case !ok:
		return reason
	case strings.HasPrefix(rest, " (") && strings.HasSuffix(rest, ")"):
		return rest[2 : len(rest)-1]
	case strings.HasPrefix(rest, ", "), strings.HasPrefix(rest, ": "):
		return rest[2:]
	}
	return reason
}

// printEndpoints prints the endpoints of a region, each with its evidence.
func printEndpoints(p *printer, r *pb.RegionExplanation) {
	p.WriteByte('\n')
	t := newTable("ENDPOINT", "ADDRESS", ">WEIGHT", "STATE", "ANSWERS", "WHY")
	for _, e := range r.GetEndpoints() {
		answers := "no"
		if e.GetAnswers() {
			answers = "yes"
		}
		t.row(r.GetRegion()+"/"+e.GetEndpoint(), e.GetAddress(), fmt.Sprint(e.GetWeight()), stateCell(e.GetState()), answers, e.GetDetail())
	}
	t.print(p)
	for _, e := range r.GetEndpoints() {
		printEvidence(p, e)
	}
}

// printEvidence prints the votes on one endpoint.
func printEvidence(p *printer, e *pb.EndpointExplanation) {
	h := e.GetHealth()
	if len(h.GetVotes()) == 0 {
		return
	}
	line := "votes on " + h.GetTarget()
	// Overrides hide the verdict underneath; it is told here then.
	if verdict := verdictWord(h.GetVerdict()); !strings.Contains(e.GetDetail(), verdict+" for ") && h.GetVerdict() != pb.HealthStatus_HEALTH_STATUS_UNKNOWN {
		line += fmt.Sprintf(": %s for %s", verdict, millis(h.GetHeldMillis()))
	}
	if h.GetQuorum() != h.GetVerdict() {
		line += fmt.Sprintf("; the quorum is %s now", verdictWord(h.GetQuorum()))
		switch {
		case h.GetGuardTrip() != 0:
			line += guardHolds(h)
		case h.GetVerdict() != pb.HealthStatus_HEALTH_STATUS_UNKNOWN:
			line += ", so the verdict stays"
		}
	}
	p.linef(plain, "  %s", line)
	t := newTable("VOTE", "AGENT", "REGION", "HELD", "COUNTED", "SAW")
	t.indent = "    "
	for _, v := range h.GetVotes() {
		vote := cell{text: verdictWord(v.GetStatus())}
		switch v.GetStatus() {
		case pb.HealthStatus_HEALTH_STATUS_HEALTHY:
			vote.style = green
		case pb.HealthStatus_HEALTH_STATUS_UNHEALTHY:
			vote.style = red
		}
		counted, held := "yes", millis(v.GetHeldMillis())
		if v.GetHeldMillis() == 0 && !v.GetCounted() {
			held = ""
		}
		switch {
		case !v.GetCounted():
			counted = "no: " + v.GetWhyNot()
		case damped(v):
			counted = fmt.Sprintf("as UNHEALTHY: damped after %s within an hour", count(int(v.GetRecentTransitions()), "change"))
		case v.GetWavering():
			counted = "yes, wavering"
		}
		t.row(vote, v.GetAgent(), v.GetRegion(), held, counted, v.GetReason())
	}
	t.print(p)
}

// guardHolds says of a verdict that differs from the quorum who keeps it.
func guardHolds(h *pb.TargetHealth) string {
	return fmt.Sprintf(", but the mass-withdrawal guard holds the verdict (trip %d)", h.GetGuardTrip())
}
