package tlsfiles

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one set of files. The label use tells sets apart.
type metrics struct {
	expiry     *prometheus.GaugeVec
	reloads    *prometheus.CounterVec
	refused    prometheus.Gauge
	handshakes *prometheus.CounterVec
}

// newMetrics makes the metrics and registers them; a nil registerer takes none.
func newMetrics(r prometheus.Registerer, use string) (*metrics, error) {
	labels := prometheus.Labels{"use": use}
	m := &metrics{
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fairlead_tls_certificate_expiry_timestamp_seconds", ConstLabels: labels,
			Help: "When the certificate in use expires, and the CA that vouches for it.",
		}, []string{"file"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_tls_reloads_total", ConstLabels: labels,
			Help: "Changed TLS files that were taken into use (ok) or not (refused).",
		}, []string{"result"}),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fairlead_tls_files_refused", ConstLabels: labels,
			Help: "1 while the TLS files on disk are bad and older ones are in use.",
		}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_tls_handshakes_failed_total", ConstLabels: labels,
			Help: "Handshakes that failed, as server and as client.",
		}, []string{"side"}),
	}
	for _, result := range []string{"ok", "refused"} {
		m.reloads.WithLabelValues(result)
	}
	for _, side := range []string{"server", "client"} {
		m.handshakes.WithLabelValues(side)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.expiry, m.reloads, m.refused, m.handshakes} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) show(of *material) {
	m.expiry.WithLabelValues("certificate").Set(float64(of.leaf.NotAfter.Unix()))
	m.expiry.WithLabelValues("ca").Set(float64(of.issuer.NotAfter.Unix()))
}
