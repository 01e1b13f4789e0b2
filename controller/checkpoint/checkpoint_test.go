package checkpoint

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// judge stands for a controller's verdicts.
type judge struct {
	mu    sync.Mutex
	table *pb.HealthTable
	n     uint64
	seeds chan *pb.HealthTable
	ages  chan time.Duration
}

func (j *judge) set(t *pb.HealthTable) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.table, j.n = t, j.n+1
}

func start(t *testing.T, endpoints []string, name string) (j *judge, stop func()) {
	t.Helper()
	client, err := store.Dial(store.DialOptions{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.New(store.Options{Client: client, RequestTimeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	j = &judge{seeds: make(chan *pb.HealthTable, 8), ages: make(chan time.Duration, 8)}
	c := New(Options{
		Store: s, Name: name, Every: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Table: func(time.Time) (*pb.HealthTable, uint64) {
			j.mu.Lock()
			defer j.mu.Unlock()
			return j.table, j.n
		},
		Seed: func(h *pb.HealthTable, age time.Duration) { j.ages <- age; j.seeds <- h },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done; client.Close() })
	t.Cleanup(stop)
	return j, stop
}

func verdicts(target string) *pb.HealthTable {
	return &pb.HealthTable{Targets: []*pb.TargetHealth{{Target: target, Verdict: pb.HealthStatus_HEALTH_STATUS_UNHEALTHY}}}
}

// holds waits until a controller that starts is seeded with a table.
func holds(t *testing.T, endpoints []string, want *pb.HealthTable) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		j, stop := start(t, endpoints, "newcomer")
		var got *pb.HealthTable
		select {
		case got = <-j.seeds:
			if age := <-j.ages; age < 20*time.Millisecond {
				t.Fatalf("the checkpoint counts as %v old: want no less than the leader's interval", age)
			}
		case <-time.After(time.Second):
		}
		stop()
		if proto.Equal(got, want) {
			return
		}
	}
	t.Fatalf("no controller was seeded with %v", want)
}

func TestCheckpointIsKept(t *testing.T) {
	t.Parallel()
	srv, err := embedded.Start(t.Context(), embedded.Options{UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	one, stopOne := start(t, srv.Endpoints(), "one")
	one.set(verdicts("web@192.0.2.1"))
	holds(t, srv.Endpoints(), verdicts("web@192.0.2.1"))
	one.set(verdicts("web@192.0.2.2"))
	holds(t, srv.Endpoints(), verdicts("web@192.0.2.2"))

	two, _ := start(t, srv.Endpoints(), "two")
	two.set(verdicts("web@192.0.2.3"))
	stopOne()
	holds(t, srv.Endpoints(), verdicts("web@192.0.2.3"))
}
