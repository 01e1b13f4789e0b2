package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/regions/config"
)

// The exit codes.
const (
	exitDone         = 0
	exitFailed       = 1
	exitUsage        = 2
	exitNotConverged = 3
)

// usageError is a command line that cannot be meant.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// notConvergedError says that a change was made and is not served everywhere.
type notConvergedError struct{ error }

// mistakes are errors in resources, one a line as compilers print them, and
// what that means for the command.
type mistakes struct {
	errs config.Errors
	say  string // as "nothing was changed"
}

func (m mistakes) Error() string { return m.errs.Error() }
func (m mistakes) Unwrap() error { return m.errs }

// summary closes the list.
func (m mistakes) summary() string {
	n := fmt.Sprintf("%d errors", len(m.errs))
	if len(m.errs) == 1 {
		n = "1 error"
	}
	if m.say != "" {
		n += "; " + m.say
	}
	return n
}

// report prints an error and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	var usage usageError
	var late notConvergedError
	var wrong mistakes
	var file fileError
	var refused *refusedError
	switch {
	case errors.As(err, &file):
		text := cleanLines(err.Error())
		fmt.Fprintf(a.Err, "%s\nfairlead: %s; nothing was done\n", text, count(strings.Count(text, "\n")+1, "error"))
		return exitUsage
	case errors.As(err, &usage), !a.ran:
		for line := range strings.SplitSeq(withoutHelp(err), "\n") {
			fmt.Fprintf(a.Err, "%s: %s\n", cmd.CommandPath(), clean(line))
		}
		fmt.Fprintf(a.Err, "usage: %s\n", cmd.UseLine())
		return exitUsage
	case errors.As(err, &late):
		fmt.Fprintf(a.Err, "fairlead: %s\n", clean(late.Error()))
		return exitNotConverged
	case errors.As(err, &wrong):
		fmt.Fprintf(a.Err, "%s\nfairlead: %s\n", cleanLines(wrong.Error()), wrong.summary())
	case errors.As(err, &refused):
		fmt.Fprint(a.Err, refused.table)
		fmt.Fprintf(a.Err, "fairlead: %s\n", cleanLines(err.Error()))
	default:
		fmt.Fprintf(a.Err, "fairlead: %s\n", cleanLines(err.Error()))
	}
	return exitFailed
}

// withoutHelp is an error without the suggestions that the command library
// appends below an empty line. What is left is one mistake a line.
func withoutHelp(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n\n")
	return strings.TrimRight(text, "\n")
}

// callError is a call that a controller or nameserver refused or did not
// answer. status.FromError sees through it.
type callError struct {
	addr string
	st   *status.Status
	note string // appended, as what to do
	// advice is what a server says can be done instead; a line of its own.
	advice string
}

func (e *callError) GRPCStatus() *status.Status { return e.st }

// meanings say in words what a code means, ahead of the message. Codes that
// are not here speak through their message alone.
var meanings = map[codes.Code]string{
	codes.PermissionDenied:  "not allowed: ",
	codes.Unauthenticated:   "not authenticated: ",
	codes.ResourceExhausted: "over a limit: ",
	codes.Internal:          "the controller failed: ",
	codes.DataLoss:          "the stored data are damaged: ",
	codes.Unknown:           "the outcome is not known: ",
}

// Error is one sentence.
func (e *callError) Error() string {
	msg := e.st.Message()
	switch code := e.st.Code(); code {
	case codes.DeadlineExceeded:
		msg = e.addr + " did not answer in time"
	case codes.Canceled:
		msg = "interrupted"
	case codes.Unimplemented:
		msg = e.addr + " does not know this call; is it of an older version? (" + msg + ")"
	default:
		msg = meanings[code] + msg
	}
	if e.advice != "" {
		return msg + e.note + "\n" + e.advice
	}
	return msg + e.note
}

// instead begins what a controller that cannot write says can be done.
const instead = "another controller may reach etcd"

const maybeMade = "; the change may have been made or not: look, or repeat the command, which does no harm"

// noteFor says what an interrupted or unanswered call leaves open.
func noteFor(code codes.Code, write bool) string {
	open := code == codes.DeadlineExceeded || code == codes.Canceled || code == codes.Unknown
	switch {
	case open && write:
		return maybeMade
	case code == codes.DeadlineExceeded:
		return " (--timeout)"
	}
	return ""
}

// fieldErrors are the violations that a refusal lists.
func fieldErrors(err error) config.Errors {
	st, ok := status.FromError(err)
	if !ok {
		return nil
	}
	var errs config.Errors
	for _, d := range st.Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			errs = append(errs, config.FieldErrorOf(v.GetField(), v.GetDescription()))
		}
	}
	return errs
}

// located gives the errors that a controller reported their place in the files.
func located(err error, docs []config.Document, say string) error {
	errs := fieldErrors(err)
	if len(errs) == 0 {
		return err
	}
	if found, ok := errors.AsType[config.Errors](config.Locate(errs, docs)); ok {
		errs = found
	}
	return mistakes{errs, say}
}
