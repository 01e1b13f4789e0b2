package follow

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/proto/snapshot"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// disk writes beside the follower's loop, so that a slow or full disk delays
// no verdict. Only the newest of each kind waits to be written.
type disk struct {
	dir  *snapshot.Dir // nil: nothing is kept
	log  *slog.Logger
	wake chan struct{}

	mu      sync.Mutex
	pending *pb.Snapshot
	failed  *pb.Snapshot // could not be written; of run's goroutine
	table   *pb.HealthTable
}

func newDisk(dir *snapshot.Dir, log *slog.Logger) *disk {
	return &disk{dir: dir, log: log, wake: make(chan struct{}, 1)}
}

// generation hands over a generation to be written.
func (d *disk) generation(r fetched) {
	if d.dir == nil {
		return
	}
	s := &pb.Snapshot{Generation: r.update.GetGeneration(), Head: proto.CloneOf(r.update.GetHead()), SaveTime: timestamppb.Now()}
	for _, data := range r.tree.Objects {
		s.Objects = append(s.Objects, data)
	}
	d.mu.Lock()
	d.pending = s
	d.mu.Unlock()
	d.poke()
}

// verdicts hands over the verdict table to be written, as of a time: that is
// what its ages count from. The evidence is left out.
func (d *disk) verdicts(table map[string]health.Verdict, latches []regions.Latch, asOf time.Time) {
	if d.dir == nil {
		return
	}
	t := &pb.HealthTable{SaveTime: timestamppb.New(asOf), Latches: healthpb.Latches(latches, asOf)}
	for id, v := range table {
		if !v.IsZero() {
			v.Votes = nil
			t.Targets = append(t.Targets, healthpb.TargetHealth(id, v, asOf))
		}
	}
	d.mu.Lock()
	d.table = t
	d.mu.Unlock()
	d.poke()
}

func (d *disk) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// saveAgain is how long after a failure a generation is tried again: a disk that
// was full may have space now, and no newer generation need ever come.
const saveAgain = 10 * time.Second

// run writes what is handed over; what still waits when ctx ends is written
// before it returns.
func (d *disk) run(ctx context.Context) {
	again := time.NewTicker(saveAgain)
	defer again.Stop()
	for {
		select {
		case <-d.wake:
			d.flush()
		case <-again.C:
			d.takeBack()
			d.flush()
		case <-ctx.Done():
			d.takeBack()
			d.flush()
			return
		}
	}
}

// takeBack puts a generation that could not be written where it waits, unless
// a newer one does.
func (d *disk) takeBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending == nil {
		d.pending = d.failed
	}
}

func (d *disk) flush() {
	d.mu.Lock()
	s, t := d.pending, d.table
	d.pending, d.table = nil, nil
	d.mu.Unlock()
	if s != nil {
		err, last := d.dir.Save(s), d.failed
		d.failed = nil
		if err != nil {
			d.failed = s
			if s != last { // told once
				d.log.Error("generation not saved; a restart would serve an older one", "revision", s.GetGeneration().GetRevision(), "err", err)
			}
		} else if s == last {
			d.log.Info("generation saved after all", "revision", s.GetGeneration().GetRevision())
		}
	}
	if t != nil {
		if err := d.dir.SaveHealth(t); err != nil {
			d.log.Error("verdict table not saved", "err", err)
		}
	}
}
