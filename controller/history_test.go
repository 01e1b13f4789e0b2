package controller_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// history lists all generations, in pages of a size.
func (r *running) history(size int32) (all []*pb.GenerationRecord) {
	r.t.Helper()
	for token := ""; ; {
		resp, err := r.ListGenerations(r.t.Context(), &pb.ListGenerationsRequest{PageSize: size, PageToken: token})
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, resp.GetGenerations()...)
		if token = resp.GetNextPageToken(); token == "" {
			return all
		}
	}
}

func (r *running) drain(region string) *pb.DrainRegionResponse {
	r.t.Helper()
	resp, err := r.DrainRegion(r.t.Context(), &pb.DrainRegionRequest{Region: region, Reason: "maintenance", Force: true})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

// changed prints changes in short.
func changed(changes []*pb.Change) string {
	var out []string
	for _, c := range changes {
		r := c.GetAfter()
		if r == nil {
			r = c.GetBefore()
		}
		verb := strings.ToLower(strings.TrimPrefix(c.GetAction().String(), "CHANGE_ACTION_"))
		out = append(out, verb+" "+config.KeyOf(r).String())
	}
	return strings.Join(out, ", ")
}

func TestHistory(t *testing.T) {
	e := etcd(t)
	c := run(t, "c1", e)
	if got := c.history(0); len(got) != 0 {
		t.Errorf("history of nothing: %v", got)
	}
	first := c.apply(base).GetGeneration()
	second := c.apply(strings.Replace(www, "30s", "31s", 1)).GetGeneration()
	third := c.drain("eu-west").GetGeneration()
	fourth := c.apply(service("x.example.test", "192.0.2.1")).GetGeneration()
	want := []*pb.Generation{fourth, third, second, first}
	actions := []string{"apply", "override-create", "apply", "apply"}
	for _, size := range []int32{0, 1, 3, 4, 100_000} {
		got := c.history(size)
		if len(got) != len(want) {
			t.Fatalf("in pages of %d: %d generations, want %d", size, len(got), len(want))
		}
		for i, g := range got {
			ev := g.GetEvent()
			if !proto.Equal(g.GetGeneration(), want[i]) || !g.GetKept() || ev.GetAction() != actions[i] || ev.GetHead() != nil || len(ev.GetSubjects()) == 0 {
				t.Errorf("generation %d is %v", i, g)
			}
		}
	}
	var events []*pb.AuditEvent
	for token := ""; ; {
		resp, err := c.ListEvents(t.Context(), &pb.ListEventsRequest{PageSize: 3, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, resp.GetEvents()...)
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(events) != 4 || events[1].GetReason() != "maintenance" || !proto.Equal(events[1].GetGeneration(), third) || events[1].GetPreviousRevision() != second.GetRevision() || events[1].GetHead() != nil {
		t.Errorf("events: %v", events)
	}

	for name, step := range map[string]struct {
		from, to  *pb.Generation
		changes   string
		unchanged uint32
	}{
		"forward":     {first, second, "update services/www.example.test", 6},
		"backward":    {second, first, "update services/www.example.test", 6},
		"drain":       {second, third, "", 7},
		"to the last": {first, nil, "update services/www.example.test, create services/x.example.test", 6},
		"away":        {fourth, third, "delete services/x.example.test", 7},
		"itself":      {fourth, fourth, "", 8},
	} {
		got, err := c.DiffGenerations(t.Context(), &pb.DiffGenerationsRequest{From: step.from, To: step.to})
		if err != nil || changed(got.GetChanges()) != step.changes || got.GetUnchanged() != step.unchanged {
			t.Errorf("%s: %s, %d unchanged, %v, want %s, %d", name, changed(got.GetChanges()), got.GetUnchanged(), err, step.changes, step.unchanged)
		}
		for _, ch := range got.GetChanges() {
			if ch.GetAfter() != nil && config.Metadata(ch.GetAfter()).GetEtag() == "" {
				t.Errorf("%s: a resource without its etag: %v", name, ch)
			}
		}
	}

	none := &pb.Generation{Epoch: first.GetEpoch(), Revision: fourth.GetRevision() + 100}
	_, err := c.DiffGenerations(t.Context(), &pb.DiffGenerationsRequest{From: none})
	wantCode(t, err, codes.NotFound, "is not kept")
	_, err = c.DiffGenerations(t.Context(), &pb.DiffGenerationsRequest{From: first, To: none})
	wantCode(t, err, codes.NotFound, "is not kept")
	_, err = c.DiffGenerations(t.Context(), &pb.DiffGenerationsRequest{})
	wantCode(t, err, codes.InvalidArgument, "from: required")
	_, err = c.ListGenerations(t.Context(), &pb.ListGenerationsRequest{PageToken: "nonsense"})
	wantCode(t, err, codes.InvalidArgument, "page_token")
	_, err = c.ListEvents(t.Context(), &pb.ListEventsRequest{PageToken: "nonsense"})
	wantCode(t, err, codes.InvalidArgument, "page_token")
	_, err = c.ListEvents(t.Context(), &pb.ListEventsRequest{PageSize: -1})
	wantCode(t, err, codes.InvalidArgument, "page_size")

	if err := e.Stop(0); err != nil {
		t.Fatal(err)
	}
	_, err = c.ListEvents(t.Context(), &pb.ListEventsRequest{})
	wantCode(t, err, codes.Unavailable)
}

func (r *running) serial(zone string) uint32 {
	r.t.Helper()
	resp, err := r.GetResource(r.t.Context(), &pb.GetResourceRequest{Kind: "Zone", Name: zone})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.GetResource().GetZone().GetStatus().GetSerial()
}

// A rollback brings the configuration back and leaves the drain that was made
// since.
func TestRollback(t *testing.T) {
	e := etcd(t)
	c := run(t, "c1", e)
	first := c.apply(base).GetGeneration()
	c.apply(strings.Replace(www, "30s", "31s", 1))
	c.apply(service("x.example.test", "192.0.2.1"))
	drained := c.drain("eu-west")
	serial := c.serial("example.test")
	req := &pb.RollbackGenerationRequest{Generation: first, Reason: "it broke", RequestId: "roll-1", Wait: durationpb.New(1)}
	const changes = "update services/www.example.test, delete services/x.example.test"

	dry := proto.CloneOf(req)
	dry.DryRun = true
	got, err := c.RollbackGeneration(t.Context(), dry)
	if err != nil || changed(got.GetChanges()) != changes || !proto.Equal(got.GetGeneration(), drained.GetGeneration()) {
		t.Errorf("dry run: %v, %v", got, err)
	}
	if names := c.names("Service"); names != "www.example.test x.example.test" {
		t.Errorf("a dry run changed something: %s", names)
	}

	got, err = c.RollbackGeneration(t.Context(), req)
	if err != nil || changed(got.GetChanges()) != changes || gen(got.GetGeneration()).Compare(gen(drained.GetGeneration())) <= 0 {
		t.Fatalf("%v, %v", got, err)
	}
	svc, err := c.GetResource(t.Context(), &pb.GetResourceRequest{Kind: "Service", Name: "www.example.test"})
	if err != nil || svc.GetResource().GetService().GetSpec().GetTtl().GetSeconds() != 30 || c.names("Service") != "www.example.test" {
		t.Errorf("services: %v, %v, %s", svc, err, c.names("Service"))
	}
	over, err := c.ListOverrides(t.Context(), &pb.ListOverridesRequest{})
	if err != nil || len(over.GetOverrides()) != 1 || over.GetOverrides()[0].GetId() != drained.GetOverride().GetId() {
		t.Errorf("overrides: %v, %v", over, err)
	}
	if now := c.serial("example.test"); now <= serial {
		t.Errorf("serial is %d, was %d", now, serial)
	}
	top := c.history(1)[0]
	if ev := top.GetEvent(); ev.GetAction() != "rollback" || ev.GetReason() != "it broke" || ev.GetSubjects()[0] != fmt.Sprintf("generations/%v", gen(first)) || len(ev.GetSubjects()) != 3 {
		t.Errorf("event: %v", ev)
	}

	// The same request again changes nothing.
	again, err := c.RollbackGeneration(t.Context(), req)
	if err != nil || !proto.Equal(again.GetGeneration(), got.GetGeneration()) || changed(again.GetChanges()) != changes {
		t.Errorf("again: %v, %v", again, err)
	}
	// Neither does one to what is there already.
	req.RequestId = ""
	same, err := c.RollbackGeneration(t.Context(), req)
	if err != nil || len(same.GetChanges()) != 0 || !proto.Equal(same.GetGeneration(), got.GetGeneration()) {
		t.Errorf("to the same: %v, %v", same, err)
	}
	// And it can be taken back: by the generation that it replaced.
	back, err := c.RollbackGeneration(t.Context(), &pb.RollbackGenerationRequest{Generation: drained.GetGeneration(), Reason: "it did not"})
	if err != nil || changed(back.GetChanges()) != "update services/www.example.test, create services/x.example.test" || c.names("Service") != "www.example.test x.example.test" {
		t.Errorf("back: %v, %v", back, err)
	}

	_, err = c.RollbackGeneration(t.Context(), &pb.RollbackGenerationRequest{Generation: first})
	wantCode(t, err, codes.InvalidArgument, "reason: required")
	_, err = c.RollbackGeneration(t.Context(), &pb.RollbackGenerationRequest{Reason: "r"})
	wantCode(t, err, codes.InvalidArgument, "generation: required")
	none := &pb.Generation{Epoch: 9, Revision: 1}
	_, err = c.RollbackGeneration(t.Context(), &pb.RollbackGenerationRequest{Generation: none, Reason: "r"})
	wantCode(t, err, codes.NotFound, "is not kept")

	// A nameserver gets the generation whole, the drain with it.
	u, tree := c.subscribe(&pb.NameserverHello{Nameserver: "ns-1"}).plan(back.GetGeneration())
	if len(tree.Overrides) != 1 || tree.Set.Count(config.KindService) != 2 || !proto.Equal(u.GetGeneration(), back.GetGeneration()) {
		t.Errorf("fed %v with %d overrides", u, len(tree.Overrides))
	}
}

// A zone that comes back has a later serial than it ever had.
func TestRollbackBringsAZoneBack(t *testing.T) {
	c := run(t, "c1", etcd(t))
	first := c.apply(base).GetGeneration()
	serial := c.serial("example.test")
	for range 5 { // faster than the clock, which serials follow
		c.apply(service("x.example.test", "192.0.2.1"))
		c.apply(service("x.example.test", "192.0.2.2"))
	}
	last := c.serial("example.test")
	before := c.history(1)[0].GetGeneration()
	if last <= serial {
		t.Fatalf("serial is %d, was %d", last, serial)
	}
	if _, err := c.Apply(t.Context(), &pb.ApplyRequest{Prune: true, Resources: resources(t, strings.Split(base, "---")[0])}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RollbackGeneration(t.Context(), &pb.RollbackGenerationRequest{Generation: before, Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if now := c.serial("example.test"); now <= last {
		t.Errorf("serial is %d, was %d", now, last)
	}
	if _, err := c.RollbackGeneration(t.Context(), &pb.RollbackGenerationRequest{Generation: first, Reason: "r"}); err != nil {
		t.Fatal(err)
	}
}

// A generation that this version does not take for valid is not brought back,
// and a controller never publishes one.
func TestRollbackToWhatIsNotValid(t *testing.T) {
	e := etcd(t)
	client := raw(t, e)
	c := run(t, "c1", e)
	good := c.apply(base).GetGeneration()
	st, err := store.New(store.Options{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	h, err := st.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// As a version with other rules might have written it.
	set, err := config.NewSet(resources(t, strings.Replace(base, "policy: nearest", "policy: farthest", 1)))
	if err != nil {
		t.Fatal(err)
	}
	tree, head, err := plan.Write(set, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var objects [][]byte
	for _, o := range tree.Objects {
		objects = append(objects, o)
	}
	head.Epoch, head.Installation = h.GetEpoch(), h.GetInstallation()
	_, mark, err := st.Put(t.Context(), objects)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := st.Swap(t.Context(), store.Swap{Expect: h.Revision, Head: head, Mark: mark, Event: &pb.AuditEvent{Action: "apply"}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "not ready", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), `no steering policy "farthest"`)
	})
	st2, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil || !proto.Equal(st2.GetGeneration(), good) || len(st2.GetAlarms()) != 1 || !strings.Contains(st2.GetAlarms()[0], "not published") {
		t.Errorf("status: %v, %v", st2, err)
	}
	// An operator mends it by the last one that was good.
	if _, err := c.RollbackGeneration(t.Context(), &pb.RollbackGenerationRequest{Generation: good, Reason: "mend"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "published", func() bool { err := c.Ready(); return err == nil || !strings.Contains(err.Error(), "not published") })

	bad := &pb.Generation{Epoch: h.GetEpoch(), Revision: rev}
	for _, dry := range []bool{true, false} {
		_, err = c.RollbackGeneration(t.Context(), &pb.RollbackGenerationRequest{Generation: bad, Reason: "r", DryRun: dry})
		wantCode(t, err, codes.InvalidArgument, "nothing was changed", "farthest")
		if v := violations(t, err); !strings.Contains(v["services/www.example.test spec.policy"], "farthest") {
			t.Errorf("violations: %v", v)
		}
	}
}

// Two controllers roll back and apply at once: each change is whole.
func TestRollbackAgainstWriters(t *testing.T) {
	e := etcd(t)
	a, b := run(t, "c1", e), run(t, "c2", e)
	first := a.apply(base).GetGeneration()
	done := make(chan error)
	go func() {
		for i := range 10 {
			if _, err := b.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, service(fmt.Sprintf("y%d.example.test", i), "192.0.2.1"))}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 10 {
		if _, err := a.RollbackGeneration(t.Context(), &pb.RollbackGenerationRequest{Generation: first, Reason: "r"}); err != nil {
			t.Error(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Between two generations lies one service more, or all of them less.
	all := a.history(0)
	for i := len(all) - 2; i >= 0; i-- {
		diff, err := a.DiffGenerations(t.Context(), &pb.DiffGenerationsRequest{From: all[i+1].GetGeneration(), To: all[i].GetGeneration()})
		if err != nil {
			t.Fatal(err)
		}
		switch all[i].GetEvent().GetAction() {
		case "apply":
			if got := changed(diff.GetChanges()); strings.Contains(got, ",") || !strings.HasPrefix(got, "create services/y") {
				t.Errorf("an apply made: %s", got)
			}
		case "rollback":
			fromFirst, err := a.DiffGenerations(t.Context(), &pb.DiffGenerationsRequest{From: first, To: all[i].GetGeneration()})
			if err != nil || len(fromFirst.GetChanges()) != 0 {
				t.Errorf("a rollback left: %s, %v", changed(fromFirst.GetChanges()), err)
			}
		}
	}
}

// Nameservers of another installation are named in the status; when there are
// no others, the controller is not ready.
func TestNameserversOfAnotherInstallation(t *testing.T) {
	e := etcd(t)
	c := run(t, "c1", e)
	applied := c.apply(base)
	foreign := c.subscribe(&pb.NameserverHello{Nameserver: "ns-9", Installation: "other", Generation: &pb.Generation{Epoch: 99, Revision: 1}})
	eventually(t, "not ready", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), `"ns-9", which serves "other"`) && strings.Contains(err.Error(), "--etcd")
	})
	ours := c.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Installation: installationOf(t, raw(t, e)), Generation: applied.GetGeneration()})
	wrong := func() bool { err := c.Ready(); return err != nil && strings.Contains(err.Error(), "ns-9") }
	eventually(t, "ready", func() bool { return !wrong() })
	st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil || len(st.GetAlarms()) != 1 || !strings.Contains(st.GetAlarms()[0], `nameserver "ns-9" serves generation 99.1 of installation "other"`) || !strings.Contains(st.GetAlarms()[0], "empty its snapshot directory") {
		t.Errorf("alarms: %v, %v", st.GetAlarms(), err)
	}
	// It keeps nobody from changing anything.
	c.apply(service("x.example.test", "192.0.2.1"))
	ours.close()
	eventually(t, "not ready again", wrong)
	foreign.close()
	eventually(t, "ready again", func() bool { return !wrong() })
	if st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{}); err != nil || len(st.GetAlarms()) != 0 {
		t.Errorf("alarms: %v, %v", st.GetAlarms(), err)
	}
}
