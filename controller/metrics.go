package controller

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/controller/feed"
	"github.com/fairlead-dns/fairlead/controller/planner"
)

// nameserverGauges show how many nameservers there should be and are. Those of
// agents are the judge's.
func nameserverGauges(f *feed.Server, p *planner.Planner) []prometheus.Collector {
	registered := func() map[string]bool {
		names := map[string]bool{}
		if cur := p.Current(); cur != nil {
			for _, n := range cur.Plan.Compiled.Nameservers {
				names[n.Name] = true
			}
		}
		return names
	}
	connected := func(asRegistered bool) float64 {
		names, n := registered(), 0
		for _, ns := range f.Nameservers() {
			if ns.Connected && names[ns.Name] == asRegistered {
				n++
			}
		}
		return float64(n)
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "fairlead", Subsystem: "controller", Name: name, Help: help}, value)
	}
	return []prometheus.Collector{
		gauge("nameservers_registered", "Nameservers with a Nameserver resource.", func() float64 { return float64(len(registered())) }),
		gauge("nameservers_connected", "Registered nameservers that are subscribed to this controller.", func() float64 { return connected(true) }),
		gauge("nameservers_unregistered", "Nameservers that are subscribed without a Nameserver resource.", func() float64 { return connected(false) }),
	}
}
