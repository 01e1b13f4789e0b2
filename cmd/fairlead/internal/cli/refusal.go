package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// refusedError is a change that the safety rules refused: the sentence, and the
// rules as a table.
type refusedError struct {
	err   error
	table string
}

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// decisionOf is the decision that a refusal carries; nil: it carries none.
func decisionOf(err error) *pb.SafetyDecision {
	st, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, d := range st.Details() {
		if decision, ok := d.(*pb.SafetyDecision); ok {
			return decision
		}
	}
	return nil
}

// refused says of a change that was not made what would pass it: of the safety rules,
// each with its numbers, and of a control plane that cannot write, break-glass.
func (a *app) refused(err error, o leverOptions) error {
	if decision := decisionOf(err); decision != nil {
		if o.output == formatJSON || o.output == formatYAML {
			var doc document
			doc.add("refused", true)
			doc.add("message", err.Error())
			doc.add("safety", decision)
			return errors.Join(a.emitDocument(o.output, &doc), err)
		}
		p := a.printer()
		p.colour = p.colour && a.Progress
		p.wide = o.output == formatWide
		printDecision(p, decision, p.wide)
		if overridable(decision) && !o.force {
			p.linef(plain, "to do it all the same, with a reason that says why:")
			p.linef(bold, "  %s", a.command("--force"))
		}
		return &refusedError{err: fmt.Errorf("the safety rules refuse it (%s); nothing was changed", broken(decision)), table: p.String()}
	}
	st, _ := status.FromError(err)
	if st.Code() != codes.Unavailable && st.Code() != codes.DeadlineExceeded || o.scope == nil || o.start != "" || o.end != "" || o.dryRun || o.etag != "" {
		return err
	}
	if call, ok := errors.AsType[*callError](err); ok {
		call.advice = "" // this is to the point
	}
	return fmt.Errorf("%w\nif it cannot wait, tell the nameservers themselves:\n  %s", err, a.directCommand(o))
}

// overridable tells whether force passes all that refuses.
func overridable(d *pb.SafetyDecision) bool {
	return !slices.ContainsFunc(d.GetFindings(), func(f *pb.SafetyFinding) bool { return !f.GetPassed() && !f.GetOverridable() })
}

// broken are the rules that refuse, by name.
func broken(d *pb.SafetyDecision) string {
	var out []string
	for _, f := range d.GetFindings() {
		if !f.GetPassed() {
			out = append(out, f.GetRule())
		}
	}
	return strings.Join(out, ", ")
}

// printDecision prints how the safety rules judged a change: the rules that are
// broken, and with all those that passed and the regions before and after.
func printDecision(p *printer, d *pb.SafetyDecision, all bool) {
	t := newTable("RULE", "VERDICT", "--FORCE")
	for _, f := range d.GetFindings() {
		// The sentences are long, so they stand below, not beside.
		why := []line{{plain, f.GetText()}}
		switch {
		case f.GetPassed() && all:
			t.row(f.GetRule(), cell{"passed", green})
			t.below(why)
		case f.GetPassed():
		default:
			force, verdict := cell{"passes it", yellow}, cell{"refused", red}
			if !f.GetOverridable() {
				force = cell{"no, the rule is absolute", red}
			}
			if d.GetForced() {
				force, verdict = cell{}, cell{"passed by force", yellow}
			} else if would := strings.TrimSuffix(f.GetWouldPass(), "; --force passes it"); would != "" {
				why = append(why, line{plain, "would pass: " + would})
			}
			t.row(f.GetRule(), verdict, force)
			t.below(why)
		}
	}
	if len(t.rows) > 0 {
		t.print(p)
	} else if all {
		p.linef(plain, "no safety rule is stated")
	}
	if !all {
		return
	}
	if r := safetyRegions(d); len(r.rows) > 0 {
		p.WriteByte('\n')
		r.print(p)
	}
	if d.GetController() != "" {
		view := fmt.Sprintf("as controller %s sees health, %s old", d.GetController(), millis(d.GetHealthAgeMillis()))
		if !d.GetHealthReady() {
			view += "; it has not heard enough agents to judge by itself"
		}
		p.linef(plain, "%s", view)
	}
}

// safetyRegions are the regions before and after.
func safetyRegions(d *pb.SafetyDecision) *table {
	t := newTable("REGION", ">CAPACITY", ">ENDPOINTS", ">DRAINED", ">HEALTHY LEFT", "IN SERVICE")
	for _, r := range d.GetRegions() {
		drained := cell{text: fmt.Sprint(r.GetDrainedBefore())}
		if r.GetDrainedAfter() != r.GetDrainedBefore() {
			drained = cell{fmt.Sprintf("%d → %d", r.GetDrainedBefore(), r.GetDrainedAfter()), yellow}
		}
		left := cell{text: fmt.Sprint(r.GetHealthyAfter())}
		in := cell{text: yes(r.GetInServiceAfter())}
		if r.GetInServiceBefore() != r.GetInServiceAfter() {
			in.text = yes(r.GetInServiceBefore()) + " → " + yes(r.GetInServiceAfter())
		}
		if !r.GetInServiceAfter() {
			in.style = yellow
		}
		t.row(r.GetRegion(), unlessZero(r.GetCapacity()), fmt.Sprint(r.GetEndpoints()), drained, left, in)
	}
	return t
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// directCommand is the command line that runs, past the controllers: what is new
// stands right behind what it is about.
func (a *app) directCommand(o leverOptions) string {
	after := time.Hour
	switch {
	case o.expire.given && o.expire.after == 0:
		after = maxBreakGlass
	case o.expire.given:
		after = min(o.expire.after, maxBreakGlass)
	}
	extra := []string{"--break-glass", "--expire-after", exact(after)}
	var args []string
	for i := 0; i < len(a.args); i++ {
		arg := a.args[i]
		switch {
		case arg == "--expire-after":
			i++
			continue
		case strings.HasPrefix(arg, "--expire-after="), arg == "--wait", strings.HasPrefix(arg, "--wait="):
			continue
		}
		args = append(args, arg)
		if extra != nil && arg == o.target {
			args, extra = append(args, extra...), nil
		}
	}
	return commandLine(append(args, extra...))
}

// command is the command line that runs, with more behind it, as a shell takes it.
func (a *app) command(more ...string) string {
	return commandLine(append(a.args[:len(a.args):len(a.args)], more...))
}

func commandLine(args []string) string {
	out := "fairlead"
	for _, arg := range args {
		out += " " + quoted(arg)
	}
	return out
}

// quoted is a word as a shell takes it.
func quoted(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:=,@+%", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
