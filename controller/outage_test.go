package controller_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Without etcd reads, explain and the feed go on, and writes say at once that
// nothing was written; when it is back, all is as before.
func TestEtcdStops(t *testing.T) {
	e := etcd(t)
	c := run(t, "c1", e)
	applied := c.apply(base)
	if err := e.Stop(0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := c.DrainRegion(ctx, &pb.DrainRegionRequest{Region: "eu-west", Reason: "r"})
	wantCode(t, err, codes.Unavailable, "nothing was written", "etcd does not answer or has no quorum")
	_, err = c.Apply(ctx, &pb.ApplyRequest{Resources: resources(t, www), RequestId: "id"})
	wantCode(t, err, codes.Unavailable, "nothing was written")
	eventually(t, "the status to tell", func() bool {
		st, err := c.GetStatus(ctx, &pb.GetStatusRequest{})
		return err == nil && !st.GetStoreAvailable() && proto.Equal(st.GetGeneration(), applied.GetGeneration())
	})
	if got := c.names("Service"); got != "www.example.test" {
		t.Errorf("services: %q", got)
	}
	if x, err := c.Explain(ctx, &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"}); err != nil || len(x.GetAnswers()) != 1 {
		t.Errorf("explain: %v, %v", x, err)
	}
	n := c.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	if u, _ := n.plan(nil); !proto.Equal(u.GetGeneration(), applied.GetGeneration()) {
		t.Errorf("fed %v, want %v", u.GetGeneration(), applied.GetGeneration())
	}
	if err := c.Ready(); err != nil && !strings.Contains(err.Error(), "judge") {
		t.Errorf("not ready: %v", err)
	}

	if err := e.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a drain", func() bool {
		_, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "r"})
		return err == nil
	})
	eventually(t, "the status to tell", func() bool {
		st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
		return err == nil && st.GetStoreAvailable() && len(st.GetOverrides()) == 1
	})
}

func TestStartsWithoutEtcd(t *testing.T) {
	e := etcd(t)
	if err := e.Stop(0); err != nil {
		t.Fatal(err)
	}
	c := run(t, "c1", e)
	_, err := c.ListResources(t.Context(), &pb.ListResourcesRequest{})
	wantCode(t, err, codes.Unavailable, "etcd does not answer")
	if err := c.Ready(); err == nil || !strings.Contains(err.Error(), "etcd") {
		t.Errorf("ready: %v", err)
	}
	if err := e.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	c.apply(base)
}

// A head that does not follow from what is published is not published, nobody
// writes over it, and /readyz says what is wrong. Mended, all goes on.
func TestHeadThatIsNotTrusted(t *testing.T) {
	e := etcd(t)
	client := raw(t, e)
	c := run(t, "c1", e)
	c.apply(base)
	first := c.apply(strings.Replace(www, "30s", "31s", 1))
	read := func() *pb.Head {
		r, err := client.Get(t.Context(), headKey)
		if err != nil {
			t.Fatal(err)
		}
		h := &pb.Head{}
		if err := proto.Unmarshal(r.Kvs[0].Value, h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	good := read()
	write := func(h *pb.Head) {
		b, err := proto.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(t.Context(), headKey, string(b)); err != nil {
			t.Fatal(err)
		}
	}
	alter := func(f func(*pb.Head)) func() {
		return func() {
			h := proto.CloneOf(good)
			// A change's head names the one that it replaced.
			h.PreviousRevision = first.GetGeneration().GetRevision()
			f(h)
			write(h)
		}
	}
	for name, test := range map[string]struct {
		do    func()
		words []string
	}{
		"deleted": {func() {
			if _, err := client.Delete(t.Context(), headKey); err != nil {
				t.Fatal(err)
			}
		}, []string{"head key is gone", "restore a backup"}},
		"another installation": {alter(func(h *pb.Head) { h.Installation = "other" }), []string{`installation "other"`}},
		"an older epoch":       {alter(func(h *pb.Head) { h.Epoch = 0 }), []string{"is older than"}},
		"put back by hand":     {func() { write(good) }, []string{"by hand"}},
		"rubbish": {func() {
			if _, err := client.Put(t.Context(), headKey, "rubbish"); err != nil {
				t.Fatal(err)
			}
		}, []string{"malformed"}},
		"without its objects": {alter(func(h *pb.Head) { h.Manifest = make([]byte, 32) }), []string{"missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.do()
			eventually(t, "not ready", func() bool {
				err := c.Ready()
				if err == nil || !strings.Contains(err.Error(), "not published") {
					return false
				}
				for _, w := range test.words {
					if !strings.Contains(err.Error(), w) {
						return false
					}
				}
				return true
			})
			if got := c.list("Service"); !proto.Equal(got.GetGeneration(), first.GetGeneration()) || len(got.GetResources()) != 1 {
				t.Errorf("published: %v", got)
			}
			_, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, service("x.example.test", "192.0.2.1"))})
			if err == nil || !strings.Contains(err.Error(), "nothing was written") {
				t.Errorf("a write: %v", err)
			}
			refused := `
				# HELP fairlead_controller_generation_refused 1 while the head of the store cannot be published.
				# TYPE fairlead_controller_generation_refused gauge
				fairlead_controller_generation_refused 1
			`
			if err := testutil.GatherAndCompare(c.reg, strings.NewReader(refused), "fairlead_controller_generation_refused"); err != nil {
				t.Error(err)
			}
			// As a restore does it: with a higher epoch.
			mended := proto.CloneOf(good)
			mended.Epoch = good.GetEpoch() + 1
			good = mended
			write(mended)
			eventually(t, "published again", func() bool {
				err := c.Ready()
				return (err == nil || !strings.Contains(err.Error(), "not published")) && c.list("Service").GetGeneration().GetEpoch() == mended.GetEpoch()
			})
			first = &pb.ApplyResponse{Generation: c.list("Service").GetGeneration()}
		})
	}
	// And changes are made again.
	c.apply(service("x.example.test", "192.0.2.1"))
}

// A generation whose objects cannot be read now is read later, without a
// change of the head that would tell.
func TestMissingObjectsAreReadLater(t *testing.T) {
	e := etcd(t)
	client := raw(t, e)
	a := run(t, "c1", e)
	a.apply(base)
	r, err := client.Get(t.Context(), headKey)
	if err != nil {
		t.Fatal(err)
	}
	h := &pb.Head{}
	if err := proto.Unmarshal(r.Kvs[0].Value, h); err != nil {
		t.Fatal(err)
	}
	key := store.DefaultPrefix + "objects/" + store.Digest(h.GetManifest()).String()
	kept, err := client.Get(t.Context(), key)
	if err != nil || len(kept.Kvs) != 1 {
		t.Fatal(kept, err)
	}
	if _, err := client.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	b := run(t, "c2", e)
	eventually(t, "not ready", func() bool { err := b.Ready(); return err != nil && strings.Contains(err.Error(), "missing") })
	_, err = b.ListResources(t.Context(), &pb.ListResourcesRequest{})
	wantCode(t, err, codes.FailedPrecondition, "no generation is published")
	if _, err := client.Put(t.Context(), key, string(kept.Kvs[0].Value)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "published", func() bool {
		l, err := b.ListResources(t.Context(), &pb.ListResourcesRequest{Kind: "Service"})
		return err == nil && len(l.GetResources()) == 1
	})
}

// A store that has gone back is found out by the nameservers, who serve what it
// has forgotten.
func TestNameserverAheadOfTheStore(t *testing.T) {
	e := etcd(t)
	client := raw(t, e)
	c := run(t, "c1", e)
	// Empty, and a nameserver was served before.
	ahead := &pb.NameserverHello{Nameserver: "ns-1", Installation: "gone", Generation: &pb.Generation{Epoch: 7, Revision: 70}}
	n := c.subscribe(ahead)
	eventually(t, "not ready", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), `"ns-1" serves generation 7.70`)
	})
	_, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, base)})
	wantCode(t, err, codes.FailedPrecondition, "nothing was written", "ns-1", "restore a backup")
	n.close()
	eventually(t, "ready without it", func() bool { return c.Ready() == nil })
	applied := c.apply(base)
	// One that serves another installation is none of ours, and stops nothing.
	c.subscribe(ahead)
	c.apply(service("x.example.test", "192.0.2.1"))
	installation := installationOf(t, client)

	later := &pb.Generation{Epoch: applied.GetGeneration().GetEpoch(), Revision: applied.GetGeneration().GetRevision() + 1000}
	n = c.subscribe(&pb.NameserverHello{Nameserver: "ns-2", Installation: installation, Generation: later})
	eventually(t, "not ready", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), `which nameserver "ns-2" serves`)
	})
	_, err = c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "r", Force: true})
	wantCode(t, err, codes.FailedPrecondition, "nothing was written", "ns-2")
	// Mended at the nameserver (its snapshot directory emptied), all goes on.
	n.acknowledge(applied.GetGeneration(), "")
	eventually(t, "a drain", func() bool {
		_, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "r", Force: true})
		return err == nil
	})
}

func installationOf(t *testing.T, client *clientv3.Client) string {
	t.Helper()
	r, err := client.Get(t.Context(), headKey)
	if err != nil {
		t.Fatal(err)
	}
	h := &pb.Head{}
	if err := proto.Unmarshal(r.Kvs[0].Value, h); err != nil {
		t.Fatal(err)
	}
	return h.GetInstallation()
}

// A nameserver that is ahead only of this controller makes it look at the
// store.
func TestNameserverAheadOfAController(t *testing.T) {
	e := etcd(t)
	a, b := run(t, "c1", e), run(t, "c2", e)
	a.apply(base)
	applied := a.apply(service("x.example.test", "192.0.2.1"))
	b.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Installation: installationOf(t, raw(t, e)), Generation: applied.GetGeneration()})
	eventually(t, "the generation at the other controller", func() bool {
		l, err := b.ListResources(t.Context(), &pb.ListResourcesRequest{})
		return err == nil && proto.Equal(l.GetGeneration(), applied.GetGeneration())
	})
	if err := b.Ready(); err != nil && strings.Contains(err.Error(), "not published") {
		t.Error(err)
	}
}

// The controller judges and feeds verdicts from real agents, and its metrics
// are well-formed.
func TestStatusAndMetrics(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	c.reports(t.Context())
	eventually(t, "the verdict in the status", func() bool {
		st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
		if err != nil || len(st.GetServices()) != 1 || st.GetServices()[0].GetHealthy() != 1 {
			return false
		}
		p := st.GetServices()[0].GetProblems()
		return len(p) == 1 && p[0].GetEndpoint() == "eu-1" && len(st.GetAgents()) == 1 && st.GetAgents()[0].GetConnected()
	})
	x, err := c.Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"})
	if err != nil || !slices.Equal(x.GetAnswers(), []string{"192.0.2.20"}) {
		t.Errorf("explain: %v, %v", x.GetAnswers(), err)
	}
	problems, err := testutil.GatherAndLint(c.reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	for _, name := range []string{"fairlead_controller_generation_revision", "fairlead_controller_store_available"} {
		if n, err := testutil.GatherAndCount(c.reg, name); err != nil || n != 1 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

// Streams that never end by themselves do not hold up the end.
func TestStopsWithStreamsOpen(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	n := c.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	n.plan(nil)
	// A call that waits for nameservers ends too, with what is known.
	ns := `{apiVersion: fairlead/v1, kind: Nameserver, metadata: {name: ns-9}, spec: {region: eu-west}}`
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		resp, err := c.Apply(context.Background(), &pb.ApplyRequest{Resources: resources(t, ns), Wait: durationpb.New(time.Minute)})
		if err != nil || len(resp.GetConvergence().GetMissing()) != 2 {
			t.Errorf("waiting while it stops: %v, %v", resp, err)
		}
	}()
	eventually(t, "the apply", func() bool { return c.names("Nameserver") == "ns-9" })
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	for {
		_, err := n.stream.Recv()
		if err == nil {
			continue
		}
		wantCode(t, err, codes.Unavailable, "stopping")
		break
	}
	<-waited
}
