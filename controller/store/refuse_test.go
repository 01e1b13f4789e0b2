package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

func refusal(reason string) *pb.AuditEvent {
	return &pb.AuditEvent{Actor: "bob", Action: "override-create", Reason: reason, Result: store.ResultRefused, Time: timestamppb.New(begun)}
}

func reasons(events []*pb.AuditEvent) string {
	var list []string
	for _, e := range events {
		list = append(list, strings.TrimPrefix(e.GetReason(), "because "))
	}
	return strings.Join(list, " ")
}

// Refusals lie between the changes; what asks for generations does not meet them.
func TestRefuse(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	if err := s.Refuse(t.Context(), refusal("early")); err == nil {
		t.Error("refused where there is nothing")
	}
	// Nor is a first head taken for one that follows a lost one.
	m := manifest(t, s, "m")
	a := mustSwap(t, s, swap(0, m, "a"))
	for _, r := range []string{"1", "2", "3"} {
		must(t, s.Refuse(t.Context(), refusal(r)))
	}
	manifest(t, s, "the revision of the store goes on")
	must(t, s.Refuse(t.Context(), refusal("4")))
	b := mustSwap(t, s, swap(a, m, "b"))
	must(t, s.Refuse(t.Context(), refusal("5")))
	d := mustSwap(t, s, swap(b, m, "d"))

	events := allEvents(t, s)
	if got := reasons(events); got != "d 5 b 4 3 2 1 a" {
		t.Errorf("events: %s", got)
	}
	for i, want := range []int64{d, b, b, a, a, a, a, a} {
		if e := events[i]; e.GetGeneration().GetRevision() != want || e.GetGeneration().GetEpoch() != 1 || (e.GetHead() == nil) != (e.GetResult() == store.ResultRefused) {
			t.Errorf("event %d is of %v, want revision %d: %v", i, e.GetGeneration(), want, e)
		}
	}
	for rev, want := range map[int64]string{a: "because a", b: "because b", d: "because d", a + 1: "", d + 1: ""} {
		e, err := s.Event(t.Context(), regions.Generation{Epoch: 1, Revision: rev})
		if err != nil || e.GetReason() != want {
			t.Errorf("event of %d: %v, %v", rev, e, err)
		}
	}
	if n := count(t, c, "requests/") + count(t, c, "attempts/"); n != 3 {
		t.Errorf("%d records of three changes", n)
	}

	for what, e := range map[string]*pb.AuditEvent{
		"another result": {Result: store.ResultDone}, "no result": {}, "too large": {Result: store.ResultRefused, Reason: strings.Repeat("x", store.MaxEventSize)},
	} {
		if err := s.Refuse(t.Context(), e); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

// An answer that is lost does not make it two, nor does a copy that comes late.
func TestRefuseAnswerLost(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	plain := dial(t, store.DialOptions{Endpoints: server.Endpoints()})
	s := open(t, store.Options{Client: plain})
	mustSwap(t, s, swap(0, manifest(t, s, "m"), "a"))
	n := 0
	var late *etcdserverpb.TxnRequest
	c := faulty(t, server.Endpoints(), func(_ context.Context, txn *etcdserverpb.TxnRequest, send func() error) error {
		if n++; n%2 == 1 {
			late = txn
			send()
			return errLost
		}
		return send()
	})
	f := open(t, store.Options{Client: c})
	for i := range 3 {
		must(t, f.Refuse(t.Context(), refusal(fmt.Sprint(i))))
	}
	if _, err := etcdserverpb.NewKVClient(plain.ActiveConnection()).Txn(t.Context(), late); err != nil {
		t.Error(err)
	}
	if got := reasons(allEvents(t, s)); got != "2 1 0 a" {
		t.Errorf("events: %s", got)
	}
}

// Several change, several are refused, and several follow: every follower reads
// every event once, and in one order.
func TestTail(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	m := manifest(t, s, "m")
	mustSwap(t, s, swap(0, m, "first"))
	const writers, each = 3, 25
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	read := make([][]string, 3)
	for i := range read {
		tail, err := s.Tail(t.Context(), "")
		must(t, err)
		reading.Go(func() {
			for last := false; ; {
				events, err := tail.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range events {
					read[i] = append(read[i], e.GetReason())
				}
				if i == 1 { // one that loses its stream all the time
					if tail, err = s.Tail(t.Context(), tail.Position()); err != nil {
						t.Error(err)
						return
					}
				}
				if last && len(events) == 0 {
					return
				}
				select {
				case <-done:
					last = true
				default:
				}
			}
		})
	}
	for i := range writers {
		writing.Go(func() {
			for j := 0; j < each; {
				h, err := s.Head(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				w := swap(h.Revision, m, fmt.Sprintf("c%d-%d", i, j))
				switch _, err := s.Swap(t.Context(), w); {
				case err == nil:
					j++
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
		writing.Go(func() {
			for j := range each {
				if err := s.Refuse(t.Context(), refusal(fmt.Sprintf("r%d-%d", i, j))); err != nil {
					t.Error(err)
					return
				}
				if _, err := c.Compact(t.Context(), mustHead(t, s).Revision); err != nil && j == 0 {
					t.Log(err) // somebody else was faster
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	var want []string
	for _, e := range slices.Backward(allEvents(t, s)) {
		want = append(want, e.GetReason())
	}
	if len(want) != 1+2*writers*each {
		t.Errorf("%d events", len(want))
	}
	for i := range read {
		if !slices.Equal(read[i], want[1:]) {
			t.Errorf("follower %d read %d of %d:\n%v\n%v", i, len(read[i]), len(want)-1, read[i], want[1:])
		}
	}
}

func TestTailPositions(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	all := func(t *testing.T, tail *store.Tail) (list []string) {
		for {
			events, err := tail.Next(t.Context())
			must(t, err)
			if len(events) == 0 {
				return list
			}
			for _, e := range events {
				list = append(list, strings.TrimPrefix(e.GetReason(), "because "))
			}
		}
	}
	empty, err := s.Tail(t.Context(), "")
	must(t, err)
	if empty.Position() != store.FirstPosition {
		t.Errorf("position in an empty store: %q", empty.Position())
	}
	m := manifest(t, s, "m")
	var rev int64
	var want []string
	for i := range 120 {
		w := swap(rev, m, fmt.Sprint(i))
		w.Event.Time = timestamppb.New(begun.Add(time.Duration(i) * time.Minute))
		rev = mustSwap(t, s, w)
		want = append(want, fmt.Sprint(i))
	}
	if got := all(t, empty); !slices.Equal(got, want) {
		t.Errorf("read %v", got)
	}
	first, err := s.Tail(t.Context(), store.FirstPosition)
	must(t, err)
	events, err := first.Next(t.Context())
	must(t, err)
	if again, err := s.Tail(t.Context(), events[9].Position); err != nil || !slices.Equal(all(t, again), want[10:]) {
		t.Errorf("after the tenth: %v", err)
	}
	for _, after := range []string{"x", "../head", "zz/zz", "00/\u00fc", "00/00-~"} {
		if _, err := s.Tail(t.Context(), after); !errors.Is(err, store.ErrPosition) {
			t.Errorf("position %q: %v", after, err)
		}
	}

	// The first tail knows of events that are removed now.
	o := collecting(begun)
	o.Generations, o.Retention.Events = 1, 5
	_, err = s.Collect(t.Context(), func() store.CollectOptions {
		o.References = func([]byte) ([]store.Reference, error) { return nil, nil }
		return o
	}())
	must(t, err)
	if _, err := first.Next(t.Context()); !errors.Is(err, store.ErrTrimmed) {
		t.Errorf("events that were removed: %v", err)
	}
	if _, err := s.Tail(t.Context(), events[9].Position); !errors.Is(err, store.ErrTrimmed) {
		t.Errorf("a position that was removed: %v", err)
	}
	if tail, err := s.Tail(t.Context(), store.FirstPosition); err != nil || !slices.Equal(all(t, tail), want[115:]) {
		t.Errorf("from the first that is kept: %v", err)
	}
}

// A filter changes what is on the pages, and not what they are: no page takes
// more than so much work, and all of them together hold what matches.
func TestFindEvents(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	m := manifest(t, s, "m")
	mustSwap(t, s, swap(0, m, "0"))
	const n = 2300
	for i := 0; i < n; { // cheaply
		var ops []clientv3.Op
		for ; i < n && len(ops) < 100; i++ {
			e, err := proto.Marshal(&pb.AuditEvent{Time: &timestamppb.Timestamp{}, Action: "apply", Reason: fmt.Sprintf("%04d", i)})
			must(t, err)
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("%saudit/fffffffffffffffe/%016x-%032x", store.DefaultPrefix, 1<<62-i, i), string(e)))
		}
		_, err := c.Txn(t.Context()).Then(ops...).Commit()
		must(t, err)
	}
	find := func(q store.EventQuery) (found, pages, most int) {
		for {
			events, next, err := s.FindEvents(t.Context(), q)
			must(t, err)
			pages++
			found, most = found+len(events), max(most, len(events))
			if q.Page = next; next == "" {
				return found, pages, most
			}
		}
	}
	if found, pages, most := find(store.EventQuery{Limit: 10, Match: func(e *pb.AuditEvent) bool { return strings.HasSuffix(e.GetReason(), "00") }}); found != 23 || most != 10 || pages != 3 {
		t.Errorf("every hundredth: %d on %d pages of at most %d", found, pages, most)
	}
	if found, pages, _ := find(store.EventQuery{Match: func(e *pb.AuditEvent) bool { return false }}); found != 0 || pages != 2 {
		t.Errorf("none: %d on %d pages", found, pages)
	}
	// Once enough of them are too old, none is looked at any more.
	looked := 0
	if found, pages, _ := find(store.EventQuery{Since: begun, Match: func(*pb.AuditEvent) bool { looked++; return false }}); found != 0 || pages != 1 || looked > 100 {
		t.Errorf("of too old ones %d were looked at, on %d pages", looked, pages)
	}
}

// Refusals are bounded by themselves, and push out no change.
func TestTrimRefusals(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	for _, p := range []string{"a", "b", "c", "d"} {
		commit(t, s, begun, p)
		for i := range 50 {
			must(t, s.Refuse(t.Context(), refusal(fmt.Sprint(p, i))))
		}
	}
	o := collecting(begun)
	o.Retention.Events, o.Refusals = 3, 60
	got, err := s.Collect(t.Context(), o)
	must(t, err)
	if got.RemovedEvents != 141 || got.Generations != 2 {
		t.Errorf("%+v", got)
	}
	var changes, refusals []*pb.AuditEvent
	for _, e := range allEvents(t, s) {
		if e.GetResult() == store.ResultRefused {
			refusals = append(refusals, e)
		} else {
			changes = append(changes, e)
		}
	}
	if len(changes) != 3 || len(refusals) != 60 || refusals[0].GetReason() != "d49" || refusals[59].GetReason() != "c40" {
		t.Errorf("%d changes and %d refusals are left, %s", len(changes), len(refusals), reasons(refusals))
	}
	// By age, with the generations that are not kept; the next one is told from those.
	o.EventPeriod, o.Now = time.Hour, begun.Add(2*time.Hour)
	if _, err := s.Collect(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	must(t, s.Refuse(t.Context(), refusal("next")))
	if events := allEvents(t, s); len(events) != 63 || events[0].GetReason() != "next" {
		t.Errorf("%d events, the newest %v", len(events), events[0])
	}
}
