package controller_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// gauges are the values of the metrics without labels.
func (r *running) gauges() map[string]float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetGauge() != nil && len(m.GetLabel()) == 0 {
				out[f.GetName()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

// Endpoints that were never judged are none of the healthy; a verdict moves
// them. An override whose region is gone is told as such, and certificates are
// shown as whoever holds them says.
func TestStatusTells(t *testing.T) {
	until := time.Now().Add(50 * time.Hour)
	c := run(t, "c1", etcd(t), func(o *controller.Options) {
		o.Certificates = func(now time.Time) []*pb.CertificateStatus {
			if now.After(until) {
				t.Error("asked for another time")
			}
			return []*pb.CertificateStatus{{Use: "program", What: "certificate", State: "warn", ExpireTime: timestamppb.New(until)}}
		}
	})
	status := func() *pb.GetStatusResponse {
		st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	if st := status(); len(st.GetCertificates()) != 1 || st.GetCertificates()[0].GetState() != "warn" {
		t.Errorf("%v", st.GetCertificates())
	}
	const third = `---
apiVersion: fairlead/v1
kind: Region
metadata: {name: sa-east}
spec: {latitude: -23.5, longitude: -46.6, availabilityZones: [a]}
---
apiVersion: fairlead/v1
kind: Nameserver
metadata: {name: ns-1}
spec: {region: eu-west}
`
	c.apply(base + third)
	eventually(t, "the services", func() bool { return len(status().GetServices()) == 1 })
	counts := func(s interface {
		GetEndpoints() uint32
		GetHealthy() uint32
		GetUnjudged() uint32
	}) [3]uint32 {
		return [3]uint32{s.GetEndpoints(), s.GetHealthy(), s.GetUnjudged()}
	}
	st := status()
	if got := counts(st.GetServices()[0]); got != [3]uint32{2, 0, 2} || len(st.GetServices()[0].GetProblems()) != 0 {
		t.Errorf("never judged: %v, %v", got, st.GetServices()[0].GetProblems())
	}
	agent, err := pb.NewAgentServiceClient(c.conn).Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*pb.ReportRequest{
		{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{Agent: "probe-eu", Region: "eu-west", Version: "1"}}},
		{Message: &pb.ReportRequest_Opinions{Opinions: &pb.OpinionUpdate{Full: true, Opinions: []*pb.Opinion{
			{Target: "web@192.0.2.10", Status: pb.HealthStatus_HEALTH_STATUS_HEALTHY},
		}}}},
	} {
		if err := agent.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "one of two to be judged", func() bool { return counts(status().GetServices()[0]) == [3]uint32{2, 1, 1} })
	for _, r := range status().GetRegions() {
		want := map[string][3]uint32{"eu-west": {1, 1, 0}, "us-east": {1, 0, 1}, "sa-east": {}}[r.GetRegion()]
		if got := counts(r); got != want {
			t.Errorf("%s: %v, want %v", r.GetRegion(), got, want)
		}
	}

	for _, d := range []*pb.DrainRegionRequest{{Region: "sa-east", Reason: "r"}, {Region: "us-east", Reason: "r"}, {Region: "us-east", Service: "www.example.test", Reason: "r"}} {
		if _, err := c.DrainRegion(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "three drains", func() bool { return len(status().GetOverrides()) == 3 })
	if got := status().GetIgnoredOverrides(); len(got) != 0 {
		t.Errorf("ignored: %v", got)
	}
	for _, name := range []string{"Region/sa-east", "Service/www.example.test"} {
		kind, name, _ := strings.Cut(name, "/")
		if _, err := c.DeleteResource(t.Context(), &pb.DeleteResourceRequest{Kind: kind, Name: name, Reason: "gone"}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "two overrides that change nothing", func() bool { return len(status().GetIgnoredOverrides()) == 2 })
	why := map[string]bool{}
	for _, i := range status().GetIgnoredOverrides() {
		why[i.GetReason()] = true
	}
	if !why[`there is no region "sa-east"`] || !why[`there is no service "www.example.test"`] {
		t.Errorf("%v", why)
	}

	// Generations and members as metrics.
	g := c.gauges()
	gen := status().GetGeneration()
	if g["fairlead_controller_generation_epoch"] != float64(gen.GetEpoch()) || g["fairlead_controller_generation_revision"] != float64(gen.GetRevision()) {
		t.Errorf("%v: %v", gen, g)
	}
	for _, name := range []string{"ns-1", "guest"} {
		c.subscribe(&pb.NameserverHello{Nameserver: name, Region: "eu-west"})
	}
	eventually(t, "the nameservers", func() bool {
		g := c.gauges()
		return g["fairlead_controller_nameservers_registered"] == 1 && g["fairlead_controller_nameservers_connected"] == 1 && g["fairlead_controller_nameservers_unregistered"] == 1
	})
}
