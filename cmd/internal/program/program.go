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
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
)

// Started tells where a program listens, once it does.
type Started struct {
	GRPC, HTTP string
	DNS        []string
	// Ready says why the program is not ready, or nil.
	Ready func() error
}

// Logging is the options on logs that every program has.
type Logging struct{ format, level string }

// New returns the logger that the flags ask for.
func (l *Logging) New(w io.Writer) (*slog.Logger, error) {
	log, err := ops.NewLogger(w, l.format, l.level)
	if err != nil {
		return nil, UsageError(err)
	}
	return log, nil
}

func (l *Logging) flags(f *pflag.FlagSet) {
	f.StringVar(&l.format, "log-format", "text", "text or json")
	f.StringVar(&l.level, "log-level", "info", "debug, info, warn or error")
}

// Main runs a program's command to its end and returns the exit code: 0 done,
// 1 failed, 2 usage.
func Main(cmd *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd.Version = ops.Version()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError{err} })
	err := cmd.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "%s: %v\nSee %s --help.\n", cmd.Name(), err, cmd.Name())
		return 2
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", cmd.Name(), err)
	return 1
}

// UsageError marks an error as one of usage: exit code 2.
func UsageError(err error) error { return usageError{err} }

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// FromEnvironment sets the flags that were not given from FAIRLEAD_<FLAG>.
func FromEnvironment(f *pflag.FlagSet) error {
	if err := ops.FromEnvironment(f); err != nil {
		return UsageError(err)
	}
	return nil
}

// Command makes the command of a program.
func Command(use, short, long string, log *Logging, run func(context.Context) error) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.NoArgs,
		PreRunE: func(c *cobra.Command, _ []string) error { return FromEnvironment(c.Flags()) },
		RunE:    func(c *cobra.Command, _ []string) error { return run(c.Context()) },
	}
	c.Flags().SortFlags = false
	log.flags(c.Flags())
	return c
}
