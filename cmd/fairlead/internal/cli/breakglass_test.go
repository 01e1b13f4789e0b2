package cli

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// glass is a nameserver as far as this tool talks to it.
type glass struct {
	pb.UnimplementedBreakGlassServiceServer
	name, region string
	refuse       error

	mu      sync.Mutex
	records []*pb.BreakGlassRecord
}

func (g *glass) CreateBreakGlass(_ context.Context, r *pb.CreateBreakGlassRequest) (*pb.CreateBreakGlassResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return nil, g.refuse
	}
	record := r.GetRecord()
	record.Actor, record.RemainingMillis = "operator/alice", uint64(r.GetExpireAfter().AsDuration().Milliseconds())
	resp := &pb.CreateBreakGlassResponse{Record: record, Generation: gen(42)}
	for _, old := range g.records {
		if old.GetEnded() == "" && scopeText(old.GetScope()) == scopeText(record.GetScope()) {
			old.Ended, old.RemainingMillis = "replaced by "+record.GetId(), 0
			resp.Replaced = append(resp.Replaced, old)
		}
	}
	g.records = append(g.records, record)
	return resp, nil
}

func (g *glass) ListBreakGlass(context.Context, *pb.ListBreakGlassRequest) (*pb.ListBreakGlassResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &pb.ListBreakGlassResponse{Nameserver: g.name, Region: g.region, Generation: gen(42), Records: g.records, HealthAgeMillis: 120, HealthState: fresh}, nil
}

func (g *glass) EndBreakGlassRecord(_ context.Context, r *pb.EndBreakGlassRecordRequest) (*pb.EndBreakGlassRecordResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.records, func(b *pb.BreakGlassRecord) bool { return b.GetId() == r.GetId() })
	if i < 0 {
		return nil, status.Errorf(codes.NotFound, "no break-glass record %s", r.GetId())
	}
	g.records[i].Ended, g.records[i].RemainingMillis = "ended by alice: "+r.GetReason(), 0
	return &pb.EndBreakGlassRecordResponse{Record: g.records[i]}, nil
}

// serveGlass serves a nameserver on loopback and returns its address.
func serveGlass(t *testing.T, g *glass, opts ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(opts...)
	pb.RegisterBreakGlassServiceServer(s, g)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func nameserverResource(name, region, addr string) *pb.Resource {
	return &pb.Resource{Kind: &pb.Resource_Nameserver{Nameserver: &pb.Nameserver{
		Metadata: &pb.Metadata{Name: name}, Spec: &pb.NameserverSpec{Region: region, Grpc: addr, Dns: "192.0.2.53:53"},
	}}}
}

// disaster is an installation whose controller was asked once and is gone.
type disaster struct {
	controller string
	alice      holder
	ns         [2]*glass
	stop       func()
}

// newDisaster has two nameservers that can be reached, and one that cannot.
func newDisaster(t *testing.T) *disaster {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	now := time.Now()
	ca := newCA(t, "fairlead")
	d := &disaster{alice: issue(t, ca, "operator/alice", now)}
	var resources []*pb.Resource
	for i, name := range []string{"ns-1", "ns-2"} {
		region := []string{"eu-west", "us-east"}[i]
		d.ns[i] = &glass{name: name, region: region}
		addr := serveGlass(t, d.ns[i], issue(t, ca, "nameserver/"+region+"/"+name, now).server(t, now))
		resources = append(resources, nameserverResource(name, region, addr))
	}
	resources = append(resources, nameserverResource("ns-3", "us-west", deadAddress(t)))
	f := &fake{status: well, list: func(r *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
		return &pb.ListResourcesResponse{Resources: resources, Generation: gen(42)}, nil
	}}
	d.controller, d.stop = serveUntil(t, f, issue(t, ca, "controller/c1", now).server(t, now))
	d.run(t, "status").want(t, exitDone)
	return d
}

func (d *disaster) run(t *testing.T, args ...string) result {
	t.Helper()
	return run(t, "", d.alice.flags(append(args, "--controller", d.controller)...)...)
}

var breakDrain = []string{"region", "drain", "eu-west", "--break-glass", "--expire-after", "1h", "--reason", "fire", "--author", "alice"}

func TestBreakGlass(t *testing.T) {
	d := newDisaster(t)
	// While a controller can write, that is the better way.
	d.run(t, breakDrain...).want(t, exitFailed, "controller alive ("+d.controller+") answers and can write", "do it without --break-glass")
	d.stop()

	r := d.run(t, "region", "drain", "eu-west", "--reason", "it's fire")
	r.want(t, exitFailed, "does not answer", "if it cannot wait, tell the nameservers themselves:\n  fairlead region drain eu-west --break-glass --expire-after 1h --reason 'it'\\''s fire' ")

	r = d.run(t, breakDrain...)
	r.want(t, exitNotConverged, "region eu-west is drained at 2 of 3 nameservers, for 1h; it ends by itself, or with: fairlead override end bg-",
		"ns-3 was not reached, and answers as before")
	r.matches(t, `ns-1 +eu-west +127\.0\.0\.1:\d+ +done +1\.42`, `ns-3 +us-west +127\.0\.0\.1:\d+ +not reached +connection refused`)
	if a, b := d.ns[0].records, d.ns[1].records; len(a) != 1 || len(b) != 1 || a[0].GetId() != b[0].GetId() || !strings.HasPrefix(a[0].GetId(), "bg-") ||
		a[0].GetScope().GetRegion() != "eu-west" || a[0].GetAuthor() != "alice" || a[0].GetReason() != "fire" || a[0].GetAction() != pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN {
		t.Errorf("%v and %v: want the same record", a, b)
	}
	first := d.ns[0].records[0].GetId()

	// Repeated, the new one replaces it; -o json has all of it.
	r = d.run(t, append(breakDrain, "-o", "json")...)
	r.want(t, exitNotConverged, `"result": "not-reached"`, `"replaced"`, first)
	var doc struct {
		ID          string
		Nameservers []struct{ Nameserver, Result, Error string }
	}
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || len(doc.Nameservers) != 3 || doc.Nameservers[1].Result != "done" || doc.Nameservers[2].Error != "connection refused" {
		t.Errorf("%v: %+v", err, doc)
	}

	// Everybody who asks the nameservers sees it.
	r = d.run(t, "override", "list", "--break-glass")
	r.want(t, exitNotConverged, "not known: what ns-3 holds", doc.ID)
	r.matches(t, `ns-1 +eu-west +\S+ +answers +1\.42 +120ms old +0 +1\n`, `bg-\S+ +drain +region eu-west +alice +in 1h +ns-1,ns-2 +fire`)
	if strings.Contains(r.out, first) {
		t.Errorf("one that has ended is listed without -o wide:\n%s", r.out)
	}
	d.run(t, "override", "list", "--break-glass", "-o", "wide").want(t, exitNotConverged, "replaced by "+doc.ID)
	d.run(t, "override", "list", "--break-glass", "-o", "name").want(t, exitNotConverged, "overrides/"+doc.ID+"\n")
	r = d.run(t, "status")
	r.want(t, exitFailed, "no controller answers; this is what the nameservers say of themselves:", doc.ID, "fairlead: "+d.controller)
	d.run(t, "override", "list").want(t, exitFailed, "the nameservers themselves say more: fairlead override list --break-glass")

	// And it ends.
	d.run(t, "override", "end", "overrides/"+doc.ID, "--reason", "out", "--break-glass").want(t, exitNotConverged, "break-glass record "+doc.ID+" has ended at 2 of 3 nameservers", "drain of region eu-west by alice (fire)")
	d.run(t, "override", "end", "bg-nothing", "--reason", "out", "--break-glass").want(t, exitFailed, "was not ended: no nameserver did it: ns-1 refused: no break-glass record bg-nothing")

	// Those that are named are told, and no others.
	kept := d.kept(t)
	named := strings.Join([]string{kept[0].GRPC, kept[1].GRPC}, ",")
	d.run(t, "region", "undrain", "us-east", "--break-glass", "--expire-after", "1m", "--reason", "back", "--nameservers", named).
		want(t, exitDone, "region us-east is no longer drained at 2 of 2 nameservers, for 1m")
	d.run(t, "endpoint", "force-down", "www.example.test/eu-1", "--break-glass", "--expire-after", "1m", "--reason", "x", "--nameservers", named, "-o", "name").want(t, exitDone, "overrides/bg-")
	if r := d.ns[1].records; r[len(r)-1].GetAction() != pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_DOWN || r[len(r)-1].GetScope().GetEndpoint() != "eu-1" {
		t.Errorf("%v", r)
	}

	// One refuses; then all.
	d.ns[1].refuse = status.Error(codes.PermissionDenied, "operator/alice is not allowed region eu-west")
	d.run(t, append(breakDrain, "--nameservers", named)...).want(t, exitNotConverged, "drained at 1 of 2 nameservers", "refused", "not allowed: operator/alice is not", "ns-2 refused, and answers as before")
	d.ns[0].refuse = d.ns[1].refuse
	d.run(t, breakDrain...).want(t, exitFailed, "region eu-west is not drained: no nameserver did it: ns-1 refused: not allowed: operator/alice")
}

// kept is the list as it lies on disk, readable by its owner only.
func (d *disaster) kept(t *testing.T) []nameserver {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "fairlead", "nameservers", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v: want one file", files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var list nameserverList
	if err := json.Unmarshal(data, &list); err != nil || len(list.Nameservers) != 3 || list.Learnt.IsZero() {
		t.Fatalf("%v: %s", err, data)
	}
	return list.Nameservers
}

// A nameserver is who its certificate says, and the list tells who it must be.
func TestBreakGlassImpostor(t *testing.T) {
	d := newDisaster(t)
	d.stop()
	now := time.Now()
	other := newDisaster(t) // of another CA
	other.stop()
	foreign := other.kept(t)[0].GRPC
	d.run(t, append(breakDrain, "--nameservers", foreign)...).want(t, exitFailed, foreign+" not reached", "certificate signed by unknown authority")

	ca := newCA(t, "fairlead")
	alice := issue(t, ca, "operator/alice", now)
	g := &glass{name: "ns-1", region: "eu-west"}
	addr := serveGlass(t, g, issue(t, ca, "nameserver/us-east/ns-9", now).server(t, now))
	controller, stop := serveUntil(t, &fake{status: well, list: func(*pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
		return &pb.ListResourcesResponse{Resources: []*pb.Resource{nameserverResource("ns-1", "eu-west", addr)}, Generation: gen(42)}, nil
	}}, issue(t, ca, "controller/c1", now).server(t, now))
	run(t, "", alice.flags("status", "--controller", controller)...).want(t, exitDone)
	stop()
	run(t, "", alice.flags(append(breakDrain, "--controller", controller)...)...).want(t, exitFailed, "it is nameserver ns-9 of region us-east: want nameserver ns-1 of region eu-west")
	if len(g.records) > 0 {
		t.Error("it was told all the same")
	}
	// By its address alone it is taken for whom its certificate names.
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	run(t, "", alice.flags(append(breakDrain, "--controller", controller, "--nameservers", addr)...)...).want(t, exitDone, "ns-9", "us-east", "drained at 1 of 1")
}

func TestNoNameservers(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dead := deadAddress(t)
	run(t, "", append(breakDrain, "--controller", dead)...).want(t, exitFailed, "no list of nameservers is kept for the controllers "+dead+": name them, as --nameservers 192.0.2.53:7444")
	run(t, "", "status", "--direct", "--controller", dead).want(t, exitFailed, "no list of nameservers is kept")
	r := run(t, "", "status", "--controller", dead)
	r.want(t, exitFailed, "does not answer")
	if strings.Contains(r.err, "nameservers") {
		t.Errorf("nameservers that nobody knows: %s", r.err)
	}
	run(t, "", append(breakDrain, "--controller", dead, "--nameservers", "192.0.2.1:7444")...).want(t, exitUsage, "--nameservers 192.0.2.1:7444: plain text is for loopback only")
}

// A list that is damaged or of nothing is not taken, and an empty answer leaves
// the one that is kept.
func TestKeptNameservers(t *testing.T) {
	d := newDisaster(t)
	before := d.kept(t)
	d.stop()
	path, err := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "fairlead", "nameservers", "*"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path[0], "{")
	d.run(t, breakDrain...).want(t, exitFailed, "no list of nameservers is kept")
	old, err := json.Marshal(nameserverList{Learnt: time.Now().Add(-50 * time.Hour), Nameservers: append(before, nameserver{Name: "ns-4"})})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path[0], string(old))
	d.run(t, breakDrain...).want(t, exitNotConverged, "the list of nameservers is 2d2h old", "its resource has no spec.grpc", "ns-3, ns-4 were not reached, and answer as before")
}
