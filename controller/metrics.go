package controller

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/controller/feed"
	"github.com/fairlead-dns/fairlead/controller/planner"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "fairlead", Subsystem: "controller", Name: name, Help: help}, value)
}

// overrideGauges show what operators have set, and how old that may be.
func overrideGauges(p *planner.Planner) []prometheus.Collector {
	count := func(of func(*planner.Current) []*pb.Override, counts func(*pb.Override) bool) func() float64 {
		return func() float64 {
			n := 0
			if cur := p.Current(); cur != nil {
				for _, o := range of(cur) {
					if counts(o) {
						n++
					}
				}
			}
			return float64(n)
		}
	}
	inForce := func(c *planner.Current) []*pb.Override { return c.Overrides }
	scheduled := func(c *planner.Current) []*pb.Override { return c.Scheduled }
	return []prometheus.Collector{
		gauge("overrides", "Overrides in force.", count(inForce, func(*pb.Override) bool { return true })),
		gauge("overrides_scheduled", "Overrides whose time is to come.", count(scheduled, func(o *pb.Override) bool { return o.GetRefusal() == "" })),
		gauge("overrides_refused", "Scheduled overrides that a safety rule keeps from beginning.", count(scheduled, func(o *pb.Override) bool { return o.GetRefusal() != "" })),
		gauge("control_age_seconds", "How long ago etcd last confirmed the generation that is published; 0 before the first.", func() float64 {
			if at := p.Confirmed(); !at.IsZero() {
				return max(time.Since(at).Seconds(), 0)
			}
			return 0
		}),
	}
}

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
	return []prometheus.Collector{
		gauge("nameservers_registered", "Nameservers with a Nameserver resource.", func() float64 { return float64(len(registered())) }),
		gauge("nameservers_connected", "Registered nameservers that are subscribed to this controller.", func() float64 { return connected(true) }),
		gauge("nameservers_unregistered", "Nameservers that are subscribed without a Nameserver resource.", func() float64 { return connected(false) }),
	}
}
