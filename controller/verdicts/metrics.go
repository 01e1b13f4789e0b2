package verdicts

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/regions"
)

// metrics of the judge. No label names a target, and none an agent.
type metrics struct {
	opinions prometheus.Counter
	ignored  *prometheus.CounterVec
	changes  *prometheus.CounterVec
	verdicts *prometheus.GaugeVec
	fresh    prometheus.Gauge
	agents   prometheus.Gauge
	ready    prometheus.Gauge
	resyncs  prometheus.Counter
}

// newMetrics makes the metrics and registers them; a nil registerer takes none.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "fairlead", Subsystem: "controller", Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: "fairlead", Subsystem: "controller", Name: name, Help: help}
	}
	m := &metrics{
		opinions: prometheus.NewCounter(counter("opinions_received_total", "Opinions that agents sent.")),
		ignored: prometheus.NewCounterVec(counter("opinions_faulty_total",
			"Opinions that were left out (bad-target, too-many), taken as unknown (bad-status) or shortened (long-reason)."), []string{"why"}),
		changes:  prometheus.NewCounterVec(counter("verdict_changes_total", "Verdicts that changed, by what they became."), []string{"to"}),
		verdicts: prometheus.NewGaugeVec(gauge("verdicts", "Targets by last verdict."), []string{"status"}),
		fresh:    prometheus.NewGauge(gauge("agents_fresh", "Registered agents that are heard.")),
		agents:   prometheus.NewGauge(gauge("agents_registered", "Registered agents.")),
		ready:    prometheus.NewGauge(gauge("health_ready", "1 when nameservers may follow this controller's verdicts.")),
		resyncs:  prometheus.NewCounter(counter("health_resyncs_total", "Times that the process stood still and heard all agents anew.")),
	}
	for _, why := range []string{"bad-target", "too-many", "bad-status", "long-reason"} {
		m.ignored.WithLabelValues(why)
	}
	for _, s := range []regions.Status{regions.Healthy, regions.Unhealthy} {
		m.changes.WithLabelValues(statusLabel(s))
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.opinions, m.ignored, m.changes, m.verdicts, m.fresh, m.agents, m.ready, m.resyncs} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// show sets the gauges.
func (m *metrics) show(t *tally) {
	for s, n := range t.statuses {
		m.verdicts.WithLabelValues(statusLabel(regions.Status(s))).Set(float64(n))
	}
	fresh, registered := t.agents()
	m.fresh.Set(float64(fresh))
	m.agents.Set(float64(registered))
	m.ready.Set(0)
	if t.ready {
		m.ready.Set(1)
	}
}

func statusLabel(s regions.Status) string { return strings.ToLower(s.String()) }
