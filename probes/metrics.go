package probes

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/probes/check"
)

// metrics of the agent. No label names a target.
type metrics struct {
	checks    [check.Failed + 1]prometheus.Counter // by result
	delayed   [stages]prometheus.Counter           // by what delayed them
	durations prometheus.Histogram
	starts    prometheus.Histogram
	skipped   prometheus.Counter
	panics    prometheus.Counter
	targets   prometheus.Gauge
	running   prometheus.Gauge
	waiting   prometheus.Gauge
	streams   prometheus.Gauge
	breaks    prometheus.Counter
	isolated  prometheus.Gauge
	queries   prometheus.Counter
	refused   prometheus.Counter
}

// newMetrics makes the metrics and registers them; a nil registerer takes none.
func newMetrics(r prometheus.Registerer, h *history) (*metrics, error) {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "fairlead", Subsystem: "probe", Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: "fairlead", Subsystem: "probe", Name: name, Help: help}
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "fairlead", Subsystem: "probe", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 11),
		})
	}
	m := &metrics{
		durations: histogram("check_duration_seconds", "How long checks took that passed or failed."),
		starts:    histogram("check_start_delay_seconds", "How long after they were due checks began."),
		skipped:   prometheus.NewCounter(counter("checks_skipped_total", "Checks left out because the one before had not ended.")),
		panics:    prometheus.NewCounter(counter("check_panics_total", "Checks that failed inside the agent: defects of its code.")),
		targets:   prometheus.NewGauge(gauge("targets", "Targets assigned.")),
		running:   prometheus.NewGauge(gauge("checks_running", "Checks that run now.")),
		waiting:   prometheus.NewGauge(gauge("checks_waiting", "Checks that are due and held back by a budget.")),
		streams:   prometheus.NewGauge(gauge("controllers_connected", "Controllers that the agent reports to now.")),
		breaks:    prometheus.NewCounter(counter("stream_breaks_total", "Streams to controllers that ended.")),
		isolated:  prometheus.NewGauge(gauge("isolated", "1 when none of the references and fellow agents can be reached.")),
		queries:   prometheus.NewCounter(counter("history_queries_total", "Queries for recorded observations that were answered.")),
		refused:   prometheus.NewCounter(counter("history_queries_refused_total", "Queries for recorded observations that asked for too much.")),
	}
	checks := prometheus.NewCounterVec(counter("checks_total", "Checks made, by result; abstained ones are no evidence."), []string{"result"})
	for r := range m.checks {
		m.checks[r] = checks.WithLabelValues(check.Result(r).String())
	}
	delayed := prometheus.NewCounterVec(counter("checks_delayed_total", "Checks that a budget held back, by budget."), []string{"budget"})
	for b := range m.delayed {
		m.delayed[b] = delayed.WithLabelValues(stage(b).String())
	}
	all := []prometheus.Collector{
		checks, delayed, m.durations, m.starts, m.skipped, m.panics, m.targets, m.running, m.waiting, m.streams, m.breaks,
		m.isolated, m.queries, m.refused,
		prometheus.NewGaugeFunc(gauge("history_bytes", "Memory that recorded observations take."),
			func() float64 { return float64(h.bytes()) }),
		prometheus.NewGaugeFunc(gauge("history_oldest_seconds", "Age of the oldest recorded observation; 0 without any."),
			func() float64 { return h.oldest(time.Now()).Seconds() }),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
