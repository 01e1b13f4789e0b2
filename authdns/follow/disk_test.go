package follow

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions/geo"
)

// newest is the file of the newest generation in a directory.
func newest(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "generation-*.snapshot"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return slices.Max(names)
}

// again is the nameserver after a restart.
func (s *scene) again(cs ...*controller) *scene {
	s.t.Helper()
	s.stop()
	n := begin(s.t, s.dir, cs...)
	n.Load()
	*s = scene{Follower: n.Follower, t: s.t, reg: n.reg, dir: n.dir, cs: cs, subs: n.subs, conns: n.conns}
	s.run()
	return s
}

// With every controller gone, a nameserver that restarts answers the same.
func TestStartsFromDisk(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.set(func(s *script) { s.ready = true })
		for rev := range int64(5) {
			c.offers(makeGeneration(t, 1, 5+rev, int(2+rev%2)))
			pass(time.Second)
		}
		c.says("1=U 2=H")
		pass(10 * time.Second)
		s.want("1.9 1=U 2=H")
		c.stop()
		pass(time.Minute)
		s.again(c)
		s.want("1.9 1=U 2=H")
		if !s.Serving().FromDisk {
			t.Error("it does not say that this is from disk")
		}
		if age, ok := s.HealthAge(time.Now()); !ok || age < time.Minute || age > 2*time.Minute {
			t.Errorf("the verdicts are %v old, want a minute", age)
		}
		pass(time.Hour)
		s.want("1.9 1=U 2=H")
		// Restarted again and again the verdicts get no younger.
		s.again(c)
		if age, _ := s.HealthAge(time.Now()); age < time.Hour {
			t.Errorf("the verdicts are %v old, want over an hour", age)
		}
		// A controller that lags does not take it back, and one that has the same
		// confirms it.
		c.offers(makeGeneration(t, 1, 8, 3))
		c.start()
		pass(10 * time.Second)
		s.want("1.9 1=U 2=H")
		if !s.Serving().FromDisk {
			t.Error("confirmed by one that lags")
		}
		c.offers(makeGeneration(t, 1, 9, 2))
		pass(time.Second)
		if s.Serving().FromDisk {
			t.Error("not confirmed")
		}
	})
}

func TestTornSnapshot(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		for _, rev := range []int64{5, 6} {
			c.offers(makeGeneration(t, 1, rev, int(rev-4)))
			pass(time.Second)
		}
		s.want("1.6 1=? 2=?")
		c.stop()
		if err := os.Truncate(newest(t, s.dir), 100); err != nil {
			t.Fatal(err)
		}
		s.again(c)
		s.want("1.5 1=?")
		c.start()
		pass(10 * time.Second)
		s.want("1.6 1=? 2=?")
	})
}

// A disk that takes nothing is logged, and that is all.
func TestDiskFails(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		if err := os.RemoveAll(s.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.dir, nil, 0o600); err != nil { // a file where the directory was
			t.Fatal(err)
		}
		c.offers(makeGeneration(t, 1, 5, 1))
		c.set(func(s *script) { s.ready = true })
		c.says("1=U")
		pass(10 * time.Second)
		s.want("1.5 1=U")
		if ack := c.lastAck(); ack != "1.5" {
			t.Errorf("acknowledged %q", ack)
		}
	})
}

// What could not be written is written once there is space, though no newer
// generation comes.
func TestDiskRecovers(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.offers(makeGeneration(t, 1, 5, 1))
		pass(time.Second)
		away := s.dir + ".away"
		if err := os.Rename(s.dir, away); err != nil {
			t.Fatal(err)
		}
		c.offers(makeGeneration(t, 1, 6, 2))
		pass(time.Minute)
		s.want("1.6 1=? 2=?")
		if err := os.Rename(away, s.dir); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		c.stop()
		s.again(c)
		s.want("1.6 1=? 2=?")
	})
}

// Verdicts of the last moment are on disk when Run returns.
func TestLastVerdictsAreSaved(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.offers(makeGeneration(t, 1, 5, 1))
		c.set(func(s *script) { s.ready = true })
		pass(10 * time.Second)
		c.says("1=U") // saved at once
		pass(10 * time.Millisecond)
		c.says("1=H") // waits, so that a flapping target does not wear the disk
		pass(10 * time.Millisecond)
		c.stop()
		s.again(c)
		s.want("1.5 1=H")
		c.start()
	})
}

// New geo data are taken up beside the answers; bad ones leave everything as
// it is.
func TestNewGeoData(t *testing.T) {
	db, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.offers(makeGeneration(t, 1, 5, 1))
		c.set(func(s *script) { s.ready = true })
		c.says("1=U")
		pass(time.Second)
		before := s.Serving()
		s.SetGeo(db)
		s.SetGeo(db)
		pass(time.Second)
		if after := s.Serving(); after == before || after.Plan != before.Plan {
			t.Error("new geo data made no new snapshot of the same plan")
		}
		s.want("1.5 1=U")
		good := s.Serving()
		s.SetGeo(&geo.Database{})
		pass(time.Second)
		if s.Serving() != good {
			t.Error("geo data that cannot be compiled changed what is served")
		}
		c.offers(makeGeneration(t, 1, 6, 2))
		pass(time.Second)
		s.want("1.6 1=U 2=?")
	})
}
