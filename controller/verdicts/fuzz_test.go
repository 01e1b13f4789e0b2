package verdicts

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Whatever an agent sends, the tally stays bounded and counts right.
func FuzzHear(f *testing.F) {
	for _, text := range []string{"full t=H u=U", "t=?", "full", ""} {
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
		s := &session{hello: &pb.AgentHello{Agent: "a1", Region: "a"}, end: make(chan error, 1), wake: make(chan struct{}, 1)}
		ta.hear(event{session: s, opened: true}, now)
		for _, data := range [][]byte{one, two} {
			req := &pb.ReportRequest{}
			if proto.Unmarshal(data, req) != nil {
				continue
			}
			ta.hear(event{session: s, req: req}, now)
			ta.settle(now)
		}
		for target, op := range ta.vantages["a1"].opinions {
			if target == "" || len(target) > MaxTargetID || len(op.reason) > MaxReason || op.since.After(now) {
				t.Errorf("%q: %+v was taken", target, op)
			}
		}
		for i := range ta.table.index.ids {
			if got := ta.table.get(i); got.Last != 0 {
				t.Errorf("one of three agents decided %s", got.ID)
			}
		}
	})
}
