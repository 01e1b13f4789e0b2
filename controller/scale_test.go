package controller_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fairlead-dns/fairlead/controller"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// fleet is a configuration of n services of three endpoints with two addresses
// each, a hundred to a zone, in three regions.
func fleet(t testing.TB, n int) []*pb.Resource {
	all := resources(t, `
apiVersion: fairlead/v1
kind: Region
metadata: {name: r0}
spec: {latitude: 50.1, longitude: 8.7}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: r1}
spec: {latitude: 39, longitude: -77.5}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: r2}
spec: {latitude: 1.35, longitude: 103.8}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {http: {}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active}
`)
	for z := range (n + 99) / 100 {
		all = append(all, &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{
			Metadata: &pb.Metadata{Name: zoneName(z)}, Spec: &pb.ZoneSpec{Nameservers: []string{"ns1.example.net", "ns2.example.net"}},
		}}})
	}
	for i := range n {
		all = append(all, fleetService(i, 0))
	}
	return all
}

func zoneName(z int) string { return fmt.Sprintf("z%d.example.test", z) }

// fleetService is the i-th service, in one of its versions.
func fleetService(i, version int) *pb.Resource {
	s := &pb.ServiceSpec{Zone: zoneName(i / 100), Policy: "nearest", HealthCheck: "web"}
	for e := range 3 {
		s.Endpoints = append(s.Endpoints, &pb.Endpoint{
			Name: fmt.Sprintf("e%d", e), Region: fmt.Sprintf("r%d", e), Weight: new(uint32(100 + version)),
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", e, i>>8&255, i&255), fmt.Sprintf("2001:db8:%d:1:%x::%x", e, i>>12, i&0xfff+1)},
		})
	}
	return &pb.Resource{Kind: &pb.Resource_Service{Service: &pb.Service{
		Metadata: &pb.Metadata{Name: fmt.Sprintf("s%d.%s", i, zoneName(i/100))}, Spec: s,
	}}}
}

// durable is a controller on an embedded etcd that syncs its disk, and a way to
// look into that.
type durable struct {
	pb.CatalogServiceClient
	pb.RegionServiceClient
	etcd  *clientv3.Client
	store *store.Store
	stop  func()
}

func startDurable(b *testing.B) *durable {
	b.Helper()
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	server, err := embedded.Start(context.Background(), embedded.Options{Dir: b.TempDir()})
	check(err)
	d := &durable{}
	d.etcd, err = store.Dial(store.DialOptions{Endpoints: server.Endpoints()})
	check(err)
	d.store, err = store.New(store.Options{Client: d.etcd, RequestTimeout: time.Minute})
	check(err)
	db, err := geo.Builtin()
	check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	c, err := controller.New(controller.Options{Name: "c1", Version: "bench", Store: d.store, Listener: l, Geo: db, Log: slog.New(slog.DiscardHandler)})
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(256<<20)))
	check(err)
	d.CatalogServiceClient, d.RegionServiceClient = pb.NewCatalogServiceClient(conn), pb.NewRegionServiceClient(conn)
	d.stop = func() {
		conn.Close()
		cancel()
		check(<-ended)
		d.etcd.Close()
		check(server.Close())
	}
	return d
}

// apply applies resources and waits until they are published.
func (d *durable) apply(b *testing.B, list []*pb.Resource) *pb.ApplyResponse {
	b.Helper()
	resp, err := d.Apply(context.Background(), &pb.ApplyRequest{Resources: list})
	if err != nil {
		b.Fatal(err)
	}
	for {
		got, err := d.GetResource(context.Background(), &pb.GetResourceRequest{Kind: "Region", Name: "r0"})
		if err == nil && gen(got.GetGeneration()).Compare(gen(resp.GetGeneration())) >= 0 {
			return resp
		}
		time.Sleep(time.Millisecond)
	}
}

// report adds what the store holds, and what the process does.
func (d *durable) report(b *testing.B) {
	b.Helper()
	total, used, err := d.store.Size(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	objects, err := d.etcd.Get(context.Background(), store.DefaultPrefix+"objects/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(total)/(1<<20), "MiB-etcd")
	b.ReportMetric(float64(used)/(1<<20), "MiB-etcd-used")
	b.ReportMetric(float64(objects.Count), "objects")
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-heap-after")
	b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-sys")
}

// A hundred thousand services in one request, through the API, on an embedded
// etcd in the same process, published at the end; then single changes.
func BenchmarkHundredThousandServices(b *testing.B) {
	const n = 100_000
	b.Run("ApplyAll", func(b *testing.B) {
		b.ReportAllocs()
		b.StopTimer()
		for range b.N {
			d := startDurable(b)
			all := fleet(b, n)
			b.StartTimer()
			d.apply(b, all)
			b.StopTimer()
			d.report(b)
			d.stop()
		}
	})
	d := startDurable(b)
	defer d.stop()
	all := fleet(b, n)
	first := d.apply(b, all)
	version := 0
	b.Run("ApplyAllAgain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if resp := d.apply(b, all); resp.GetUnchanged() != uint32(len(all)) {
				b.Fatal(resp.GetUnchanged())
			}
		}
	})
	b.Run("ChangeOne", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			version++
			if resp := d.apply(b, []*pb.Resource{fleetService(777, version)}); len(resp.GetChanges()) != 1 {
				b.Fatal(resp.GetChanges())
			}
		}
		d.report(b)
	})
	b.Run("DrainRegion", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.DrainRegion(context.Background(), &pb.DrainRegionRequest{Region: "r1", Reason: "bench"}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if _, err := d.UndrainRegion(context.Background(), &pb.UndrainRegionRequest{Region: "r1", Reason: "test"}); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("Rollback", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			version++
			d.apply(b, []*pb.Resource{fleetService(777, version)})
			b.StartTimer()
			resp, err := d.RollbackGeneration(context.Background(), &pb.RollbackGenerationRequest{Generation: first.GetGeneration(), Reason: "bench"})
			if err != nil || len(resp.GetChanges()) != 1 {
				b.Fatal(resp.GetChanges(), err)
			}
		}
	})
}
