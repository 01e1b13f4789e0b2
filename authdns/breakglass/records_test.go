package breakglass

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/proto/snapshot"
	"github.com/fairlead-dns/fairlead/regions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is any moment with a monotonic reading, as time.Now has.
var start = time.Now()

func open(t testing.TB, path string) *Records {
	t.Helper()
	return openWith(t, path, start, Options{Log: slog.New(slog.DiscardHandler)})
}

func openWith(t testing.TB, path string, now time.Time, o Options) *Records {
	t.Helper()
	var err error
	if o.Dir, err = snapshot.Open(path); err != nil {
		t.Fatal(err)
	}
	r := New(o)
	r.Load(now)
	return r
}

func drain(id, region string) *pb.BreakGlassRecord {
	return &pb.BreakGlassRecord{
		Id: id, Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: region},
		Author: "alice", Reason: "flood", Actor: "operator/alice",
	}
}

func create(t testing.TB, r *Records, rec *pb.BreakGlassRecord, after time.Duration, now time.Time) {
	t.Helper()
	if _, _, err := r.Create(rec, after, now); err != nil {
		t.Fatal(err)
	}
}

// text prints the records as of a moment.
func text(r *Records, now time.Time) string {
	var lines []string
	t, _ := r.Table(now)
	for _, rec := range t.GetRecords() {
		how := rec.GetEnded()
		if how == "" {
			how = (time.Duration(rec.GetRemainingMillis()) * time.Millisecond).String()
		}
		lines = append(lines, rec.GetId()+" "+rec.GetScope().GetRegion()+" "+how)
	}
	return strings.Join(lines, "\n")
}

func standing(list []regions.Override) string {
	var ids []string
	for _, o := range list {
		ids = append(ids, o.ID)
	}
	return strings.Join(ids, " ")
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

func TestLife(t *testing.T) {
	path := t.TempDir()
	changes := 0
	r := openWith(t, path, start, Options{Log: slog.New(slog.DiscardHandler), Changed: func() { changes++ }})
	changes = 0
	create(t, r, drain("bg-1", "eu-west"), time.Hour, start)
	create(t, r, drain("bg-2", "us-east"), time.Minute, start)
	if changes != 2 {
		t.Errorf("%d changes", changes)
	}
	want(t, "made", text(r, start), "bg-1 eu-west 1h0m0s\nbg-2 us-east 1m0s")
	o := r.Standing(start, nil)[0]
	if o.Action != regions.Drain || o.Origin != regions.BreakGlass || o.Scope.Region != "eu-west" || o.Author != "alice" || !o.Expires.Equal(start.Add(time.Hour)) {
		t.Errorf("%+v", o)
	}
	// Once more: nothing happens. With something else in it: it is refused.
	again, replaced, err := r.Create(drain("bg-1", "eu-west"), time.Minute, start.Add(time.Second))
	if err != nil || replaced != nil || again.GetRemainingMillis() != 3599_000 || changes != 2 {
		t.Errorf("%v %v %v", again, replaced, err)
	}
	if _, _, err := r.Create(drain("bg-1", "us-east"), time.Minute, start); !errors.Is(err, ErrTaken) {
		t.Errorf("an id twice: %v", err)
	}
	// The same scope: the newest counts, whatever it does.
	up := drain("bg-3", "eu-west")
	up.Action = pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN
	if _, replaced, err = r.Create(up, time.Hour, start); err != nil || len(replaced) != 1 || replaced[0].GetEnded() != "replaced by bg-3" {
		t.Errorf("%v %v", replaced, err)
	}
	want(t, "standing", standing(r.Standing(start, nil)), "bg-2 bg-3")
	// By the plan, at once; Run notes it.
	ends := map[string]string{"bg-2": "by carol: etcd is back"}
	want(t, "without what the plan ends", standing(r.Standing(start, ends)), "bg-3")
	r.Cite(ends)
	r.step(start)
	// By a request; a second one changes nothing.
	for _, how := range []string{"by bob: over", "by carol: over"} {
		if rec, err := r.End("bg-3", how, start); err != nil || rec.GetEnded() != "by bob: over" || rec.GetRemainingMillis() != 0 {
			t.Errorf("%v %v", rec, err)
		}
	}
	if _, err := r.End("bg-9", "", start); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	all := "bg-1 eu-west replaced by bg-3\nbg-2 us-east ended by the control plane, by carol: etcd is back\nbg-3 eu-west by bob: over"
	want(t, "in the end", text(r, start), all)
	want(t, "after a restart", text(open(t, path), start), all)
	if rec, _, err := r.Create(drain("bg-2", "us-east"), time.Hour, start); err != nil || rec.GetEnded() == "" {
		t.Errorf("one that has ended stands again: %v, %v", rec, err)
	}
}

// A record expires by the time that the process runs, to the moment, and a restart
// goes on from what was last written.
func TestExpiry(t *testing.T) {
	path := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var changed atomic.Int64
		r := openWith(t, path, begin, Options{Log: slog.New(slog.DiscardHandler), Changed: func() { changed.Add(1) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		create(t, r, drain("bg-1", "eu-west"), 8*time.Second, begin)
		create(t, r, drain("bg-2", "us-east"), time.Minute, begin)
		before := changed.Load()
		time.Sleep(8*time.Second - time.Millisecond)
		synctest.Wait()
		want(t, "just before", standing(r.Standing(time.Now(), nil)), "bg-1 bg-2")
		// Killed now, it would come back with what it had 3 s ago.
		quiet := Options{Log: slog.New(slog.DiscardHandler)}
		killed := openWith(t, path, time.Now(), quiet)
		want(t, "on disk", text(killed, time.Now()), "bg-1 eu-west 3s\nbg-2 us-east 55s")
		time.Sleep(time.Millisecond)
		want(t, "expired, noted or not", standing(r.Standing(time.Now(), nil)), "bg-2")
		synctest.Wait()
		want(t, "noted", text(r, time.Now()), "bg-1 eu-west expired\nbg-2 us-east 52s")
		if changed.Load() == before {
			t.Error("nobody was told")
		}
		// Stopped in good order, nothing is lost; while it is down no time runs.
		time.Sleep(1500 * time.Millisecond)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		again := openWith(t, path, time.Now(), quiet)
		want(t, "after a restart", text(again, time.Now()), "bg-1 eu-west expired\nbg-2 us-east 50.5s")
	})
}

// TestModel holds the records against the simplest thing that could do the same.
func TestModel(t *testing.T) {
	root := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(root, fmt.Sprint(n))
		r := open(t, path)
		type entry struct {
			scope    string
			deadline time.Time
			ended    bool
		}
		model := map[string]*entry{}
		now := start
		for i := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			id := fmt.Sprintf("bg-%d", rapid.IntRange(0, 9).Draw(rt, "id"))
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0, 1:
				region := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "region")
				after := time.Duration(rapid.IntRange(1, 60).Draw(rt, "seconds")) * time.Second
				_, _, err := r.Create(drain(id, region), after, now)
				old := model[id]
				if (err != nil) != (old != nil && old.scope != region) {
					rt.Fatalf("%d: %v", i, err)
				}
				if old == nil {
					for _, e := range model {
						e.ended = e.ended || e.scope == region
					}
					model[id] = &entry{scope: region, deadline: now.Add(after)}
				}
			case 2:
				_, err := r.End(id, "by bob", now)
				if (err == nil) != (model[id] != nil) {
					rt.Fatalf("%d: %v", i, err)
				}
				if model[id] != nil {
					model[id].ended = true
				}
			case 3:
				now = now.Add(time.Duration(rapid.IntRange(0, 30).Draw(rt, "pass")) * time.Second)
				r.step(now)
			case 4: // stopped and started
				r.keep(now, 0)
				r = New(r.opts)
				r.Load(now)
			}
			for _, e := range model {
				e.ended = e.ended || !now.Before(e.deadline)
			}
			got := map[string]bool{}
			for _, o := range r.Standing(now, nil) {
				got[o.ID] = true
			}
			table, _ := r.Table(now)
			if len(table.GetRecords()) != len(model) {
				rt.Fatalf("%d: %d records, want %d", i, len(table.GetRecords()), len(model))
			}
			for id, e := range model {
				if got[id] == e.ended || (r.Find(id, now).GetEnded() != "") != e.ended {
					rt.Fatalf("%d: %s %+v, got %v, %v", i, id, e, got, r.Find(id, now))
				}
			}
		}
	})
}

func TestBounds(t *testing.T) {
	path := t.TempDir()
	r := open(t, path)
	for i := range MaxStanding {
		create(t, r, drain(fmt.Sprintf("bg-%03d", i), fmt.Sprint("r", i)), time.Hour, start.Add(time.Duration(i)))
	}
	if _, _, err := r.Create(drain("bg-more", "more"), time.Hour, start); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	// One in the place of another is not more.
	create(t, r, drain("bg-instead", "r0"), time.Hour, start.Add(time.Minute))
	for i := 1; i < MaxStanding; i++ {
		create(t, r, drain(fmt.Sprintf("bg-x%03d", i), fmt.Sprint("r", i)), time.Hour, start.Add(time.Minute))
	}
	// 100 stand and 100 have ended; of these the oldest goes.
	create(t, r, drain("bg-last", "r1"), time.Hour, start.Add(time.Minute))
	table, _ := r.Table(start)
	if len(table.GetRecords()) != MaxStanding+MaxEnded || r.Find("bg-000", start) != nil || r.Find("bg-001", start) == nil {
		t.Errorf("%d records", len(table.GetRecords()))
	}
	if got := text(open(t, path), start); got != text(r, start.Add(time.Minute)) {
		t.Errorf("after a restart\n%s", got)
	}
}

// Whatever is cut off the file, the nameserver starts and says what happened, in
// the table and the metric, until a person has looked at the file.
func TestEveryCut(t *testing.T) {
	path := t.TempDir()
	r := open(t, path)
	create(t, r, drain("bg-1", "eu-west"), time.Hour, start)
	file := filepath.Join(path, "breakglass.table")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		path := filepath.Join(t.TempDir(), "s")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "breakglass.table"), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		for _, when := range []string{"the first time", "at the next start"} {
			reg := prometheus.NewPedanticRegistry()
			r := openWith(t, path, start, Options{Log: slog.New(slog.DiscardHandler), Registerer: reg})
			table, _ := r.Table(start)
			if len(table.GetRecords()) != 0 || len(r.Standing(start, nil)) != 0 || !strings.Contains(table.GetTrouble(), "set aside as "+path) {
				t.Fatalf("cut at %d, %s: %v", n, when, table)
			}
			if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP fairlead_authdns_break_glass_trouble 1 while the break-glass records on disk are damaged, were set aside, or cannot be written.
# TYPE fairlead_authdns_break_glass_trouble gauge
fairlead_authdns_break_glass_trouble 1
`), "fairlead_authdns_break_glass_trouble"); err != nil {
				t.Fatal(err)
			}
		}
		aside, err := filepath.Glob(filepath.Join(path, "*.damaged-*"))
		if err != nil || len(aside) != 1 {
			t.Fatalf("cut at %d: set aside %v, %v", n, aside, err)
		}
		if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != string(whole[:n]) {
			t.Fatalf("cut at %d: %d bytes kept, %v", n, len(kept), err)
		}
		// The lever works again, and the trouble ends with the file.
		r = open(t, path)
		create(t, r, drain("bg-2", "eu-west"), time.Hour, start)
		if err := os.Remove(aside[0]); err != nil {
			t.Fatal(err)
		}
		r = open(t, path)
		if table, _ := r.Table(start); table.GetTrouble() != "" || len(table.GetRecords()) != 1 {
			t.Fatalf("cut at %d, mended: %v", n, table)
		}
	}
}

// A file that is whole and out of bounds is as good as damaged.
func TestInvalidFile(t *testing.T) {
	many := func(n int, ended string) (out []*pb.BreakGlassRecord) {
		for i := range n {
			r := drain(fmt.Sprintf("bg-%d", i), fmt.Sprint("r", i))
			r.RemainingMillis, r.Ended = 1000, ended
			out = append(out, r)
		}
		return out
	}
	edit := func(f func(*pb.BreakGlassRecord)) []*pb.BreakGlassRecord {
		r := many(1, "")
		f(r[0])
		return r
	}
	for name, records := range map[string][]*pb.BreakGlassRecord{
		"id":        edit(func(r *pb.BreakGlassRecord) { r.Id = "BG" }),
		"reason":    edit(func(r *pb.BreakGlassRecord) { r.Reason = strings.Repeat("x", 1025) }),
		"remainder": edit(func(r *pb.BreakGlassRecord) { r.RemainingMillis = 25 * 3600 * 1000 }),
		"ended":     edit(func(r *pb.BreakGlassRecord) { r.Ended = strings.Repeat("x", 4000) }),
		"twice":     append(many(1, ""), many(1, "")...),
		"standing":  many(MaxStanding+1, ""),
		"all":       many(MaxStanding+MaxEnded+1, "x"),
	} {
		path := t.TempDir()
		d, err := snapshot.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.SaveBreakGlass(&pb.BreakGlassTable{Records: records}); err != nil {
			t.Fatal(err)
		}
		r := open(t, path)
		files, _ := d.DamagedBreakGlass()
		if table, _ := r.Table(start); table.GetTrouble() == "" || len(table.GetRecords()) != 0 || len(files) != 1 {
			t.Errorf("%s: %v", name, table)
		}
	}
	// What only a newer version understands is carried until it ends, and said.
	path := t.TempDir()
	d, err := snapshot.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := edit(func(r *pb.BreakGlassRecord) { r.Action = 77 })
	if err := d.SaveBreakGlass(&pb.BreakGlassTable{Records: newer}); err != nil {
		t.Fatal(err)
	}
	r := open(t, path)
	if table, _ := r.Table(start); !strings.Contains(table.GetTrouble(), "action 77") || len(table.GetRecords()) != 1 || len(r.Standing(start, nil)) != 0 {
		t.Errorf("%v", table)
	}
	r.step(start.Add(time.Second))
	want(t, "over", text(r, start.Add(time.Second)), "bg-0 r0 expired")
}

// What cannot be kept has no effect; what ends, ends all the same.
func TestDiskFails(t *testing.T) {
	r := New(Options{Log: slog.New(slog.DiscardHandler)})
	r.Load(start)
	if _, _, err := r.Create(drain("bg-1", "eu-west"), time.Hour, start); !errors.Is(err, ErrNotKept) || !strings.Contains(err.Error(), "--snapshot-dir") {
		t.Errorf("without a directory: %v", err)
	}
	root := t.TempDir()
	path, away := filepath.Join(root, "s"), filepath.Join(root, "away")
	r = open(t, path)
	create(t, r, drain("bg-1", "eu-west"), time.Hour, start)
	if err := os.Rename(path, away); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Create(drain("bg-2", "us-east"), time.Hour, start); !errors.Is(err, ErrNotKept) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with a disk that fails: %v", err)
	}
	want(t, "no effect", standing(r.Standing(start, nil)), "bg-1")
	if table, _ := r.Table(start); !strings.Contains(table.GetTrouble(), "cannot be written") {
		t.Errorf("%v", table)
	}
	_, before := r.Table(start)
	if _, err := r.End("bg-1", "by bob: over", start); err != nil {
		t.Error(err)
	}
	if _, version := r.Table(start); len(r.Standing(start, nil)) != 0 || version <= before {
		t.Error("it does not end")
	}
	r.step(start.Add(saveEvery))
	if err := os.Rename(away, path); err != nil {
		t.Fatal(err)
	}
	r.step(start.Add(2 * saveEvery))
	if table, _ := r.Table(start); table.GetTrouble() != "" {
		t.Errorf("%v", table)
	}
	want(t, "on disk", text(open(t, path), start), "bg-1 eu-west by bob: over")
}

func TestCheck(t *testing.T) {
	base := regions.NewBase(
		[]regions.Region{{Name: "eu-west", AvailabilityZones: []string{"a", "b"}}, {Name: "us-east"}}, nil,
		[]regions.Service{{Name: "www.example.test", Endpoints: []regions.Endpoint{{Name: "eu-1", AvailabilityZone: "a"}}}}, nil)
	for _, c := range []struct {
		name  string
		edit  func(*pb.BreakGlassRecord)
		after time.Duration
		want  string // empty: good
	}{
		{"a region", func(*pb.BreakGlassRecord) {}, MaxExpiry, ""},
		{"a zone", func(r *pb.BreakGlassRecord) { r.Scope.AvailabilityZone = "b" }, MinExpiry, ""},
		{"a service", func(r *pb.BreakGlassRecord) { r.Scope.Service = "www.example.test" }, time.Hour, ""},
		{"an endpoint", func(r *pb.BreakGlassRecord) {
			r.Scope = &pb.OverrideScope{Service: "www.example.test", Endpoint: "eu-1"}
		}, time.Hour, ""},
		{"no id", func(r *pb.BreakGlassRecord) { r.Id = "" }, time.Hour, `id: "": want bg- and 1 to 60`},
		{"a long id", func(r *pb.BreakGlassRecord) { r.Id = "bg-" + strings.Repeat("x", 61) }, time.Hour, "id: "},
		{"an odd id", func(r *pb.BreakGlassRecord) { r.Id = "bg-../x" }, time.Hour, "id: "},
		{"no action", func(r *pb.BreakGlassRecord) { r.Action = 0 }, time.Hour, "want drain, undrain, force-up or force-down"},
		{"no scope", func(r *pb.BreakGlassRecord) { r.Scope = nil }, time.Hour, "no scope"},
		{"no reason", func(r *pb.BreakGlassRecord) { r.Reason = " " }, time.Hour, "reason: required"},
		{"a long reason", func(r *pb.BreakGlassRecord) { r.Reason = strings.Repeat("x", 1025) }, time.Hour, "reason: 1025 bytes, at most 1024"},
		{"an odd author", func(r *pb.BreakGlassRecord) { r.Author = "\xff" }, time.Hour, "author: not UTF-8"},
		{"no expiry", func(*pb.BreakGlassRecord) {}, 0, "expire_after: required"},
		{"a short expiry", func(*pb.BreakGlassRecord) {}, MinExpiry - 1, "want 1s to 24h"},
		{"a long expiry", func(*pb.BreakGlassRecord) {}, MaxExpiry + 1, "want 1s to 24h"},
		{"no such region", func(r *pb.BreakGlassRecord) { r.Scope.Region = "eu-wst" }, time.Hour, `no region "eu-wst" (did you mean "eu-west"?)`},
		{"no such zone", func(r *pb.BreakGlassRecord) { r.Scope.AvailabilityZone = "c" }, time.Hour, `no availability zone "c"`},
		{"no such service", func(r *pb.BreakGlassRecord) { r.Scope.Service = "x.example.test" }, time.Hour, `no service "x.example.test"`},
		{"no such endpoint", func(r *pb.BreakGlassRecord) {
			r.Scope = &pb.OverrideScope{Service: "www.example.test", Endpoint: "us-1"}
		}, time.Hour, `no endpoint "us-1"`},
		{"nothing there", func(r *pb.BreakGlassRecord) {
			r.Scope.Region, r.Scope.Service = "us-east", "www.example.test"
		}, time.Hour, "holds no endpoint"},
		{"a zone alone", func(r *pb.BreakGlassRecord) {
			r.Scope = &pb.OverrideScope{AvailabilityZone: "a", Service: "www.example.test", Endpoint: "eu-1"}
		}, time.Hour, "needs its region"},
		{"a service alone", func(r *pb.BreakGlassRecord) { r.Scope = &pb.OverrideScope{Service: "www.example.test"} }, time.Hour, "want a region, or a service and its endpoint"},
		{"an endpoint alone", func(r *pb.BreakGlassRecord) { r.Scope.Endpoint = "eu-1" }, time.Hour, "needs its service"},
		{"everything", func(r *pb.BreakGlassRecord) { r.Id, r.Reason, r.Scope.Region = "", "", "" }, 0, "id: "},
	} {
		rec := drain("bg-1", "eu-west")
		c.edit(rec)
		err := Check(rec, c.after, base)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
