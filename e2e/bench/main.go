// Command bench measures the health plane's scale and prints the figures as
// Markdown tables: how soon 200 nameservers answer by another verdict, what a
// controller costs by subscriber and by opinion, and what an agent costs by check.
// The controller is a process of its own, so that its processor time and memory are
// its own; the nameservers share another one, and the agents are in the first, so
// that they are heard whatever the others do. All of them are the real packages over
// real gRPC with mutual TLS on loopback, so this imports all three planes. Nothing
// is asserted: `make bench-health` prints what is measured.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// options say what is measured, and of how many.
type options struct {
	subscribers, endpoints, agents int
	changes, masses, mass          int
	// pause is how long nothing happens before a change that is timed.
	pause time.Duration
	// idle is how long it is watched what is used when nothing changes.
	idle time.Duration

	// The scale of a controller.
	scaleAgents int
	scaleOf     []int // targets
	flips       int
	// benchtime of a package's own benchmarks.
	benchtime string
	// profiles is a directory for processor profiles; empty: none are taken.
	profiles  string
	plaintext bool

	out, progress io.Writer
}

func defaults() options {
	return options{
		subscribers: 200, endpoints: 10_000, agents: 3, changes: 200, masses: 20, mass: 1000,
		pause: 100 * time.Millisecond, idle: 5 * time.Second,
		scaleAgents: 50, scaleOf: []int{1000, 10_000}, flips: 200, benchtime: "1s",
		out: os.Stdout, progress: os.Stderr,
	}
}

func (o *options) validate() error {
	var errs []error
	for name, n := range map[string]int{"subscribers": o.subscribers, "changes": o.changes, "masses": o.masses, "mass": o.mass} {
		if n < 1 {
			errs = append(errs, fmt.Errorf("-%s is %d: want at least 1", name, n))
		}
	}
	if o.agents < 3 || o.agents > 100 {
		errs = append(errs, fmt.Errorf("-agents is %d: want 3 to 100, each in a region of its own", o.agents))
	}
	if o.endpoints < o.mass || o.endpoints > maxEndpoints {
		errs = append(errs, fmt.Errorf("-endpoints is %d: want at least as many as change at once, %d, and at most %d", o.endpoints, o.mass, maxEndpoints))
	}
	return errors.Join(errs...)
}

// tables are what can be asked for, in the order in which they are printed.
var tables = []struct {
	name string
	make func(*options) error
}{{"fanout", fanout}, {"controller", scaleOfController}, {"agent", scaleOfAgent}}

func main() {
	if isOne, err := runRole(); isOne {
		exit(err)
		return
	}
	o := defaults()
	flag.IntVar(&o.subscribers, "subscribers", o.subscribers, "nameservers that are subscribed")
	flag.IntVar(&o.endpoints, "endpoints", o.endpoints, "endpoints of fanout")
	flag.IntVar(&o.agents, "agents", o.agents, "agents of fanout, one in a region")
	flag.IntVar(&o.changes, "changes", o.changes, "verdicts that change one by one")
	flag.IntVar(&o.masses, "masses", o.masses, "times that many change at once")
	flag.IntVar(&o.mass, "mass", o.mass, "how many change at once")
	flag.StringVar(&o.profiles, "profiles", "", "`directory` to write processor profiles to")
	flag.BoolVar(&o.plaintext, "plaintext", false, "without TLS")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: bench [flags] [fanout] [controller] [agent]")
		flag.PrintDefaults()
	}
	flag.Parse()
	exit(run(&o, flag.Args()))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o *options, wanted []string) error {
	if err := o.validate(); err != nil {
		return err
	}
	for _, w := range wanted {
		if !slices.ContainsFunc(tables, func(t struct {
			name string
			make func(*options) error
		}) bool {
			return t.name == w
		}) {
			return fmt.Errorf("no table %q: want fanout, controller or agent", w)
		}
	}
	fmt.Fprintf(o.out, "%s, %s/%s, %d processors.\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	for _, t := range tables {
		if len(wanted) > 0 && !slices.Contains(wanted, t.name) {
			continue
		}
		began, from := time.Now(), loads()
		if err := t.make(o); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		fmt.Fprintf(o.out, "Load average %s at the beginning and %s at the end; %v in all.\n\n", from, loads(), time.Since(began).Round(time.Second))
	}
	return nil
}

func (o *options) say(format string, args ...any) {
	fmt.Fprintf(o.progress, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}

// scaleOfAgent runs the benchmarks of the agent and of its peers.
func scaleOfAgent(o *options) error {
	return packageBench(o, "Scale of an agent, on one core, beside its peers on the same work", "./probes", "Agent|Peer", "1x")
}

// packageBench runs a package's benchmarks and prints a table of them.
func packageBench(o *options, title, pkg, pattern, benchtime string) error {
	o.say("go test -bench '%s' %s", pattern, pkg)
	cmd := exec.Command("go", "test", "-v", "-run", "^$", "-bench", pattern, "-benchtime", benchtime, "-timeout", "30m", pkg)
	var text strings.Builder
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&text, o.progress), o.progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go test %s: %w", pkg, err)
	}
	fmt.Fprintf(o.out, "%s (`go test -bench '%s' %s`):\n\n%s\n", title, pattern, pkg, benchTable(text.String()))
	return nil
}
