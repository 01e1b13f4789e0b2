package breakglass

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/proto/snapshot"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// Bounds on what is kept.
const (
	MaxStanding = 100
	MaxEnded    = 100
)

// What is wrong with a request that was well made.
var (
	// ErrNotKept: the record cannot be kept on disk, so it has no effect.
	ErrNotKept = errors.New("the record cannot be kept on disk")
	// ErrTooMany: as many stand as may.
	ErrTooMany = fmt.Errorf("%d records stand, as many as may: end some of them", MaxStanding)
	// ErrTaken: the id is that of another record.
	ErrTaken = errors.New("the id is that of another record")
	// ErrUnknown: no record has the id.
	ErrUnknown = errors.New("no such record")
)

// Options is what the records need.
type Options struct {
	Dir        *snapshot.Dir // nil: none can be kept, so none can be made
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Changed is called after every change; it must not block.
	Changed func()
}

// Records are a nameserver's break-glass records. To read them waits for nothing.
type Records struct {
	opts  Options
	wake  chan struct{}
	state atomic.Pointer[state]
	// cited are the ends that the plan served has, to be noted by Run, with those
	// of former plans that it has not noted yet: what was ended once stays so,
	// whatever a later generation says, as after a restore.
	cited atomic.Pointer[map[string]string]

	// mu serialises changes, each with its write to disk. It guards what follows.
	mu      sync.Mutex
	savedAt time.Time
	unsaved bool // the disk holds something else
}

// state is all records at one moment. Immutable.
type state struct {
	version uint64
	records []record // sorted by id
	// standing are the overrides of those that stand, sorted by id.
	standing []regions.Override
	// damaged and unwritten say what is wrong with the disk; setAside, that a
	// damaged file lies there and is why.
	damaged, unwritten string
	setAside           bool
}

// record is one of them. Immutable.
type record struct {
	// pb has everything but the remainder.
	pb       *pb.BreakGlassRecord
	override regions.Override
	// refused is why it has no effect though it stands: a newer version made it.
	refused string
	// deadline counts by the monotonic clock.
	deadline time.Time
}

func (r *record) stands() bool { return r.pb.GetEnded() == "" }

const expired = "expired"

// ended returns the record as ended at a moment.
func (r record) ended(how string, at time.Time) record {
	r.pb = proto.CloneOf(r.pb)
	r.pb.Ended, r.pb.EndTime = strings.ToValidUTF8(how[:min(len(how), maxEnded)], ""), timestamppb.New(at)
	return r
}

// endedBefore orders records that have ended; those of older versions do not say
// when, and go by when they were made.
func (r *record) endedBefore(other *record) bool {
	at := func(r *record) time.Time {
		if r.pb.GetEndTime() != nil {
			return r.pb.GetEndTime().AsTime()
		}
		return r.pb.GetCreateTime().AsTime()
	}
	return at(r).Before(at(other))
}

// show is the record as it is at a moment.
func (r *record) show(now time.Time) *pb.BreakGlassRecord {
	out := proto.CloneOf(r.pb)
	switch left := r.deadline.Sub(now); {
	case !r.stands():
	case left <= 0: // and Run has not noted it yet
		out.Ended, out.EndTime = expired, timestamppb.New(now.Add(left))
	default:
		out.RemainingMillis = uint64(max(left.Milliseconds(), 1))
	}
	return out
}

// New returns the records without any; Load reads those on disk.
func New(o Options) *Records {
	r := &Records{opts: o, wake: make(chan struct{}, 1)}
	r.state.Store(&state{version: 1})
	if o.Registerer != nil {
		gauge := func(name, help string, value func(*state) float64) {
			o.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(r.state.Load()) }))
		}
		gauge("fairlead_authdns_break_glass_records", "Break-glass records that stand.", func(s *state) float64 {
			return float64(s.count(func(r *record) bool { return r.stands() }))
		})
		gauge("fairlead_authdns_break_glass_trouble", "1 while the break-glass records on disk are damaged, were set aside, or cannot be written.", func(s *state) float64 {
			if s.trouble() != "" {
				return 1
			}
			return 0
		})
	}
	return r
}

// Standing returns the overrides of the records that stand at a moment and that
// are not among the ends of a plan, or of one cited before, sorted by id. Not to be
// changed.
func (r *Records) Standing(now time.Time, ends map[string]string) []regions.Override {
	s, cited := r.state.Load(), r.ends()
	over := func(o regions.Override) bool {
		_, ended := ends[o.ID]
		_, before := cited[o.ID]
		return ended || before || !now.Before(o.Expires)
	}
	if !slices.ContainsFunc(s.standing, over) {
		return s.standing
	}
	return slices.DeleteFunc(slices.Clone(s.standing), over)
}

// Cite takes the ends of the plan that is served. It does not block; Run notes
// them. One goroutine calls it.
func (r *Records) Cite(ends map[string]string) {
	s := r.state.Load()
	all := maps.Clone(ends)
	for id, how := range r.ends() {
		if rec := s.find(id); rec == nil || !rec.stands() {
			continue
		}
		if all == nil {
			all = map[string]string{}
		}
		if _, again := all[id]; !again {
			all[id] = how
		}
	}
	r.cited.Store(&all)
	r.poke()
}

// ends are those that are cited.
func (r *Records) ends() map[string]string {
	if cited := r.cited.Load(); cited != nil {
		return *cited
	}
	return nil
}

// Table returns all records as of a moment, sorted by id, and a version that changes
// with them and is never 0.
func (r *Records) Table(now time.Time) (*pb.BreakGlassTable, uint64) {
	s := r.state.Load()
	t := &pb.BreakGlassTable{Trouble: s.trouble()}
	for i := range s.records {
		t.Records = append(t.Records, s.records[i].show(now))
	}
	return t, s.version
}

// Create makes a record that Check has found good, for a time from now. One that
// is there already is returned as it is. What stood for the same scope is replaced
// and returned.
func (r *Records) Create(rec *pb.BreakGlassRecord, expireAfter time.Duration, now time.Time) (made *pb.BreakGlassRecord, replaced []*pb.BreakGlassRecord, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state.Load()
	if old := s.find(rec.GetId()); old != nil {
		if old.pb.GetAction() != rec.GetAction() || !proto.Equal(old.pb.GetScope(), rec.GetScope()) {
			return nil, nil, fmt.Errorf("%w: %s of %s", ErrTaken, old.override.Action, old.override.Scope)
		}
		return old.show(now), nil, nil
	}
	if r.opts.Dir == nil {
		return nil, nil, fmt.Errorf("%w: this nameserver has no --snapshot-dir", ErrNotKept)
	}
	rec = proto.CloneOf(rec)
	rec.CreateTime, rec.RemainingMillis, rec.Ended, rec.EndTime = timestamppb.New(now), 0, "", nil
	next := s.next()
	for i := range next.records {
		if old := &next.records[i]; old.stands() && proto.Equal(old.pb.GetScope(), rec.GetScope()) {
			*old = old.ended("replaced by "+rec.GetId(), now)
			replaced = append(replaced, old.show(now))
		}
	}
	if next.count(func(r *record) bool { return r.stands() }) >= MaxStanding {
		return nil, nil, ErrTooMany
	}
	fresh, err := recordOf(rec, now.Add(expireAfter))
	if err != nil {
		return nil, nil, err
	}
	next.records = append(next.records, fresh)
	next.arrange()
	if err := r.write(next, now); err != nil {
		r.warn(err)
		return nil, nil, fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	r.adopt(next)
	return fresh.show(now), replaced, nil
}

// End ends a record. One that has ended already stays as it is. The end takes
// effect even where it cannot be written; Run goes on trying.
func (r *Records) End(id, how string, now time.Time) (*pb.BreakGlassRecord, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.state.Load().next()
	old := next.find(id)
	if old == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknown, id)
	}
	if shown := old.show(now); shown.GetEnded() != "" {
		return shown, nil
	}
	*old = old.ended(how, now)
	shown := old.show(now)
	r.change(next, now)
	return shown, nil
}

// Find returns a record as of a moment; nil without one.
func (r *Records) Find(id string, now time.Time) *pb.BreakGlassRecord {
	if rec := r.state.Load().find(id); rec != nil {
		return rec.show(now)
	}
	return nil
}

func recordOf(rec *pb.BreakGlassRecord, deadline time.Time) (record, error) {
	o, err := plan.BreakGlass(rec)
	o.Expires = deadline
	return record{pb: rec, override: o, deadline: deadline}, err
}

// next is a copy to be changed.
func (s *state) next() *state {
	n := *s
	n.records = slices.Clone(s.records)
	return &n
}

// arrange brings a changed state in order: sorted, with no more of the ended than
// are kept, the one that ended first going first.
func (s *state) arrange() {
	slices.SortFunc(s.records, func(a, b record) int { return strings.Compare(a.pb.GetId(), b.pb.GetId()) })
	for s.count(func(r *record) bool { return !r.stands() }) > MaxEnded {
		oldest := -1
		for i := range s.records {
			if r := &s.records[i]; !r.stands() && (oldest < 0 || r.endedBefore(&s.records[oldest])) {
				oldest = i
			}
		}
		s.records = slices.Delete(s.records, oldest, oldest+1)
	}
	s.standing = nil
	for i := range s.records {
		if r := &s.records[i]; r.stands() && r.refused == "" {
			s.standing = append(s.standing, r.override)
		}
	}
}

func (s *state) find(id string) *record {
	for i := range s.records {
		if s.records[i].pb.GetId() == id {
			return &s.records[i]
		}
	}
	return nil
}

func (s *state) count(holds func(*record) bool) (n int) {
	for i := range s.records {
		if holds(&s.records[i]) {
			n++
		}
	}
	return n
}

// trouble is all that is wrong, in one line; empty: nothing.
func (s *state) trouble() string {
	var all []string
	for _, t := range []string{s.damaged, s.unwritten} {
		if t != "" {
			all = append(all, t)
		}
	}
	for i := range s.records {
		if r := &s.records[i]; r.stands() && r.refused != "" {
			all = append(all, r.refused)
		}
	}
	return strings.Join(all, "; ")
}

// adopt makes a state the one that counts. mu is held.
func (r *Records) adopt(next *state) {
	next.version = r.state.Load().version + 1
	r.state.Store(next)
	r.poke()
	if r.opts.Changed != nil {
		r.opts.Changed()
	}
}

func (r *Records) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
