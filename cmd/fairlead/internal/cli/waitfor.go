package cli

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

const (
	// maxWait is as long as is waited: a day, which is more than caches keep.
	maxWait = 24 * time.Hour
	// defaultWait is how long is waited where neither --wait nor --timeout says it.
	defaultWait = 30 * time.Second
)

// The modes of --wait.
const (
	waitServed = "served" // until every registered nameserver serves the change
	waitCaches = "caches" // and until the last compliant cache has forgotten what was before
)

// waitFlag is what --wait asks for. It implements pflag.Value.
type waitFlag struct {
	mode   string        // empty: do not wait
	limit  time.Duration // 0: as --timeout says
	caches bool          // whether the command knows of caches
}

// Set implements pflag.Value. A time is how long to wait, for nameservers.
func (w *waitFlag) Set(s string) error {
	limit, err := time.ParseDuration(s)
	switch {
	case s == waitServed, s == waitCaches && w.caches:
		w.mode, w.limit = s, 0
	case s == waitCaches:
		return errors.New("caches are waited for by drain and force-down alone; want served, or a duration with its unit, as 15s")
	case err != nil && w.caches:
		return errors.New("want served, caches, or a duration with its unit, as 15s")
	case err != nil:
		return errors.New("want served, or a duration with its unit, as 15s")
	case limit < 0, limit > maxWait:
		return fmt.Errorf("want 0s to %s", exact(maxWait))
	case limit == 0:
		w.mode, w.limit = "", 0
	default:
		w.mode, w.limit = waitServed, limit
	}
	return nil
}

// String implements pflag.Value.
func (w *waitFlag) String() string {
	if w.limit > 0 {
		return exact(w.limit)
	}
	return w.mode
}

// Type implements pflag.Value.
func (w *waitFlag) Type() string { return "FOR" }

func (w *waitFlag) on() bool { return w.mode != "" }

// waitFlagOf adds --wait; with caches, also for what caches hold.
func waitFlagOf(c *cobra.Command, w *waitFlag, caches bool) {
	w.caches = caches
	text := "wait for every nameserver to serve the change, as long as --timeout says or a time given here, as 10s; exit code 3 if one does not"
	values := []string{waitServed}
	if caches {
		text = "wait for every nameserver to serve the change (served), or until no compliant cache holds an answer from before (caches), as long as --timeout says or a time given here, as 10s; exit code 3 if it takes longer"
		values = append(values, waitCaches)
	}
	f := c.Flags().VarPF(w, "wait", "", text)
	f.NoOptDefVal = waitServed
	_ = c.RegisterFlagCompletionFunc("wait", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// joinWait joins --wait and a value that stands behind it: whether there is one is
// optional, which the flag library takes for "only behind an equals sign". What is
// no value, the name of a region for one, stays an argument.
func joinWait(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(out, args[i:]...)
		}
		if args[i] == "--wait" && i+1 < len(args) && isWait(args[i+1]) {
			i++
			out = append(out, "--wait="+args[i])
			continue
		}
		out = append(out, args[i])
	}
	return out
}

// isWait tells whether a word behind --wait is its value. A number without a unit
// is a mistake that the flag names.
func isWait(s string) bool {
	_, notTime := time.ParseDuration(s)
	_, notNumber := strconv.ParseFloat(s, 64)
	return s == waitServed || s == waitCaches || notTime == nil || notNumber == nil
}

// waitLimit is how long is waited for the nameservers at most.
func (a *app) waitLimit(w waitFlag) time.Duration {
	switch {
	case !w.on():
		return 0
	case w.limit > 0:
		return w.limit
	case a.flags.Changed("timeout"):
		return a.timeout
	}
	return defaultWait
}
