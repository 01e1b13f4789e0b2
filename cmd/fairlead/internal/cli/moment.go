package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
)

// expiryFlag is --expire-after: a time, never, or what the policy says. It
// implements pflag.Value.
type expiryFlag struct {
	after time.Duration
	given bool // else as the policy says
}

const never = "never"

// Set implements pflag.Value.
func (e *expiryFlag) Set(s string) error {
	after, err := time.ParseDuration(s)
	switch {
	case s == never:
		after = 0
	case err != nil:
		return errors.New("want a duration with its unit, as 2h, or never")
	case after < 0:
		return errors.New("want a time to come, as 2h")
	case 0 < after && after < time.Second:
		return errors.New("want 1s at least, as 2h, or never")
	}
	e.after, e.given = after, true
	return nil
}

// String implements pflag.Value.
func (e *expiryFlag) String() string {
	switch {
	case !e.given:
		return ""
	case e.after == 0:
		return never
	}
	return exact(e.after)
}

// Type implements pflag.Value.
func (e *expiryFlag) Type() string { return "TIME" }

// message is what a request has of it; nil: as the policy says.
func (e *expiryFlag) message() *durationpb.Duration {
	if !e.given {
		return nil
	}
	return durationpb.New(e.after)
}

const momentForms = "want 2026-11-23T22:00:00Z, 22:00 (UTC, the next one) or +2h"

// parseMoment reads a moment to come. A time of day is the next one after base,
// in UTC; +2h counts from base.
func parseMoment(s string, base time.Time) (time.Time, error) {
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		d, err := time.ParseDuration(rest)
		if err != nil || d <= 0 {
			return time.Time{}, errors.New(momentForms)
		}
		return base.Add(d), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at.UTC(), nil
	}
	clock, err := time.Parse("15:04", s)
	if err != nil {
		return time.Time{}, errors.New(momentForms)
	}
	day := base.UTC()
	at := time.Date(day.Year(), day.Month(), day.Day(), clock.Hour(), clock.Minute(), 0, 0, time.UTC)
	if !at.After(base) {
		at = at.AddDate(0, 0, 1)
	}
	return at, nil
}

// parsePast reads a moment that may lie behind: one in full, or how long ago.
func parsePast(s string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return time.Time{}, fmt.Errorf("want 2026-11-23T22:00:00Z, or how long ago, as 2h")
	}
	return now.Add(-d), nil
}

// window is when an override begins and how long it stands.
type window struct {
	start   time.Time            // zero: now
	expires *durationpb.Duration // nil: as the policy says
}

// parseWindow reads --start, --end and --expire-after.
func parseWindow(start, end string, expire expiryFlag, now time.Time) (w window, err error) {
	w.expires = expire.message()
	base := now
	if start != "" {
		if w.start, err = parseMoment(start, now); err != nil {
			return w, usagef("--start %q: %w", start, err)
		}
		if !w.start.After(now) {
			return w, usagef("--start %s: lies %s back; without --start it begins now", start, human(now.Sub(w.start)))
		}
		base = w.start
	}
	if end == "" {
		return w, nil
	}
	if expire.given {
		return w, usagef("--end and --expire-after say the same thing: give one of them")
	}
	at, err := parseMoment(end, base)
	switch {
	case err != nil:
		return w, usagef("--end %q: %w", end, err)
	case !at.After(base) && start != "":
		return w, usagef("--end %s: is not after --start %s", end, start)
	case !at.After(base):
		return w, usagef("--end %s: lies %s back", end, human(now.Sub(at)))
	}
	w.expires = durationpb.New(at.Sub(base))
	return w, nil
}

// oclock is a moment of today, as people say it; of another day with its date.
func oclock(at, now time.Time) string {
	at, now = at.UTC(), now.UTC()
	if at.Sub(now).Abs() < 12*time.Hour {
		return at.Format("15:04:05") + " UTC"
	}
	return at.Format("2006-01-02 15:04:05") + " UTC"
}
