package feed

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// A higher number is not enough to count as serving a change: a nameserver of
// another installation, or of an epoch that began since, may lack it. Who is
// missing is told with what is known of it.
func TestWaitTellsWhoServesSomethingElse(t *testing.T) {
	s := start(t, true)
	s.configure("www.example.test")
	eventually(t, "a generation", func() bool { return s.planner.Current() != nil })
	cur := s.planner.Current()
	ours := cur.Head.GetInstallation()
	gen := regions.Generation{Epoch: cur.Generation.Epoch, Revision: cur.Generation.Revision + 10}
	of := func(epoch uint64, revision int64) *pb.Generation {
		return &pb.Generation{Epoch: epoch, Revision: revision}
	}

	for _, h := range []*pb.NameserverHello{
		{Nameserver: "foreign", Installation: "another", Generation: of(gen.Epoch, gen.Revision+5)},
		{Nameserver: "foreign-epoch", Installation: "another", Generation: of(gen.Epoch+1, 1)},
		{Nameserver: "later-epoch", Installation: ours, Generation: of(gen.Epoch+1, gen.Revision+5)},
		{Nameserver: "late", Installation: ours, Generation: of(gen.Epoch, gen.Revision-1)},
		{Nameserver: "old-epoch", Installation: ours, Generation: of(gen.Epoch-1, gen.Revision+5)},
		{Nameserver: "there", Installation: ours, Generation: of(gen.Epoch, gen.Revision)},
		{Nameserver: "newer", Installation: ours, Generation: of(gen.Epoch, gen.Revision+5)},
		{Nameserver: "refuses", Installation: ours, Generation: of(gen.Epoch, gen.Revision-1)},
	} {
		sub := s.subscribe(h)
		if h.GetNameserver() == "refuses" {
			sub.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Acknowledgement{Acknowledgement: &pb.PlanAcknowledgement{
				Generation: h.GetGeneration(), Refusal: "zone example.test: no SOA",
			}}})
		}
	}
	eventually(t, "all of them", func() bool {
		all := s.Nameservers()
		return len(all) == 8 && slices.ContainsFunc(all, func(n Nameserver) bool { return n.Refusal != "" })
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	c := s.Wait(ctx, gen, []string{"there", "absent"})
	if !slices.Equal(c.GetServing(), []string{"newer", "there"}) {
		t.Errorf("serving: %q", c.GetServing())
	}
	if !slices.Equal(c.GetMissing(), []string{"absent", "foreign", "foreign-epoch", "late", "later-epoch", "old-epoch", "refuses"}) {
		t.Errorf("missing: %q", c.GetMissing())
	}
	for name, want := range map[string]string{
		"absent": "it is not connected to this controller", "foreign": `of another installation, "another"; this is "` + ours, "foreign-epoch": "of another installation",
		"later-epoch": "of a later epoch", "refuses": "it refuses a generation: zone example.test: no SOA", "late": "", "old-epoch": "",
	} {
		if got := c.GetReasons()[name]; !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
