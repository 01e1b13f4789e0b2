package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if isOne, err := runRole(); isOne {
		exit(err)
		return
	}
	os.Exit(m.Run())
}

// small are options of an installation that is measured in a moment.
func small(t *testing.T) (*options, *strings.Builder) {
	var out strings.Builder
	o := defaults()
	o.subscribers, o.endpoints, o.changes, o.masses, o.mass = 3, 60, 4, 2, 20
	o.pause, o.idle = 10*time.Millisecond, 50*time.Millisecond
	o.scaleAgents, o.flips = 10, 5
	o.out, o.progress = &out, testWriter{t}
	return &o, &out
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func TestFanout(t *testing.T) {
	o, out := small(t)
	if err := run(o, []string{"fanout"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| one verdict | 4 |", "| 20 verdicts at once | 2 |", "3 nameservers subscribed", "Load average"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestScale(t *testing.T) {
	o, _ := small(t)
	o.plaintext = true
	s, err := scale(o, 50)
	if err != nil {
		t.Fatal(err)
	}
	if s.targets != 50 || s.opinions != 50 || s.resync <= 0 {
		t.Errorf("measured %+v", s)
	}
}

func TestRefusesOptions(t *testing.T) {
	for words, change := range map[string]func(*options){
		"-agents":      func(o *options) { o.agents = 2 },
		"-subscribers": func(o *options) { o.subscribers = 0 },
		"-endpoints":   func(o *options) { o.endpoints = o.mass - 1 },
	} {
		o, _ := small(t)
		change(o)
		if err := run(o, nil); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("error is %v, want %q in it", err, words)
		}
	}
	o, _ := small(t)
	if err := run(o, []string{"fan"}); err == nil || !strings.Contains(err.Error(), `"fan"`) {
		t.Errorf("error is %v", err)
	}
}

func TestQuantile(t *testing.T) {
	var all times
	for i := range 200 {
		all = append(all, time.Duration(200-i))
	}
	for percent, want := range map[int]time.Duration{1: 2, 50: 100, 99: 198, 100: 200} {
		if got := all.quantile(percent); got != want {
			t.Errorf("%d%%: %d, want %d", percent, got, want)
		}
	}
	if got := (times{7}).quantile(1); got != 7 {
		t.Errorf("of one: %d", got)
	}
	if got := (times{}).median(); got != 0 {
		t.Errorf("of none: %d", got)
	}
}

func TestBenchTable(t *testing.T) {
	got := benchTable(`goos: linux
BenchmarkAgentTCP
BenchmarkAgentTCP/1000-targets-1s
BenchmarkAgentTCP/1000-targets-1s-2         	       1	        21.5 cpu-µs/check	       998 checks/s
=== RUN   BenchmarkPeerGdnsd
BenchmarkPeerGdnsd
    bench_peers_test.go:38: no gdnsd: install it
--- SKIP: BenchmarkPeerGdnsd
BenchmarkController/memory 	       2	   12 ns/op
PASS
`)
	want := `| benchmark | cpu-µs/check | checks/s | ns/op |
|---|---:|---:|---:|
| AgentTCP/1000-targets-1s | 21.5 | 998 | – |
| PeerGdnsd (skipped: no gdnsd: install it) | – | – | – |
| Controller/memory | – | – | 12 |
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Every endpoint has an address of its own.
func TestAddresses(t *testing.T) {
	seen := map[string]bool{}
	for i := range maxEndpoints {
		if a := address(i); seen[a] {
			t.Fatalf("%s twice", a)
		} else {
			seen[a] = true
		}
	}
}
