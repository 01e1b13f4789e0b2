package authdns

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/authdns/answer"
	"github.com/fairlead-dns/fairlead/authdns/transport"
)

// queryMetrics counts without a lock or an allocation per query: every
// counter is looked up once, here.
type queryMetrics struct {
	requests   [2]map[uint16]prometheus.Counter // by transport and type
	other      [2]prometheus.Counter
	responses  map[int]prometheus.Counter // by rcode
	otherRcode prometheus.Counter
	dropped    prometheus.Counter
	truncated  prometheus.Counter
	duration   [2]prometheus.Observer

	collectors []prometheus.Collector
}

// countedTypes are the query types that have a series of their own (IANA, DNS
// parameters). They and the RCODEs are written out: the DNS library stays out
// of this package.
var countedTypes = map[uint16]string{
	1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 43: "DS", 48: "DNSKEY",
	64: "SVCB", 65: "HTTPS", 255: "ANY", 257: "CAA",
}

var rcodes = []struct {
	rcode int
	name  string
}{
	{0, "NOERROR"}, {1, "FORMERR"}, {2, "SERVFAIL"}, {3, "NXDOMAIN"}, {4, "NOTIMP"}, {5, "REFUSED"}, {6, "YXDOMAIN"},
	{9, "NOTAUTH"}, {16, "BADVERS"},
}

func newQueryMetrics() *queryMetrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlead_dns_requests_total", Help: "Queries by transport and type."}, []string{"proto", "type"})
	responses := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlead_dns_responses_total", Help: "Responses by RCODE."}, []string{"rcode"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "fairlead_dns_request_duration_seconds", Help: "Time from a query's arrival to its response.",
		Buckets: []float64{5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2},
	}, []string{"proto"})
	m := &queryMetrics{
		responses: map[int]prometheus.Counter{},
		dropped:   prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_dns_dropped_total", Help: "Messages that got no response: too short, or responses themselves."}),
		truncated: prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_dns_truncated_total", Help: "Responses with the TC bit."}),
	}
	for t, proto := range []string{answer.UDP: "udp", answer.TCP: "tcp"} {
		m.requests[t] = map[uint16]prometheus.Counter{}
		for qtype, name := range countedTypes {
			m.requests[t][qtype] = requests.WithLabelValues(proto, name)
		}
		m.other[t] = requests.WithLabelValues(proto, "other")
		m.duration[t] = duration.WithLabelValues(proto)
	}
	for _, r := range rcodes {
		m.responses[r.rcode] = responses.WithLabelValues(r.name)
	}
	m.otherRcode = responses.WithLabelValues("other")
	m.collectors = []prometheus.Collector{requests, responses, duration, m.dropped, m.truncated}
	return m
}

// register registers all series, with those of the sockets.
func (m *queryMetrics) register(r prometheus.Registerer, t *transport.Server) {
	r.MustRegister(m.collectors...)
	r.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "fairlead_dns_tcp_connections", Help: "TCP connections that are open."},
		func() float64 { return float64(t.Stats().TCPOpen) },
	))
	for _, c := range []struct {
		name, help string
		value      func(transport.Stats) uint64
	}{
		{"fairlead_dns_tcp_accepted_total", "TCP connections accepted.", func(s transport.Stats) uint64 { return s.TCPAccepted }},
		{"fairlead_dns_tcp_refused_total", "TCP connections closed at once: the client, or the server, had too many.", func(s transport.Stats) uint64 { return s.TCPRefused }},
		{"fairlead_dns_tcp_evicted_total", "TCP connections closed to make room for others.", func(s transport.Stats) uint64 { return s.TCPEvicted }},
		{"fairlead_dns_tcp_timeouts_total", "TCP connections closed because the peer was idle or slow.", func(s transport.Stats) uint64 { return s.TCPTimeouts }},
		{"fairlead_dns_udp_errors_total", "UDP messages that could not be read or sent.", func(s transport.Stats) uint64 { return s.UDPErrors }},
		{"fairlead_dns_panics_total", "Queries that made the server panic; each cost its own response.", func(s transport.Stats) uint64 { return s.Panics }},
	} {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help},
			func() float64 { return float64(c.value(t.Stats())) }))
	}
}

func (m *queryMetrics) count(t answer.Transport, info *answer.Info, answered bool, took time.Duration) {
	if c, ok := m.requests[t][info.Qtype]; ok {
		c.Inc()
	} else {
		m.other[t].Inc()
	}
	m.duration[t].Observe(took.Seconds())
	if !answered {
		m.dropped.Inc()
		return
	}
	if c, ok := m.responses[info.Rcode]; ok {
		c.Inc()
	} else {
		m.otherRcode.Inc()
	}
	if info.Truncated {
		m.truncated.Inc()
	}
}
