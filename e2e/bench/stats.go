package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// times are durations of one kind of thing.
type times []time.Duration

// quantile is by nearest rank.
func (t times) quantile(percent int) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	return sorted[(percent*len(sorted)+99)/100-1]
}

func (t times) median() time.Duration { return t.quantile(50) }
func (t times) most() time.Duration   { return t.quantile(100) }

// millis prints a duration in milliseconds.
func millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }

// micros prints a duration in microseconds, by a number of things.
func micros(d time.Duration, by float64) string { return fmt.Sprintf("%.1f", float64(d)/1e3/by) }

// mega prints bytes as MB.
func mega(bytes float64) string { return fmt.Sprintf("%.1f", bytes/1e6) }

// row is a row of a Markdown table.
func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// head is a head of one: columns that begin with "#" hold numbers.
func head(columns ...string) string {
	lines := make([]string, len(columns))
	for i, c := range columns {
		if lines[i] = "---"; strings.HasPrefix(c, "#") {
			columns[i], lines[i] = c[1:], "---:"
		}
	}
	return row(columns...) + "|" + strings.Join(lines, "|") + "|\n"
}

// benchTable makes a table of what `go test -v -bench` prints: a column a unit. A
// benchmark that was skipped is a row that says why.
func benchTable(text string) string {
	type result struct {
		name, skipped string
		of            map[string]string
	}
	var results []result
	var units []string
	last := ""
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case len(fields) == 3 && fields[1] == "SKIP:":
			_, why, _ := strings.Cut(last, ": ")
			results = append(results, result{name: fields[2], skipped: strings.TrimSpace(why)})
		case len(fields) >= 4 && len(fields)%2 == 0 && strings.HasPrefix(fields[0], "Benchmark"):
			r := result{name: fields[0], of: map[string]string{}}
			for i := 2; i < len(fields); i += 2 {
				if r.of[fields[i+1]] = fields[i]; !slices.Contains(units, fields[i+1]) {
					units = append(units, fields[i+1])
				}
			}
			results = append(results, r)
		}
		last = line
	}
	var b strings.Builder
	columns := []string{"benchmark"}
	for _, u := range units {
		columns = append(columns, "#"+u)
	}
	b.WriteString(head(columns...))
	for _, r := range results {
		name := strings.TrimPrefix(r.name, "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				name = name[:i] // GOMAXPROCS
			}
		}
		if r.skipped != "" {
			name += " (skipped: " + r.skipped + ")"
		}
		cells := []string{name}
		for _, u := range units {
			value := r.of[u]
			if value == "" {
				value = "–"
			}
			cells = append(cells, value)
		}
		b.WriteString(row(cells...))
	}
	return b.String()
}

// loads are the machine's load averages.
func loads() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
