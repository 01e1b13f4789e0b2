package probes

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/probes/check"
)

// metrics of the agent. No label names a target.
type metrics struct {
	checks    *prometheus.CounterVec
	durations prometheus.Histogram
	skipped   prometheus.Counter
	targets   prometheus.Gauge
	running   prometheus.Gauge
	streams   prometheus.Gauge
	breaks    prometheus.Counter
}

// newMetrics makes the metrics and registers them; a nil registerer takes none.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "fairlead", Subsystem: "probe", Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "fairlead", Subsystem: "probe", Name: name, Help: help})
	}
	m := &metrics{
		checks: prometheus.NewCounterVec(counter("checks_total", "Checks made, by result; abstained ones are no evidence."), []string{"result"}),
		durations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "fairlead", Subsystem: "probe", Name: "check_duration_seconds",
			Help: "How long checks took that passed or failed.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 11),
		}),
		skipped: prometheus.NewCounter(counter("checks_skipped_total", "Checks left out because the one before had not ended.")),
		targets: gauge("targets", "Targets assigned."),
		running: gauge("checks_running", "Checks that run now."),
		streams: gauge("controllers_connected", "Controllers that the agent reports to now."),
		breaks:  prometheus.NewCounter(counter("stream_breaks_total", "Streams to controllers that ended.")),
	}
	for _, r := range []check.Result{check.Passed, check.Failed, check.Abstained} {
		m.checks.WithLabelValues(r.String())
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.checks, m.durations, m.skipped, m.targets, m.running, m.streams, m.breaks} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
