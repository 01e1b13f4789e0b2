package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead-dns/fairlead/regions/health/replay"
)

// replayResult is a replay as -o json and yaml print it. Moments are of this
// machine's clock.
type replayResult struct {
	Service     string         `json:"service"`
	HealthCheck string         `json:"healthCheck"`
	From        *time.Time     `json:"from,omitempty"`
	To          *time.Time     `json:"to,omitempty"`
	Recovery    string         `json:"recovery"`
	Thresholds  []trialResult  `json:"thresholds"`
	Targets     []targetResult `json:"targets"`
	Missing     []string       `json:"missing,omitempty"`
}

type trialResult struct {
	Name    string      `json:"name"`
	Rise    int         `json:"rise"`
	Fall    int         `json:"fall"`
	Quorum  string      `json:"quorum"`
	Damping string      `json:"damping"`
	Score   scoreResult `json:"score"` // of all targets
}

type targetResult struct {
	Target    string          `json:"target"`
	Endpoints []string        `json:"endpoints"`
	Error     string          `json:"error,omitempty"`
	Agents    []agentResult   `json:"agents,omitempty"`
	Results   []verdictResult `json:"results,omitempty"`
}

type agentResult struct {
	Agent      string     `json:"agent"`
	Region     string     `json:"region"`
	Counts     bool       `json:"counts"`
	Passed     int        `json:"passed"`
	Failed     int        `json:"failed"`
	NoEvidence int        `json:"noEvidence"`
	Gaps       int        `json:"gaps"`
	First      *time.Time `json:"first,omitempty"`
	Last       *time.Time `json:"last,omitempty"`
}

type verdictResult struct {
	Thresholds     string             `json:"thresholds"`
	Score          scoreResult        `json:"score"`
	Undecided      string             `json:"undecided"`
	Outages        []outageResult     `json:"outages,omitempty"`
	FalseFailovers []transitionResult `json:"falseFailovers,omitempty"`
	Transitions    []transitionResult `json:"transitions,omitempty"`
}

type scoreResult struct {
	Outages         int     `json:"outages"`
	Found           int     `json:"found"`
	Missed          int     `json:"missed"`
	MedianDetection string  `json:"medianDetection,omitempty"`
	WorstDetection  string  `json:"worstDetection,omitempty"`
	Blips           int     `json:"blips"`
	FalseFailovers  int     `json:"falseFailovers"`
	Changes         int     `json:"changes"`
	ChangesPerHour  float64 `json:"changesPerHour"`
}

type outageResult struct {
	Began     time.Time  `json:"began"`
	Ended     *time.Time `json:"ended,omitempty"`
	Detected  *time.Time `json:"detected,omitempty"`
	Detection string     `json:"detection,omitempty"`
	Restored  *time.Time `json:"restored,omitempty"`
	Missed    bool       `json:"missed,omitempty"`
	Already   bool       `json:"alreadyUnhealthy,omitempty"`
}

type transitionResult struct {
	Time   time.Time `json:"time"`
	From   string    `json:"from"`
	To     string    `json:"to"`
	Reason string    `json:"reason"`
}

func (s *score) result() scoreResult {
	out := scoreResult{
		Outages: s.outages, Found: s.outages - s.missed, Missed: s.missed, Blips: s.blips,
		FalseFailovers: s.falsely, Changes: s.changes, ChangesPerHour: s.perHour,
	}
	if len(s.detections) > 0 {
		out.MedianDetection, out.WorstDetection = rounded(s.median()), rounded(s.worst())
	}
	return out
}

func rounded(d time.Duration) string { return d.Round(time.Millisecond).String() }

// utc is a moment, nil for none.
func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

func transitions(list []replay.Transition) (out []transitionResult) {
	for _, t := range list {
		out = append(out, transitionResult{*utc(t.At), t.From.String(), t.To.String(), t.Reason})
	}
	return out
}

func (r *rerun) result() replayResult {
	from, to := r.span()
	out := replayResult{Service: r.service, HealthCheck: r.check, From: utc(from), To: utc(to), Recovery: exact(r.recovery), Missing: r.missing, Targets: []targetResult{}}
	for i, t := range r.trials {
		w, total := t.words(), r.total(i)
		out.Thresholds = append(out.Thresholds, trialResult{t.name, t.thresholds.Rise, t.thresholds.Fall, w[2], w[3], total.result()})
	}
	for _, t := range r.targets {
		one := targetResult{Target: t.id, Endpoints: t.endpoints, Error: t.why}
		for i, report := range t.reports {
			if i == 0 {
				for _, c := range report.Vantages {
					one.Agents = append(one.Agents, agentResult{c.Agent, c.Region, c.Counts, c.Passed, c.Failed, c.Abstained, c.Gaps, utc(c.First), utc(c.Last)})
				}
			}
			one.Results = append(one.Results, verdicts(r.trials[i].name, report))
		}
		out.Targets = append(out.Targets, one)
	}
	return out
}

func verdicts(name string, report *replay.Report) verdictResult {
	var s score
	s.add(report)
	v := verdictResult{
		Thresholds: name, Score: s.result(), Undecided: rounded(report.Undecided),
		FalseFailovers: transitions(report.FalseFailovers), Transitions: transitions(report.Transitions),
	}
	for _, o := range report.Outages {
		one := outageResult{Began: *utc(o.Began), Ended: utc(o.Ended), Detected: utc(o.Detected), Restored: utc(o.Restored), Missed: o.Missed(), Already: o.Already}
		if !o.Detected.IsZero() {
			one.Detection = rounded(o.Detection())
		}
		v.Outages = append(v.Outages, one)
	}
	return v
}

func (r *rerun) json() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r.result()); err != nil {
		return nil, fmt.Errorf("the result cannot be written as JSON: %w", err)
	}
	return b.Bytes(), nil
}

// yaml is json in the other notation: JSON is YAML in flow style.
func (r *rerun) yaml() ([]byte, error) {
	text, err := r.json()
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("the result cannot be written as YAML: %w", err)
	}
	block(&doc)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return nil, fmt.Errorf("the result cannot be written as YAML: %w", err)
	}
	return b.Bytes(), nil
}

// block takes the styles off all of a document, so that it is written as people
// write it.
func block(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		block(c)
	}
}
