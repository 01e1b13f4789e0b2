// Package cli is the operator's command line: every verb of `fairlead` but
// `dev`. It may import the API's generated code, the pure regions packages and
// cmd/internal/ops, options, tlsfiles and tokenfile. What it prints comes from the
// controllers, from nameservers (explain --nameserver, status --direct, break-glass)
// and from the files that -f names; where to connect, from flags, the environment and
// the file of contexts. Beside that file it keeps, in the user's cache, where the
// nameservers of each installation are, for the day on which no controller answers.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/options"
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
	flags       *pflag.FlagSet
	controllers []string
	tls         struct{ cert, key, ca string }
	token       string
	insecure    bool
	context     string
	config      string
	timeout     time.Duration
	// What they come to, once it is asked for.
	resolved *settings
	security *security
	// args is the command line, and completing tells that it is still typed.
	args       []string
	completing bool
	// ran is set once a command's own work begins: an error before that is
	// one of usage.
	ran bool
}

// Run runs one command line, without the program's name, and returns the exit
// code: 0 done, 1 refused or failed, 2 usage, 3 not converged in time. The
// commands in extra are added to those of this package.
func Run(ctx context.Context, args []string, s Streams, extra ...*cobra.Command) int {
	a := &app{Streams: s, args: args}
	if a.Now == nil {
		a.Now = time.Now
	}
	root := a.root(extra)
	root.SetArgs(joinWait(args))
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(cmd, err)
}

func (a *app) root(extra []*cobra.Command) *cobra.Command {
	root := group("fairlead", "Operate Fairlead, the DNS load balancer across regions", `fairlead applies and shows Fairlead's configuration, drains regions and explains
answers. It talks to the controllers that --controller names, the first that
answers, over mutual TLS; without a certificate, to this machine only.

Addresses and certificate can be kept in a context (fairlead context set). Every
flag can also come from the environment: --dry-run from FAIRLEAD_DRY_RUN; and from
"options" in the file of contexts: fairlead context says how. A flag on the command
line wins over the environment, that over the context, and that over the options.

Exit codes: 0 done, 1 refused or failed, 2 usage, 3 not converged in time.`,
		a.applyCommand(), a.diffCommand(), a.getCommand(), a.describeCommand(), a.deleteCommand(), a.exportCommand(),
		a.configCommand(), a.regionCommand(), a.endpointCommand(), a.overrideCommand(), a.latchCommand(), a.healthCommand(), a.explainCommand(), a.statusCommand(), a.watchCommand(), a.eventsCommand(),
		a.zoneCommand(), a.contextCommand(), a.completionCommand(), a.versionCommand(),
	)
	root.AddCommand(extra...)
	root.Version = ops.ReadBuild().String()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return options.WrongFlag(c.Flags(), err) })
	f := root.PersistentFlags()
	f.SortFlags = false
	a.flags = f
	f.StringSliceVar(&a.controllers, "controller", []string{defaultController}, "the controllers' gRPC addresses, HOST:PORT; the next is tried when one does not answer")
	f.StringVar(&a.tls.cert, "tls-cert", "", "your certificate, PEM; fairlead pki issue makes one")
	f.StringVar(&a.tls.key, "tls-key", "", "its key, PEM, readable by you only")
	f.StringVar(&a.tls.ca, "tls-ca", "", "the CA certificates that the controllers must be signed by, PEM")
	f.StringVar(&a.token, "token-file", "", "a file that holds your token for the controllers, readable by you only, in place of a certificate")
	f.BoolVar(&a.insecure, "insecure-plaintext", false, "leave TLS out beyond this machine too: whoever is on the way may read and change everything")
	f.StringVar(&a.context, "context", "", "take addresses and certificate from this context (see fairlead context)")
	f.StringVar(&a.config, "config", "", "the file of contexts (default: fairlead/config.yaml in your configuration directory)")
	f.DurationVar(&a.timeout, "timeout", defaultTimeout, "how long to wait for an answer; with --wait also for the nameservers (default then 30s)")
	options.NotInFile(f, "belongs into a context, under contexts", "controller", "tls-cert", "tls-key", "tls-ca", "token-file")
	options.NotInFile(f, "is for the command line and the environment", "insecure-plaintext", "config")
	options.NotInFile(f, "is for the command line and the environment; here it is current, at the top", "context")
	_ = root.RegisterFlagCompletionFunc("context", a.completeContextFlag)
	_ = root.RegisterFlagCompletionFunc("controller", cobra.NoFileCompletions)
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

// settle sets the flags that were not given from the environment, else from
// the options in the file of contexts, and checks what all commands share.
func (a *app) settle(c *cobra.Command) error {
	if err := options.FromEnvironment(c.Flags()); err != nil {
		return err
	}
	if err := a.fromFile(c); err != nil {
		return err
	}
	if a.timeout <= 0 {
		return fmt.Errorf("--timeout %v: want more than 0s", a.timeout)
	}
	return nil
}

// withoutFile are the commands that do not take options from the file: they
// work whatever is wrong with it, or are there to mend it.
var withoutFile = []string{"version", "help", "completion", "context", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}

// fromFile sets the flags that were not given from the file of contexts.
func (a *app) fromFile(c *cobra.Command) error {
	top := c
	for top.HasParent() && top.Parent().HasParent() {
		top = top.Parent()
	}
	if !top.HasParent() || slices.Contains(withoutFile, top.Name()) {
		return nil
	}
	all, err := a.loadContexts()
	if err != nil || all.options == nil {
		return err
	}
	file := options.File{Path: all.path, Node: all.options, At: "options", Others: flagNames(c.Root()),
		Hints: map[string]string{"author": "it belongs into a context, under contexts"}}
	if err := file.Fill(c.Flags()); err != nil {
		return fileError{err}
	}
	return nil
}

// flagNames are the names of the flags of all commands, as far as the file may
// have them.
func flagNames(c *cobra.Command) (names []string) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if options.InFile(f) {
			names = append(names, f.Name)
		}
	})
	for _, sub := range c.Commands() {
		names = append(names, flagNames(sub)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
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

// atMost is the check for arguments that may all be left out.
func atMost(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return nil
		}
		return exactly(names...)(c, args)
	}
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
