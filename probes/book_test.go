package probes

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// Whatever happens, a reader that takes what has changed knows what the book holds.
func TestBookProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBook()
		wake, stop := b.read()
		defer stop()
		type reader struct {
			at    uint64
			table map[string]string
		}
		readers := []*reader{{table: map[string]string{}}, {table: map[string]string{}}}
		truth, pages := map[string]string{}, map[string]*page{}
		for _, target := range []string{"a", "b", "c", "d"} {
			pages[target] = &page{target: target}
		}
		now := start
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			target := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "target")
			now = now.Add(time.Second)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				op := health.Opinion{
					Status: rapid.SampledFrom([]regions.Status{0, 1, 2}).Draw(t, "status"),
					Reason: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "reason"), Since: now,
				}
				if op.Status == regions.Healthy {
					op.Failures = rapid.IntRange(0, 2).Draw(t, "failures")
				}
				_, known := truth[target]
				was := pages[target].opinion
				for len(wake) > 0 {
					<-wake
				}
				b.put(pages[target], op)
				if woken := len(wake) > 0; woken != (!known || was.Status != op.Status || was.Wavering() != op.Wavering()) {
					t.Fatalf("woken: %t", woken)
				}
				truth[target] = op.Status.String() + op.Reason
			case 2:
				b.change([]*page{pages[target]}, nil, health.Opinion{})
				pages[target] = &page{target: target}
				delete(truth, target)
			case 3:
				r := readers[rapid.IntRange(0, 1).Draw(t, "reader")]
				opinions, to, full := b.since(r.at, now)
				if full {
					clear(r.table)
				}
				for _, o := range opinions {
					s := regions.Status(o.GetStatus() - 1)
					r.table[o.GetTarget()] = s.String() + o.GetReason()
				}
				r.at = to
				if fmt.Sprint(r.table) != fmt.Sprint(truth) {
					t.Fatalf("the reader knows %v, the book holds %v", r.table, truth)
				}
				if again, _, _ := b.since(r.at, now); len(again) != 0 {
					t.Fatalf("%d opinions twice", len(again))
				}
			}
		}
	})
}
