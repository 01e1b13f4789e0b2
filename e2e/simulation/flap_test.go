package simulation

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestFlappingIsBounded lets one endpoint flap for twenty minutes, up for
// seconds or for minutes: by the table of regions/health.Damping it returns at once
// twice, and then after 30s, 1m, 2m, 4m and 8m (invariant 9). Every vantage sees
// it a little otherwise, so two more changes are allowed.
func TestFlappingIsBounded(t *testing.T) {
	const most = 2*(2+5) + 2
	lasts := 20 * time.Minute
	if raceEnabled || testing.Short() {
		lasts = 5 * time.Minute
	}
	c := shape{Regions: 3, Agents: 1, DefaultDamping: true}.compile()
	w := &wrong{}
	turns, cycles := 0, 0
	dir := filepath.Join(directory(t), "flap")
	synctest.Test(t, func(*testing.T) {
		s := newSim(1, c, defect{}, w, dir)
		s.begin(2, 1)
		defer s.stop()
		s.startController(s.controllers[1])
		s.converge(settling)
		for n := 0; time.Since(s.began) < lasts && !w.any(); n++ {
			stays := 2*interval + timeout
			if up := n%2 == 1; up { // sometimes for so long that it returns
				stays = []time.Duration{3, 35, 5, 70, 3, 130}[n/2%6] * time.Second
			}
			s.setUp(n%2 == 1, c.targets[0].address)
			s.seen()
			cycles = n / 2
			time.Sleep(stays)
		}
		synctest.Wait()
		s.check()
		for _, c := range s.controllers {
			turns = max(turns, c.saw.turns)
		}
	})
	if w.any() {
		t.Error(w.found, w.log)
	}
	if turns > most || turns < 2 {
		t.Errorf("the verdict changed %d times over %d flaps, want 2 to %d", turns, cycles, most)
	}
	t.Logf("the verdict changed %d times over %d flaps", turns, cycles)
}
