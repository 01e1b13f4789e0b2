package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func startEtcd(t testing.TB) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Options{UnsafeNoFsync: true})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// open opens a catalog; before is called before every transaction that writes
// the head.
func open(t testing.TB, e *embedded.Server, before func()) (*catalog.Catalog, *clientv3.Client) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: e.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(
			func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				if txn, ok := req.(*etcdserverpb.TxnRequest); ok && before != nil {
					for _, op := range txn.GetSuccess() {
						if string(op.GetRequestPut().GetKey()) == store.DefaultPrefix+"head" {
							before()
						}
					}
				}
				return invoke(ctx, method, req, reply, cc, opts...)
			})},
	})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	s, err := store.New(store.Options{Client: c, RequestTimeout: 30 * time.Second})
	must(t, err)
	return catalog.New(s, slog.New(slog.DiscardHandler)), c
}

// set is a configuration of one region and services by name.
func set(t testing.TB, services ...string) *config.Set {
	t.Helper()
	list := []*pb.Resource{
		{Kind: &pb.Resource_Region{Region: &pb.Region{Metadata: &pb.Metadata{Name: "eu"}, Spec: &pb.RegionSpec{}}}},
	}
	for _, s := range services {
		list = append(list, &pb.Resource{Kind: &pb.Resource_Service{Service: &pb.Service{Metadata: &pb.Metadata{Name: s}, Spec: &pb.ServiceSpec{}}}})
	}
	out, err := config.NewSet(list)
	must(t, err)
	return out
}

func change(t testing.TB, c *catalog.Catalog, services ...string) regions.Generation {
	t.Helper()
	out, err := c.Change(t.Context(), catalog.Request{Action: "apply"}, func(*catalog.Version) (catalog.Edit, error) {
		return catalog.Edit{Set: set(t, services...)}, nil
	})
	must(t, err)
	return out.Generation
}

func collector(c *catalog.Catalog, r prometheus.Registerer) *catalog.Collector {
	return catalog.NewCollector(catalog.CollectorOptions{
		Catalog: c, Name: "c1", Every: time.Nanosecond, Log: slog.New(slog.DiscardHandler), Registerer: r,
		Retention: store.Retention{Generations: 2, Events: 100, Refusals: 2, EventPeriod: time.Hour},
	})
}

func names(v *catalog.Version) string { return strings.Join(v.Set.Names(config.KindService), " ") }

func TestCollector(t *testing.T) {
	e := startEtcd(t)
	c, client := open(t, e, nil)
	reg := prometheus.NewPedanticRegistry()
	col := collector(c, reg)
	if got, err := col.Collect(t.Context()); err != nil || !got.Skipped {
		t.Errorf("an empty store: %+v, %v", got, err)
	}
	var gens []regions.Generation
	for i := range 5 {
		gens = append(gens, change(t, c, "all", fmt.Sprint("s", i)))
	}
	if got, err := c.Generation(t.Context(), gens[0]); err != nil || names(got) != "all s0" || got.Generation != gens[0] {
		t.Fatalf("the first: %v, %v", got, err)
	}
	got, err := col.Collect(t.Context())
	// Of each of three generations the manifest and the chunk of services go.
	if err != nil || got.RemovedObjects != 6 || got.Generations != 2 || got.Missing != 0 || got.Floor != gens[3] || got.Bytes == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	fresh, _ := open(t, e, nil)
	for i, g := range gens {
		v, err := fresh.Generation(t.Context(), g)
		if i < 3 {
			if !errors.Is(err, catalog.ErrNotKept) || !strings.Contains(err.Error(), gens[3].String()) {
				t.Errorf("generation %v: %v", g, err)
			}
			continue
		}
		if err != nil || names(v) != fmt.Sprint("all s", i) {
			t.Errorf("generation %v: %v, %v", g, v, err)
		}
	}
	records, next, err := c.History(t.Context(), 0, "")
	if err != nil || next != "" || len(records) != 5 {
		t.Fatalf("%d records, %q, %v", len(records), next, err)
	}
	for i, r := range records {
		if r.Generation != gens[4-i] || r.Kept != (i < 2) || r.Event.GetHead() != nil {
			t.Errorf("record %d: %+v", i, r)
		}
	}

	// What is damaged is told, and not called collected.
	h := records[1]
	v, err := fresh.Generation(t.Context(), h.Generation)
	must(t, err)
	_, err = client.Delete(t.Context(), store.DefaultPrefix+"objects/"+store.Digest(v.Head.GetManifest()).String())
	must(t, err)
	other, _ := open(t, e, nil)
	if _, err := other.Generation(t.Context(), h.Generation); !errors.Is(err, store.ErrMissingObject) || errors.Is(err, catalog.ErrNotKept) {
		t.Errorf("a lost manifest: %v", err)
	}
	if _, err := col.Collect(t.Context()); !errors.Is(err, store.ErrMissingObject) {
		t.Errorf("collected in spite of it: %v", err)
	}
}

// Objects are collected between a writer's objects and its head, again and
// again: it puts them again, without deciding again.
func TestChangeUnderCollection(t *testing.T) {
	e := startEtcd(t)
	plain, client := open(t, e, nil)
	change(t, plain, "a")
	strikes := 0
	var gone int
	c, _ := open(t, e, func() {
		if strikes++; strikes > 3 {
			return
		}
		got, err := collector(plain, nil).Collect(t.Context())
		if err != nil {
			t.Error(err)
		}
		gone += got.RemovedObjects
	})
	decided := 0
	out, err := c.Change(t.Context(), catalog.Request{Action: "apply", ID: "r"}, func(*catalog.Version) (catalog.Edit, error) {
		decided++
		return catalog.Edit{Set: set(t, "a", "b")}, nil
	})
	if err != nil || decided != 1 || strikes != 4 || gone != 6 {
		t.Errorf("%v: decided %d times, struck %d times, %d objects removed", err, decided, strikes, gone)
	}
	fresh, _ := open(t, e, nil)
	if v, err := fresh.Read(t.Context()); err != nil || v.Generation != out.Generation || names(v) != "a b" {
		t.Errorf("%v, %v", v, err)
	}
	n, err := client.Get(t.Context(), store.DefaultPrefix+"audit/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || n.Count != 2 {
		t.Errorf("%d events, %v", n.Count, err)
	}
}

// A controller that does not trust the head removes nothing.
func TestCollectorDistrusts(t *testing.T) {
	e := startEtcd(t)
	c, _ := open(t, e, nil)
	for i := range 5 {
		change(t, c, fmt.Sprint("s", i))
	}
	c.Saw("ns-1", regions.Generation{Epoch: 9, Revision: 9}, "")
	v, err := c.Read(t.Context())
	must(t, err) // of another installation
	c.Saw("ns-2", regions.Generation{Epoch: 9, Revision: 9}, v.Head.GetInstallation())
	if got, err := collector(c, nil).Collect(t.Context()); !errors.Is(err, catalog.ErrLineage) || got.RemovedObjects != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Run collects until it is told to end, and its metrics say what it did.
func TestCollectorRuns(t *testing.T) {
	e := startEtcd(t)
	c, _ := open(t, e, nil)
	for i := range 5 {
		change(t, c, fmt.Sprint("s", i))
	}
	reg := prometheus.NewPedanticRegistry()
	col := catalog.NewCollector(catalog.CollectorOptions{
		Catalog: c, Name: "c1", Every: 200 * time.Millisecond, Log: slog.New(slog.DiscardHandler), Registerer: reg,
		Retention: store.Retention{Generations: 2, Events: 2, Refusals: 2, EventPeriod: time.Hour},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- col.Run(ctx) }()
	want := `
		# HELP fairlead_controller_collection_kept_generations Generations that are kept, as of the last collection.
		# TYPE fairlead_controller_collection_kept_generations gauge
		fairlead_controller_collection_kept_generations 2
		# HELP fairlead_controller_collection_removed_events_total Audit events removed by this controller.
		# TYPE fairlead_controller_collection_removed_events_total counter
		fairlead_controller_collection_removed_events_total 3
		# HELP fairlead_controller_collection_removed_objects_total Objects removed by this controller.
		# TYPE fairlead_controller_collection_removed_objects_total counter
		fairlead_controller_collection_removed_objects_total 6
	`
	for range 3000 {
		if testutil.GatherAndCompare(reg, strings.NewReader(want), "fairlead_controller_collection_kept_generations",
			"fairlead_controller_collection_removed_events_total", "fairlead_controller_collection_removed_objects_total") == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "fairlead_controller_collection_kept_generations",
		"fairlead_controller_collection_removed_events_total", "fairlead_controller_collection_removed_objects_total"); err != nil {
		t.Error(err)
	}
	cancel()
	must(t, <-ended)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}
