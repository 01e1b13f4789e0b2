package breakglass

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"
)

// However a record ends, it says when, also after a restart.
func TestEndTime(t *testing.T) {
	path := t.TempDir()
	r := open(t, path)
	create(t, r, drain("bg-cited", "a"), time.Hour, start)
	create(t, r, drain("bg-expired", "b"), 10*time.Second, start)
	create(t, r, drain("bg-former", "c"), time.Hour, start)
	create(t, r, drain("bg-latter", "c"), time.Hour, start.Add(3*time.Second))
	create(t, r, drain("bg-ended", "d"), time.Hour, start)
	if _, err := r.End("bg-ended", "by bob", start.Add(4*time.Second)); err != nil {
		t.Fatal(err)
	}
	r.Cite(map[string]string{"bg-cited": "by carol"})
	r.step(start.Add(5 * time.Second))
	at := func(r *Records, now time.Time) string {
		out := ""
		table, _ := r.Table(now)
		for _, rec := range table.GetRecords() {
			end := "-"
			if rec.GetEndTime() != nil {
				end = rec.GetEndTime().AsTime().Sub(start).Round(time.Second).String()
			}
			out += rec.GetId() + " " + end + "\n"
		}
		return out
	}
	all := "bg-cited 5s\nbg-ended 4s\nbg-expired 10s\nbg-former 3s\nbg-latter -\n"
	want(t, "not noted yet", at(r, start.Add(12*time.Second)), all)
	r.step(start.Add(13 * time.Second))
	want(t, "noted", at(r, start.Add(20*time.Second)), all)
	want(t, "after a restart", at(openWith(t, path, start.Add(time.Minute), Options{Log: slog.New(slog.DiscardHandler)}), start.Add(time.Minute)), all)
	// What ends is not for the caller to say.
	rec := drain("bg-new", "e")
	rec.EndTime, rec.Ended = rec.GetCreateTime(), "x"
	if made, _, err := r.Create(rec, time.Hour, start); err != nil || made.GetEndTime() != nil || made.GetEnded() != "" {
		t.Errorf("%v, %v", made, err)
	}
}

// Of those that ended, the one that did so last is shown, however old it is.
func TestLastEndedIsKept(t *testing.T) {
	r := open(t, t.TempDir())
	create(t, r, drain("bg-old", "old"), 24*time.Hour, start)
	for i := range MaxEnded + 5 {
		at := start.Add(time.Hour + time.Duration(i)*time.Second)
		id := fmt.Sprintf("bg-%03d", i)
		create(t, r, drain(id, "a"), time.Minute, at)
		if _, err := r.End(id, "by bob", at); err != nil {
			t.Fatal(err)
		}
	}
	now := start.Add(2 * time.Hour)
	if _, err := r.End("bg-old", "by bob: over", now); err != nil {
		t.Fatal(err)
	}
	if rec := r.Find("bg-old", now); rec.GetEnded() != "by bob: over" {
		t.Errorf("it ended, and is not there: %v", rec)
	}
	if table, _ := r.Table(now); len(table.GetRecords()) != MaxEnded || r.Find("bg-005", now) != nil || r.Find("bg-006", now) == nil {
		t.Errorf("%d are kept", len(table.GetRecords()))
	}
}

// What a plan has ended does not come back with a plan that knows nothing of it, as
// after a restore of an older etcd, though nothing could be noted between.
func TestEndedForGood(t *testing.T) {
	path := t.TempDir()
	r := open(t, path)
	for _, id := range []string{"bg-1", "bg-2"} {
		create(t, r, drain(id, id), time.Hour, start)
	}
	r.Cite(map[string]string{"bg-1": "by carol: back", "bg-other": "by carol: else"})
	r.Cite(nil)
	r.Cite(map[string]string{"bg-3": "by carol: again"})
	want(t, "not noted yet", standing(r.Standing(start, nil)), "bg-2")
	if n := len(r.ends()); n != 2 { // and it grows by no id that is not here
		t.Errorf("%d ends are held", n)
	}
	r.step(start)
	all := "bg-1 bg-1 ended by the control plane, by carol: back\nbg-2 bg-2 1h0m0s"
	want(t, "noted", text(r, start), all)
	want(t, "after a restart", text(open(t, path), start), all)
	r.Cite(nil)
	if n := len(r.ends()); n != 0 {
		t.Errorf("%d ends are held", n)
	}
}

// A process that is killed again and again lets a record expire all the same.
func TestKilledAgainAndAgain(t *testing.T) {
	path := t.TempDir()
	create(t, open(t, path), drain("bg-1", "a"), 20*time.Second, start)
	now := start
	for range 20 {
		r := openWith(t, path, now, Options{Log: slog.New(slog.DiscardHandler)})
		for end := now.Add(4 * time.Second); now.Before(end); {
			now = now.Add(min(r.step(now), end.Sub(now)))
		}
	}
	r := open(t, path)
	if r.Find("bg-1", start).GetEnded() != expired {
		t.Errorf("after %v: %s", now.Sub(start), text(r, start))
	}
}

// The trouble over a file that was set aside ends when a person has removed it,
// without a restart.
func TestRemovedWhatWasSetAside(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(path+"/breakglass.table", []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	told := 0
	r := openWith(t, path, start, Options{Log: slog.New(slog.DiscardHandler), Changed: func() { told++ }})
	trouble := func() string { table, _ := r.Table(start); return table.GetTrouble() }
	r.step(start)
	if trouble() == "" {
		t.Fatal("no trouble")
	}
	files, err := r.opts.Dir.DamagedBreakGlass()
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	// While the directory cannot be read, nothing is known of it.
	away := path + "-away"
	if err := os.Rename(path, away); err != nil {
		t.Fatal(err)
	}
	r.step(start)
	if err := os.Rename(away, path); err != nil {
		t.Fatal(err)
	}
	if trouble() == "" {
		t.Error("removed, as nothing can be read")
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	told = 0
	r.step(start)
	if trouble() != "" || told != 1 {
		t.Errorf("%q, told %d times", trouble(), told)
	}
}
