package verdicts

import (
	"testing"
	"testing/synctest"
	"time"
)

// Of what nameservers tell a controller that has just started, the freshest
// counts, in whatever order they and the agents come: a recovery that only a
// stale table tells of would begin a hold-down at every service.
func TestTheFreshestSeedWinsInAnyOrder(t *testing.T) {
	stale := SeedTable{Verdicts: seeds("t=U u=H"), Age: time.Hour, From: "cut off for an hour"}
	fresh := SeedTable{Verdicts: seeds("t=H u=U"), From: "fresh"}
	for name, order := range map[string]string{
		"agents, stale, fresh": "asf", "agents, fresh, stale": "afs",
		"stale, agents, fresh": "saf", "fresh, agents, stale": "fas",
		"stale, fresh, agents": "sfa", "fresh, stale, agents": "fsa",
		"fresh again and again": "sfaffsf",
	} {
		t.Run(name, func(t *testing.T) {
			inCourt(t, Options{}, func(t *testing.T, c *court) {
				c.plan(1, three, "t", "u")
				for _, step := range order {
					switch step {
					case 'a':
						for _, a := range three {
							c.connect(a.Name, a.Region).says("full t=H u=H")
						}
					case 's':
						c.Seed(stale)
					case 'f':
						c.Seed(fresh)
					}
					synctest.Wait()
					time.Sleep(100 * time.Millisecond)
				}
				c.want("t", "H/H")
				c.want("u", "H/H")
				if got, _ := c.State().Get("t"); got.Restored {
					t.Errorf("t: restored %s ago, though it was HEALTHY all the time", got.Held(time.Now()))
				}
				if got, _ := c.State().Get("u"); !got.Restored {
					t.Error("u: not restored, though it was UNHEALTHY before")
				}
				if got, want := c.State().Digest, healthDigest(c.State()); got != want {
					t.Errorf("digest %s, want %s", got, want)
				}
			})
		})
	}
}

// When the start is over, what was decided stands; and one that tells the same
// again moves nothing.
func TestSeedsAfterTheStart(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.Seed(SeedTable{Verdicts: seeds("t=H"), Age: time.Minute, From: "ns-1"})
		c.plan(1, three, "t")
		a, b := c.connect("a1", "a"), c.connect("b1", "b")
		a.says("full t=U")
		b.says("full t=U")
		c.want("t", "U/U")
		was, _ := c.State().Get("t")
		c.pass(time.Second, a, b)
		c.Seed(SeedTable{Verdicts: seeds("t=H"), From: "ns-2"})
		synctest.Wait()
		if got, _ := c.State().Get("t"); !got.Since.Equal(was.Since) {
			t.Errorf("lost since %s, before %s", got.Since, was.Since)
		}
		a.says("t=H")
		b.says("t=H")
		c.pass(10*time.Second, a, b)
		was, _ = c.State().Get("t")
		c.Seed(SeedTable{Verdicts: seeds("t=U"), From: "late"})
		synctest.Wait()
		if got, _ := c.State().Get("t"); !got.Equal(was.Verdict) {
			t.Errorf("after the start a seed made %+v of %+v", got, was)
		}
	})
}
