package store_test

import (
	"fmt"
	"testing"

	"github.com/fairlead-dns/fairlead/controller/store"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	if events, next, err := s.Events(t.Context(), 0, ""); len(events) != 0 || next != "" || err != nil {
		t.Errorf("events of an empty store: %v, %q, %v", events, next, err)
	}
	m := manifest(t, s, "m")
	var rev int64
	var revs []int64
	for i := range 23 {
		w := swap(rev, m, fmt.Sprint(i))
		w.Head.Epoch = uint64(1 + i/10)
		rev = mustSwap(t, s, w)
		revs = append(revs, rev)
	}
	for _, limit := range []int{1, 5, 22, 23, 24, 1000} {
		var n int
		for page := ""; ; {
			events, next, err := s.Events(t.Context(), limit, page)
			if err != nil {
				t.Fatal(err)
			}
			if len(events) > limit || next != "" && len(events) != limit {
				t.Errorf("page of %d has %d events", limit, len(events))
			}
			for _, e := range events {
				i := 22 - n
				if e.RequestId != fmt.Sprint(i) || e.Actor != "alice" || e.Generation.Revision != revs[i] || e.Generation.Epoch != uint64(1+i/10) {
					t.Errorf("event %d is %v, want that of request %d", n, e, i)
				}
				n++
			}
			if page = next; page == "" {
				break
			}
		}
		if n != 23 {
			t.Errorf("%d events in pages of %d", n, limit)
		}
	}

	// An event that comes between two pages is on neither.
	_, next, err := s.Events(t.Context(), 10, "")
	if err != nil {
		t.Fatal(err)
	}
	rev = mustSwap(t, s, func() store.Swap { w := swap(rev, m, "new"); w.Head.Epoch = 9; return w }())
	events, _, err := s.Events(t.Context(), 10, next)
	if err != nil || events[0].RequestId != "12" {
		t.Errorf("second page begins with %v, %v", events[0], err)
	}

	// The order is that of the changes, also when the head was deleted and
	// made anew.
	if _, err := c.Delete(t.Context(), headKey); err != nil {
		t.Fatal(err)
	}
	w := swap(0, m, "anew")
	w.Head.Epoch = 9
	w.Restore = true
	mustSwap(t, s, w)
	events, _, err = s.Events(t.Context(), 2, "")
	if err != nil || events[0].RequestId != "anew" || events[1].RequestId != "new" || events[1].Generation.Revision != rev {
		t.Errorf("newest: %v, %v", events, err)
	}

	if _, _, err := s.Events(t.Context(), -1, ""); err == nil {
		t.Error("a negative page size was taken")
	}
	for _, page := range []string{"x", "../head", "zz/zz", "00/ü"} {
		if _, _, err := s.Events(t.Context(), 1, page); err == nil {
			t.Errorf("page token %q was taken", page)
		}
	}
}
