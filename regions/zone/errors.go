package zone

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Error is one mistake in a zone.
type Error struct {
	// Line within Params.Records, counted from 1; 0 when it is about
	// something else.
	Line int
	Err  error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("line %d: %v", e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// maxErrors is how many mistakes are told at once.
const maxErrors = 100

// findings collects mistakes and warnings.
type findings struct {
	errs, warnings []*Error
	more           int
}

func (f *findings) fail(line int, format string, args ...any) {
	if len(f.errs) == maxErrors {
		f.more++
		return
	}
	f.errs = append(f.errs, &Error{Line: line, Err: fmt.Errorf(format, args...)})
}

func (f *findings) warn(line int, format string, args ...any) {
	if len(f.warnings) < maxErrors {
		f.warnings = append(f.warnings, &Error{Line: line, Err: fmt.Errorf(format, args...)})
	}
}

// sort puts findings in the order of their lines.
func (f *findings) sort() {
	byLine := func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) }
	slices.SortStableFunc(f.errs, byLine)
	slices.SortStableFunc(f.warnings, byLine)
}

// all returns the mistakes in the order of their lines.
func (f *findings) all() []*Error {
	f.sort()
	if f.more > 0 {
		f.errs = append(f.errs, &Error{Err: fmt.Errorf("and %d more mistakes", f.more)})
	}
	return f.errs
}

// err joins the mistakes.
func (f *findings) err() error {
	var errs []error
	for _, e := range f.errs {
		errs = append(errs, e)
	}
	if f.more > 0 {
		errs = append(errs, fmt.Errorf("and %d more mistakes", f.more))
	}
	return errors.Join(errs...)
}
