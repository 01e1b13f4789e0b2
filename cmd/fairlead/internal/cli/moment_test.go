package cli

import (
	"strings"
	"testing"
	"time"
)

func TestParseMoment(t *testing.T) {
	base := time.Date(2026, 11, 23, 22, 30, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"+2h": "2026-11-24T00:30:00Z", "23:00": "2026-11-23T23:00:00Z", "22:30": "2026-11-24T22:30:00Z", "03:00": "2026-11-24T03:00:00Z",
		"2026-11-25T01:00:00+01:00": "2026-11-25T00:00:00Z",
		"":                          "want ", "+": "want ", "+0s": "want ", "-2h": "want ", "25:00": "want ", "tomorrow": "want ", "2h": "want ",
	} {
		at, err := parseMoment(text, base)
		got := at.Format(time.RFC3339)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestParseWindow(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	two := expiryFlag{after: 2 * time.Hour, given: true}
	for _, c := range []struct {
		start, end string
		expire     expiryFlag
		begins     string
		lasts      time.Duration // -1: as the policy says
	}{
		{"", "", expiryFlag{}, "now", -1},
		{"", "", two, "now", 2 * time.Hour},
		{"", "", expiryFlag{given: true}, "now", 0},
		{"", "13:00", expiryFlag{}, "now", time.Hour},
		{"22:00", "", two, "2026-11-23T22:00:00Z", 2 * time.Hour},
		{"22:00", "+3h", expiryFlag{}, "2026-11-23T22:00:00Z", 3 * time.Hour},
		{"22:00", "01:00", expiryFlag{}, "2026-11-23T22:00:00Z", 3 * time.Hour},
		{"11:00", "12:30", expiryFlag{}, "2026-11-24T11:00:00Z", 90 * time.Minute},
	} {
		w, err := parseWindow(c.start, c.end, c.expire, now)
		if err != nil {
			t.Errorf("%s to %s: %v", c.start, c.end, err)
			continue
		}
		begins, lasts := "now", time.Duration(-1)
		if !w.start.IsZero() {
			begins = w.start.Format(time.RFC3339)
		}
		if w.expires != nil {
			lasts = w.expires.AsDuration()
		}
		if begins != c.begins || lasts != c.lasts {
			t.Errorf("%s to %s: from %s for %v, want from %s for %v", c.start, c.end, begins, lasts, c.begins, c.lasts)
		}
	}
}

func FuzzParseMoment(f *testing.F) {
	for _, s := range []string{"+2h", "22:00", "2026-11-25T01:00:00+01:00", "+", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := parseMoment(s, noon); err == nil && (strings.HasPrefix(s, "+") || len(s) <= 5) && !at.After(noon) {
			t.Errorf("%q: %v is not to come", s, at)
		}
	})
}

// What is to come is not said to be over.
func TestIn(t *testing.T) {
	for left, want := range map[time.Duration]string{-1: "due", 0: "due", time.Millisecond: "in 1s", 3200 * time.Millisecond: "in 3s", time.Hour - time.Millisecond: "in 1h"} {
		if got := in(noon.Add(left), noon); got != want {
			t.Errorf("%v: %q, want %q", left, got, want)
		}
	}
}
