package verdicts

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Whatever an agent sends, the tally stays bounded and counts right.
func FuzzHear(f *testing.F) {
	for _, text := range []string{"full t=H u=U", "t=?", "full", "", "x=U t=H"} {
		data, err := proto.Marshal(opinions(text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, data)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		o := Options{}
		if err := o.validate(); err != nil {
			t.Fatal(err)
		}
		m, _ := newMetrics(nil)
		ta := newTally(&o, m)
		now := time.Now()
		p := planOf(1, three, "t", "u")
		ta.plan(&p, now)
		s := sessionOf(&pb.AgentHello{Agent: "a1", Region: "a"})
		ta.hear(event{session: s, opened: true}, now)
		for _, data := range [][]byte{one, two} {
			req := &pb.ReportRequest{}
			if proto.Unmarshal(data, req) != nil {
				continue
			}
			ta.hear(ta.event(s, req, now), now)
			ta.settle(now)
		}
		v := ta.vantages["a1"]
		count := 0
		check := func(target string, op opinion) {
			if op.flags&known == 0 {
				return
			}
			count++
			if target == "" || len(target) > MaxTargetID || len(op.text()) > MaxReason || op.at(ta.base).After(now) {
				t.Errorf("%q: %+v was taken", target, op)
			}
		}
		for target, op := range v.elsewhere {
			check(target, op)
		}
		for i, target := range ta.table.index.ids {
			check(target, ta.slots.row(i)[v.column])
		}
		if count != v.targets() {
			t.Errorf("%d opinions, counted as %d", count, v.targets())
		}
		for i := range ta.table.index.ids {
			if got := ta.table.get(i); got.Last != 0 {
				t.Errorf("one of three agents decided %s", got.ID)
			}
		}
	})
}
