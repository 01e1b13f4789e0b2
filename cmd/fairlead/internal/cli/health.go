package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/replay"
)

func (a *app) healthCommand() *cobra.Command {
	return group("health", "Try health thresholds on what was really observed", "Try health thresholds on what the agents have really observed.",
		a.replayCommand())
}

// replayOptions are the flags of health replay. What is not asked for is as it is
// configured.
type replayOptions struct {
	service, endpoint string
	rise, fall        int
	quorum, damping   string
	since, recovery   time.Duration
	draw              bool
	output            format
}

func (a *app) replayCommand() *cobra.Command {
	var o replayOptions
	c := &cobra.Command{
		Use:   "replay --service NAME",
		Short: "Say what other thresholds would have done to the last hour",
		Long: `Take what the agents observed of a service's endpoints, judge it again under the
configured thresholds and under those that are asked for, and compare: which
outages would have been found and how soon, and which failovers would have been for
nothing. Nothing is changed. Without --rise, --fall, --quorum and --damping it says
how the configured ones did.

What most regions' last checks say is the yardstick. An outage is a time of at least
--recovery (10s) during which they say that the endpoint fails: a failover was worth
it. Detection counts from the first failed check of those that led to it. A failover
is false during a shorter time, or while most of them pass.

Agents record in memory, as far back as --history-bytes of theirs allows and no
longer than they run. What was recorded is replayed in its rhythm: other thresholds
would have been checked at the same moments, by rapid confirm too. Isolation of
vantages, the mass-withdrawal guard and failback policies are left out.`,
		Example: `  fairlead health replay --service www.example.test --fall 3
  fairlead health replay --service www.example.test --quorum at-least=1 --damping off --since 24h`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("draw") {
				o.draw = a.Colour
			}
			return a.replay(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.service, "service", "", "the service, by its name (required)")
	f.StringVar(&o.endpoint, "endpoint", "", "only this endpoint")
	f.IntVar(&o.rise, "rise", 0, "try so many successes in a row for healthy")
	f.IntVar(&o.fall, "fall", 0, "try so many failures in a row for unhealthy")
	f.StringVar(&o.quorum, "quorum", "", "try majority, strict, any-healthy or at-least=N regions")
	f.StringVar(&o.damping, "damping", "", "try off, default, or recoveries=N,hold=DURATION,max-hold=DURATION")
	f.DurationVar(&o.since, "since", time.Hour, "look so far back; 0: as far as was recorded")
	f.DurationVar(&o.recovery, "recovery", replay.DefaultRecovery, "how long an outage lasts at least to be worth a failover")
	f.BoolVar(&o.draw, "draw", false, "draw what was seen and what would have been judged (default: on a terminal)")
	o.output = formatTable
	f.VarP(&o.output, "output", "o", "table, wide (all targets and agents), json or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("service", a.completeFlag("service"))
	_ = c.RegisterFlagCompletionFunc("quorum", cobra.FixedCompletions([]string{"majority", "strict", "any-healthy", "at-least="}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	_ = c.RegisterFlagCompletionFunc("damping", cobra.FixedCompletions([]string{"off", "default", "recoveries="}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	return c
}

// check checks the flags, all but the thresholds.
func (o *replayOptions) check() error {
	switch {
	case o.service == "":
		return usagef("missing --service NAME: whose endpoints to look at")
	case o.output == formatName:
		return usagef("-o name: want table, wide, json or yaml")
	case o.since < 0:
		return usagef("--since %v: want a time, as 1h, or 0 for all that was recorded", o.since)
	case o.recovery <= 0:
		return usagef("--recovery %v: want a time, as 10s", o.recovery)
	}
	return nil
}

// most is the highest rise and fall, and the most recoveries.
const (
	mostInARow     = 100
	mostRecoveries = 50
)

// asked is a check with the thresholds that are asked for.
func (o *replayOptions) asked(configured *pb.HealthCheckSpec) (*pb.HealthCheckSpec, error) {
	s := proto.CloneOf(configured)
	for _, n := range []struct {
		flag  string
		value int
		field *uint32
	}{{"rise", o.rise, &s.Rise}, {"fall", o.fall, &s.Fall}} {
		switch {
		case n.value < 0, n.value > mostInARow:
			return nil, usagef("--%s %d: want 1 to %d", n.flag, n.value, mostInARow)
		case n.value > 0:
			*n.field = uint32(n.value)
		}
	}
	if err := setQuorum(s, o.quorum); err != nil {
		return nil, err
	}
	return s, setDamping(s, o.damping)
}

func setQuorum(s *pb.HealthCheckSpec, text string) error {
	rules := map[string]pb.QuorumRule{
		"majority": pb.QuorumRule_QUORUM_RULE_MAJORITY, "strict": pb.QuorumRule_QUORUM_RULE_STRICT, "any-healthy": pb.QuorumRule_QUORUM_RULE_ANY_HEALTHY,
	}
	if text == "" {
		return nil
	}
	if rule, ok := rules[text]; ok {
		s.Quorum, s.UnhealthyRegions = rule, 0
		return nil
	}
	digits, ok := strings.CutPrefix(text, "at-least=")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > regions.MaxRegions {
		return usagef("--quorum %q: want majority, strict, any-healthy or at-least=N, as at-least=2", text)
	}
	s.Quorum, s.UnhealthyRegions = pb.QuorumRule_QUORUM_RULE_AT_LEAST, uint32(n)
	return nil
}

func setDamping(s *pb.HealthCheckSpec, text string) error {
	switch text {
	case "":
		return nil
	case "default":
		s.Damping = nil
		return nil
	case "off":
		s.Damping = &pb.FlapDamping{Off: true}
		return nil
	}
	d := &pb.FlapDamping{}
	var seen []string
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if slices.Contains(seen, key) {
			return usagef("--damping %q: %s is given twice", text, key)
		}
		seen = append(seen, key)
		lasts, err := time.ParseDuration(value)
		wrong := err != nil || lasts < time.Second || lasts > time.Hour
		switch key {
		case "recoveries":
			n, err := strconv.Atoi(value)
			wrong = err != nil || n < 1 || n > mostRecoveries
			d.Recoveries = uint32(max(n, 0))
		case "hold":
			d.Hold = durationpb.New(lasts)
		case "max-hold":
			d.MaxHold = durationpb.New(lasts)
		default:
			return usagef("--damping %q: want off, default, or any of recoveries=N, hold=DURATION and max-hold=DURATION with commas between them", text)
		}
		if wrong {
			return usagef("--damping %q: %s %q: want 1 to %d recoveries, and durations from 1s to 1h", text, key, value, mostRecoveries)
		}
	}
	s.Damping = d
	return nil
}

// dampingWords are a check's damping in short.
func dampingWords(s *pb.HealthCheckSpec) string {
	d := s.GetDamping()
	if d.GetOff() {
		return "off"
	}
	n, hold, most := d.GetRecoveries(), d.GetHold(), d.GetMaxHold()
	if n == 0 {
		n = health.DefaultRecoveries
	}
	text := func(d *durationpb.Duration, otherwise time.Duration) string {
		if d == nil {
			return exact(otherwise)
		}
		return exact(d.AsDuration())
	}
	return fmt.Sprintf("from recovery %d on, %s to %s", n, text(hold, health.DefaultBaseHold), text(most, health.DefaultMaxHold))
}

// quorumWords are a check's quorum in short.
func quorumWords(s *pb.HealthCheckSpec) string {
	switch s.GetQuorum() {
	case pb.QuorumRule_QUORUM_RULE_UNSPECIFIED:
		return "majority"
	case pb.QuorumRule_QUORUM_RULE_AT_LEAST:
		return fmt.Sprintf("at-least=%d", s.GetUnhealthyRegions())
	}
	return word(s.GetQuorum(), "QUORUM_RULE_")
}
