// Package cli is the operator's command line: every verb of `fairlead` but
// `dev`. It may import the API's generated code, the pure regions packages and
// cmd/internal/ops. What it prints comes from the controllers, from a
// nameserver (explain --nameserver) and from the files that -f names; it keeps
// nothing itself.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	defaultController = "127.0.0.1:7443"
	defaultTimeout    = 15 * time.Second
)

// Streams are what a run reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Colour tells whether Out is for eyes; Progress whether Err is.
	Colour, Progress bool
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// System is the streams of the process.
func System() Streams {
	return Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Colour:   isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		Progress: isTerminal(os.Stderr),
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// app is one run.
type app struct {
	Streams
	// The persistent flags.
	controllers []string
	timeout     time.Duration
	// ran is set once a command's own work begins: an error before that is
	// one of usage.
	ran bool
}

// Run runs one command line, without the program's name, and returns the exit
// code: 0 done, 1 refused or failed, 2 usage, 3 not converged in time. The
// commands in extra are added to those of this package.
func Run(ctx context.Context, args []string, s Streams, extra ...*cobra.Command) int {
	a := &app{Streams: s}
	if a.Now == nil {
		a.Now = time.Now
	}
	root := a.root(extra)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(cmd, err)
}

func (a *app) root(extra []*cobra.Command) *cobra.Command {
	root := group("fairlead", "Operate Fairlead, the DNS load balancer across regions", `fairlead applies and shows Fairlead's configuration, drains regions and explains
answers. It talks to the controllers that --controller names, the first that
answers.

Every flag can also come from the environment: --dry-run from FAIRLEAD_DRY_RUN.
A flag on the command line wins.

Exit codes: 0 done, 1 refused or failed, 2 usage, 3 not converged in time.`,
		a.applyCommand(), a.diffCommand(), a.getCommand(), a.describeCommand(), a.deleteCommand(), a.exportCommand(),
		a.regionCommand(), a.overrideCommand(), a.explainCommand(), a.statusCommand(), a.zoneCommand(), a.versionCommand(),
	)
	root.AddCommand(extra...)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SilenceErrors, root.SilenceUsage = true, true
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringSliceVar(&a.controllers, "controller", []string{defaultController}, "the controllers' gRPC addresses, HOST:PORT; the next is tried when one does not answer")
	f.DurationVar(&a.timeout, "timeout", defaultTimeout, "how long to wait for an answer; --wait comes on top")
	// The line of a group's own use says it already.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .HasAvailableSubCommands}}\n  {{.CommandPath}} [command]{{end}}", "", 1))
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return a.settle(c) }
	a.mark(root)
	return root
}

// mark notes, in every command, when its own work begins.
func (a *app) mark(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			a.ran = true
			return run(c, args)
		}
	}
	c.Flags().SortFlags = false
	for _, sub := range c.Commands() {
		a.mark(sub)
	}
}

// settle sets the flags that were not given from the environment, and checks
// what all commands share.
func (a *app) settle(c *cobra.Command) error {
	var err error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || err != nil {
			return
		}
		name := "FAIRLEAD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := os.LookupEnv(name); ok {
			if bad := c.Flags().Set(f.Name, v); bad != nil {
				err = fmt.Errorf("%s=%s: %w", name, v, bad)
			}
		}
	})
	if err == nil && a.timeout <= 0 {
		err = fmt.Errorf("--timeout %v: want more than 0s", a.timeout)
	}
	return err
}

// group is a command that only holds others.
func group(use, short, long string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use + " COMMAND", Short: short, Long: long,
		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		// So that an unknown command is reported before its flags are.
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE: func(c *cobra.Command, args []string) error {
			var names []string
			for _, sub := range c.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name())
				}
			}
			switch {
			case len(args) > 0:
				hint := config.Suggest(args[0], names)
				if hint == "" {
					hint = ": want one of " + strings.Join(names, ", ")
				}
				return usagef("no command %q%s", args[0], hint)
			case !c.HasParent():
				return c.Help()
			default:
				return usagef("want one of %s", strings.Join(names, ", "))
			}
		},
	}
	c.AddCommand(subs...)
	return c
}

// exactly is the check for a fixed list of arguments, by what usage calls them.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("missing %s", strings.Join(names[len(args):], " and "))
		case len(args) > len(names):
			return fmt.Errorf("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}
