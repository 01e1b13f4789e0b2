package verdicts

import (
	"strings"
	"time"

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
	overload prometheus.Counter

	isolated, held, latches, skew, damped, oneSided prometheus.Gauge
	throttled, refused                              prometheus.Counter
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
		overload: prometheus.NewCounter(counter("health_overloads_total", "Times that the process did not get around to looking after itself for over a second though it did not stand still; it forgot nothing.")),

		isolated:  prometheus.NewGauge(gauge("agents_isolated", "Registered agents that are heard and whose opinions do not count, since they are cut off.")),
		held:      prometheus.NewGauge(gauge("guard_held_targets", "Targets whose verdict the mass-withdrawal guard holds.")),
		latches:   prometheus.NewGauge(gauge("latches", "Regions of services that wait for a release after a failover.")),
		skew:      prometheus.NewGauge(gauge("agent_clock_skew_max_seconds", "The largest difference between an agent's clock and this one's, network delay included.")),
		damped:    prometheus.NewGauge(gauge("verdicts_damped", "Targets with a recovery that does not count yet because they flap.")),
		oneSided:  prometheus.NewGauge(gauge("verdicts_one_sided", "Targets on which one of two regions decides alone, since the other one is silent.")),
		throttled: prometheus.NewCounter(counter("agents_throttled_total", "Streams of agents that ended because they sent too much.")),
		refused:   prometheus.NewCounter(counter("latches_refused_total", "Latches that were told with a trip that cannot be.")),
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
	for _, c := range []prometheus.Collector{m.opinions, m.ignored, m.changes, m.verdicts, m.fresh, m.agents, m.ready, m.resyncs, m.overload,
		m.isolated, m.held, m.latches, m.skew, m.damped, m.oneSided, m.throttled, m.refused} {
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
	m.held.Set(float64(len(t.guard.held)))
	m.latches.Set(float64(len(t.latches.standing)))
	m.damped.Set(float64(t.damped))
	m.oneSided.Set(float64(t.oneSided))
	m.showAgents(t)
}

// showAgents sets the gauges that change without a new state.
func (m *metrics) showAgents(t *tally) {
	isolated, skew := 0, time.Duration(0)
	for _, v := range t.voters {
		if v.isolated != "" {
			isolated++
		}
		if v.session != nil && v.skew.Abs() > skew {
			skew = v.skew.Abs()
		}
	}
	m.isolated.Set(float64(isolated))
	m.skew.Set(skew.Seconds())
}

func statusLabel(s regions.Status) string { return strings.ToLower(s.String()) }
