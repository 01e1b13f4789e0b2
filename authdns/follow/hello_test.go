package follow

import (
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/plan"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// A hello tells what a region stands for also where there is no verdict, and
// nothing of what nobody has judged.
func TestHelloTellsRegionsStandings(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		cs[0].offers(makeGeneration(t, 1, 5, 3))
		cs[0].says("1=H")
		cs[0].set(func(s *script) { s.ready = true })
		pass(time.Second)
		s.want("1.5 1=H 2=? 3=?")
		next := *s.Serving()
		i, _ := next.Plan.Target("web@192.0.2.2")
		only := health.Verdict{Regions: []health.RegionStanding{{Region: "r", Standing: regions.Standing{Verdict: regions.Unhealthy, Since: time.Now()}}}}
		next.View = next.View.With(map[int32]steer.TargetState{i: plan.TargetState(next.Plan.Base, only)}, time.Now())
		s.publish(&next)
		told := map[string]*pb.TargetHealth{}
		for _, v := range s.Hello().GetVerdicts() {
			told[v.GetTarget()] = v
		}
		if len(told) != 2 || told["web@192.0.2.1"].GetVerdict() != pb.HealthStatus_HEALTH_STATUS_HEALTHY {
			t.Fatalf("told %v", told)
		}
		v := told["web@192.0.2.2"]
		if v.GetVerdict() != pb.HealthStatus_HEALTH_STATUS_UNKNOWN || len(v.GetRegions()) != 1 || v.GetRegions()[0].GetStanding().GetVerdict() != pb.HealthStatus_HEALTH_STATUS_UNHEALTHY {
			t.Errorf("told %v", v)
		}
	})
}
