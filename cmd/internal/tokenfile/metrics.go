package tokenfile

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the tokens. Whose they are is in no label: who may read metrics
// need not know.
type metrics struct {
	reloads  *prometheus.CounterVec
	refused  prometheus.Gauge
	attempts *prometheus.CounterVec
}

// newMetrics makes the metrics and registers them; a nil registerer takes none.
func newMetrics(r prometheus.Registerer, f *Tokens) (*metrics, error) {
	m := &metrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_tokens_reloads_total",
			Help: "Changed files of tokens that were taken into use (ok) or not (refused).",
		}, []string{"result"}),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fairlead_tokens_file_refused",
			Help: "1 while the file of tokens is bad and an older one is in use.",
		}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_tokens_attempts_refused_total",
			Help: "Calls whose token was refused, by why.",
		}, []string{"reason"}),
	}
	for _, result := range []string{"ok", "refused"} {
		m.reloads.WithLabelValues(result)
	}
	for _, reason := range []string{unknown, expired, malformed, plaintext, ambiguous} {
		m.attempts.WithLabelValues(reason)
	}
	if r == nil {
		return m, nil
	}
	next := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fairlead_tokens_expiry_timestamp_seconds",
		Help: "When the next token expires that has not yet; 0: there is none.",
	}, func() float64 { return f.nextExpiry(f.o.Now()) })
	for _, c := range []prometheus.Collector{m.reloads, m.refused, m.attempts, next} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// nextExpiry is when the next token expires, in Unix seconds; 0: none will.
func (f *Tokens) nextExpiry(now time.Time) float64 {
	var next time.Time
	for _, t := range f.current.Load().order {
		if t.until.After(now) && (next.IsZero() || t.until.Before(next)) {
			next = t.until
		}
	}
	if next.IsZero() {
		return 0
	}
	return float64(next.Unix())
}
