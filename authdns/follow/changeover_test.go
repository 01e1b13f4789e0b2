package follow

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// all says the same of targets 1 to n.
func all(n int, letter string) string {
	var words []string
	for i := 1; i <= n; i++ {
		words = append(words, fmt.Sprintf("%d=%s", i, letter))
	}
	return strings.Join(words, " ")
}

// To come back to a controller whose stream never broke costs what differs, not the
// table.
func TestComingBackCostsWhatDiffers(t *testing.T) {
	play(t, 2, func(t *testing.T, s *scene, cs []*controller) {
		const n = 9
		a, b := cs[0], cs[1]
		g := makeGeneration(t, 1, 5, n)
		a.offers(g)
		b.offers(g)
		a.says(all(n, "H"))
		b.says(all(n, "H"))
		took := 0.0
		takes := func(what string, want int) {
			t.Helper()
			now := s.metric("fairlead_authdns_verdicts_taken_total")
			if got := int(now - took); got != want {
				t.Errorf("%s: %d verdicts were taken, want %d", what, got, want)
			}
			took = now
		}
		served := func(turned ...int) {
			t.Helper()
			want := "1.5"
			for i := 1; i <= n; i++ {
				letter := "H"
				for _, u := range turned {
					if u == i {
						letter = "U"
					}
				}
				want += fmt.Sprintf(" %d=%s", i, letter)
			}
			s.want(want)
		}
		a.set(func(s *script) { s.ready = true })
		pass(time.Second)
		s.followed(true, false)
		takes("the first", n)
		b.set(func(s *script) { s.ready = true })
		pass(time.Second)
		takes("one that is not followed", 0)

		a.set(func(s *script) { s.ready = false })
		pass(time.Second)
		s.followed(false, true)
		takes("another for the first time", n)

		// 3 turns at both, 7 and 8 at one only.
		a.says("3=U 7=U")
		b.says("3=U 8=U")
		pass(time.Second)
		takes("a change", 2)
		served(3, 8)
		a.set(func(s *script) { s.ready = true })
		b.set(func(s *script) { s.ready = false })
		pass(time.Second)
		s.followed(true, false)
		takes("back", 3)
		served(3, 7)
		a.set(func(s *script) { s.ready = false })
		b.set(func(s *script) { s.ready = true })
		pass(time.Second)
		s.followed(false, true)
		takes("and back again", 2) // 7 and 8 are others here; 3 is the same
		served(3, 8)

		// For a while there is nobody to follow, and both streams stand.
		b.set(func(s *script) { s.ready = false })
		pass(3 * time.Second)
		s.followed(false, false)
		b.set(func(s *script) { s.ready = true })
		pass(time.Second)
		s.followed(false, true)
		takes("nobody in between", 0)
		served(3, 8)

		// A stream that broke brings another table.
		b.set(func(s *script) { s.cut = true })
		pass(time.Second)
		b.set(func(s *script) { s.cut = false })
		pass(3 * time.Second)
		s.followed(false, true)
		takes("a new stream", n)
		served(3, 8)
	})
}

// Whoever is followed, and whatever else was meanwhile, what it says is served.
func TestServesWhoeverIsFollowed(t *testing.T) {
	play(t, 3, func(t *testing.T, s *scene, cs []*controller) {
		const n = 6
		g := makeGeneration(t, 1, 5, n)
		for _, c := range cs {
			c.offers(g)
			c.says(all(n, "H"))
		}
		r := rand.New(rand.NewPCG(1, 2))
		for step := range 60 {
			for range r.IntN(3) {
				cs[r.IntN(len(cs))].says(fmt.Sprintf("%d=%c", 1+r.IntN(n), "HU"[r.IntN(2)]))
			}
			if r.IntN(10) == 0 {
				c := cs[r.IntN(len(cs))]
				c.set(func(s *script) { s.cut = true })
				pass(10 * time.Millisecond)
				c.set(func(s *script) { s.cut = false })
			}
			leads := r.IntN(len(cs))
			for i, c := range cs {
				c.set(func(s *script) { s.ready = i == leads })
			}
			pass(3 * time.Second)
			want := "1.5"
			cs[leads].seen(func() {
				if !cs[leads].follow {
					t.Errorf("step %d: %s is not followed", step, cs[leads].name)
				}
				for i := 1; i <= n; i++ {
					letter := "H"
					if cs[leads].now.verdicts[fmt.Sprintf("web@192.0.2.%d", i)] == regions.Unhealthy {
						letter = "U"
					}
					want += fmt.Sprintf(" %d=%s", i, letter)
				}
			})
			s.want(want)
			if t.Failed() {
				t.Fatalf("at step %d", step)
			}
		}
	})
}
