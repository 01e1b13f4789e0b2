// Package program is what the packages below it share: each of those is one
// program, as options and a Run function that wires the real parts together.
// `fairlead dev` calls the same Run functions, so what it shows is what runs in
// production.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/options"
)

// Started tells where a program listens, once it does.
type Started struct {
	GRPC, HTTP string
	DNS        []string
	// Ready says why the program is not ready, or nil.
	Ready func() error
	// Alive says why the program does not do its work, or nil; a service
	// manager that watches it restarts it then. Nil: it does while it runs.
	Alive func(context.Context) error
	// Reload reads again what the program reads again when it changes.
	Reload func() error
}

// Spec is a program as a command.
type Spec struct {
	Name, Short, Long, Usage, Example string
	// Check says everything that is wrong with the options, before anything is
	// opened.
	Check func() error
	// Try opens the files that the options name, as Run does, and closes them.
	Try func(*slog.Logger) error
	// Run runs the program until ctx ends.
	Run func(ctx context.Context, log *slog.Logger, started func(Started)) error
}

// Logging is the options on logs that every program has.
type Logging struct{ format, level string }

// New returns the logger that the flags ask for.
func (l *Logging) New(w io.Writer) (*slog.Logger, error) { return ops.NewLogger(w, l.format, l.level) }

func (l *Logging) flags(f *pflag.FlagSet) {
	f.StringVar(&l.format, "log-format", "text", "`FORMAT` of the logs, text or json; logs go to stderr")
	f.StringVar(&l.level, "log-level", "info", "the least `LEVEL` that is logged: debug, info, warn or error")
}

// Command makes the command of a program; its flags are for the caller to add.
func Command(s Spec) *cobra.Command {
	var l Logging
	c := &cobra.Command{
		Use: s.Name, Short: s.Short, Long: s.Long, Example: s.Example, Version: ops.ReadBuild().String(),
		Args: noArgs(s.Name), SilenceErrors: true, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error {
			err := options.Fill(c.Flags())
			log, logErr := l.New(os.Stderr)
			if err := errors.Join(err, logErr, s.Check()); err != nil {
				return UsageError(err)
			}
			if only, _ := c.Flags().GetBool(options.CheckFlag); only {
				return check(c, s, log)
			}
			return serve(c.Context(), log, s.Run)
		},
	}
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetHelpCommand(&cobra.Command{Hidden: true})
	c.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	c.SetHelpTemplate(help(s))
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return UsageError(options.WrongFlag(c.Flags(), err)) })
	c.AddCommand(&cobra.Command{
		Use: "version", Short: "Print version, commit, date and Go version",
		Args: cobra.NoArgs,
		RunE: func(v *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(v.OutOrStdout(), "%s %s\n", s.Name, ops.ReadBuild())
			return err
		},
	})
	c.Flags().SortFlags = false
	options.Add(c.Flags())
	l.flags(c.Flags())
	return c
}

// check is --check-config: it prints the options in effect, and every mistake.
func check(c *cobra.Command, s Spec, log *slog.Logger) error {
	if err := options.Show(c.OutOrStdout(), c.Flags()); err != nil {
		return err
	}
	for _, text := range options.Strangers(c.Flags()) {
		fmt.Fprintf(c.ErrOrStderr(), "%s: warning: %s\n", s.Name, text)
	}
	if err := s.Try(log); err != nil {
		return UsageError(err)
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s: the options are good\n", s.Name)
	return nil
}

// Main runs a program's command to its end and returns the exit code: 0 done,
// 1 failed, 2 usage. The first signal ends it in good order, a second one at
// once.
func Main(cmd *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Execute(ctx, cmd)
}

// Execute is Main without the signals.
func Execute(ctx context.Context, cmd *cobra.Command) int {
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var usage usageError
	isUsage := errors.As(err, &usage)
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", cmd.Name(), line)
	}
	if !isUsage {
		return 1
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "See %s --help.\n", cmd.Name())
	return 2
}

// UsageError marks an error as one of usage: exit code 2.
func UsageError(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }
