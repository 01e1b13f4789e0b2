package simulation

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	seedFlag = flag.Uint64("simulation.seed", 0, "run this seed only")
	runsFlag = flag.Int("simulation.runs", 0, "how many seeds to run; 0: the usual number")
	fromFlag = flag.Uint64("simulation.from", 1, "the first of them")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// usualRuns is how many seeds a run of the tests takes.
func usualRuns() int {
	switch {
	case *runsFlag > 0:
		return *runsFlag
	case testing.Short() || raceEnabled:
		return 60
	default:
		return 1000
	}
}

// directory is for the nameservers' files: in memory where there is such a place.
func directory(t *testing.T) string {
	if dir, err := os.MkdirTemp("/dev/shm", "simulation"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// many runs seeds until all are done or as many have failed as are wanted.
func many(t *testing.T, from uint64, n, enough int, d defect) (ran int, bad []*wrong) {
	dir := directory(t)
	var next, done atomic.Int64
	var mu sync.Mutex
	t.Run("seeds", func(t *testing.T) {
		for range 2 * runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for {
					k := next.Add(1) - 1
					mu.Lock()
					stop := int(k) >= n || len(bad) >= enough
					mu.Unlock()
					if stop {
						return
					}
					w := run(t, from+uint64(k), d, dir)
					done.Add(1)
					if w.any() {
						t.Logf("seed %d: %s", w.seed, w.found[0])
						mu.Lock()
						bad = append(bad, w)
						mu.Unlock()
					}
				}
			})
		}
	})
	return int(done.Load()), bad
}

func TestSimulation(t *testing.T) {
	if *seedFlag > 0 {
		w := run(t, *seedFlag, defect{}, directory(t))
		report(t, w)
		if !w.any() {
			t.Log(strings.Join(w.log, "\n"))
		}
		return
	}
	began := time.Now()
	ran, bad := many(t, *fromFlag, usualRuns(), 3, defect{})
	t.Logf("%d seeds, %.0f a second", ran, float64(ran)/time.Since(began).Seconds())
	for _, w := range bad {
		report(t, w)
	}
}

// report fails the test with what was wrong, if anything, and with what it takes
// to see it again.
func report(t *testing.T, w *wrong) {
	if w.any() {
		t.Errorf("%s\n\n%s\nagain: go test ./e2e/simulation -run 'TestSimulation$' -simulation.seed=%d", strings.Join(w.found, "\n"), strings.Join(w.log, "\n"), w.seed)
	}
}

// TestSeedGivesSchedule checks that a seed gives the same world and schedule.
func TestSeedGivesSchedule(t *testing.T) {
	if a, b := drawn(5), drawn(5); a != b || a == drawn(6) {
		t.Errorf("a seed gave two schedules:\n%s\n%s", a, b)
	}
}

func drawn(seed uint64) string {
	r := seeded(seed)
	w := randomShape(r).compile()
	s := newSchedule(r, w)
	return fmt.Sprint(w.shape, s.controllers, s)
}
