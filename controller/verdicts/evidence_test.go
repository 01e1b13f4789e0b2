package verdicts

import (
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// Since when too few regions are heard to decide.
func TestEvidenceAt(t *testing.T) {
	base := time.Unix(1_000_000, 0)
	for _, tc := range []struct {
		name   string
		agents map[string]int // seconds after base; 0: never heard
		guest  bool
		want   int
	}{
		{"nobody is registered", nil, true, 0},
		{"one region", map[string]int{"a1": 7}, false, 7},
		{"one region, never heard", map[string]int{"a1": 0}, false, 0},
		{"a region's last agent counts", map[string]int{"a1": 3, "a2": 9, "a3": 0}, false, 9},
		{"of two regions the last", map[string]int{"a1": 3, "b1": 9}, false, 9},
		{"of two regions the one heard", map[string]int{"a1": 0, "b1": 9}, false, 9},
		{"of three regions the second", map[string]int{"a1": 3, "b1": 9, "c1": 5}, false, 5},
		{"of three regions one alone is none", map[string]int{"a1": 0, "b1": 9, "c1": 0}, false, 0},
		{"agents of one region are no second region", map[string]int{"a1": 8, "a2": 9, "b1": 2, "c1": 1}, false, 2},
		{"of four regions the third", map[string]int{"a1": 1, "b1": 2, "c1": 3, "d1": 4}, false, 2},
		{"of five regions the third", map[string]int{"a1": 1, "b1": 2, "c1": 3, "d1": 4, "e1": 5}, false, 3},
		{"guests are no evidence", map[string]int{"a1": 3, "b1": 9, "c1": 5}, true, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ta := &tally{vantages: map[string]*vantage{}}
			for name, at := range tc.agents {
				v := &vantage{name: name, region: name[:1], registered: true}
				if at > 0 {
					v.heard = base.Add(time.Duration(at) * time.Second)
				}
				ta.vantages[name] = v
			}
			want := time.Time{}
			if tc.want > 0 {
				want = base.Add(time.Duration(tc.want) * time.Second)
			}
			if tc.guest {
				ta.vantages["guest"] = &vantage{name: "guest", region: "g", heard: base.Add(time.Hour)}
			}
			ta.sortVoters()
			if got := ta.evidenceAt(); !got.Equal(want) {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// A controller that hears its own region only has old evidence, unless it is one
// of two, which may decide alone.
func TestEvidenceOfAMinority(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, three, "t")
		all := []*speaker{c.connect("a1", "a"), c.connect("b1", "b"), c.connect("c1", "c")}
		for _, s := range all {
			s.says("full t=H")
		}
		c.pass(10*time.Second, all...)
		if age := c.State().EvidenceAge; age > time.Second {
			t.Errorf("all are heard, and the evidence is %s old", age)
		}
		c.pass(time.Minute, all[0])
		if age := c.State().EvidenceAge; age < time.Minute {
			t.Errorf("one of three regions was heard for a minute, and the evidence is %s old", age)
		}
		again := c.connect("b1", "b")
		again.says("full t=H")
		if age := c.State().EvidenceAge; age > time.Second {
			t.Errorf("two of three are heard again, and the evidence is %s old", age)
		}
		c.plan(2, three[:2], "t")
		c.pass(time.Minute, all[0])
		if age := c.State().EvidenceAge; age > time.Second {
			t.Errorf("one of two regions is heard, and the evidence is %s old", age)
		}
		if got, _ := c.State().Get("t"); got.Last != regions.Healthy {
			t.Errorf("verdict %s", got.Last)
		}
	})
}
