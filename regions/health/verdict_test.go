package health

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
)

func letter(s regions.Status) string { return [...]string{"?", "H", "U"}[s] }

// shown prints a verdict: "H" or, restored, "H+", then "confirmed=", regions and
// the guard's trip where there is something to say, and "~" when it wavers.
func shown(v Verdict) string {
	standing := func(s regions.Standing) string {
		if s.Restored {
			return letter(s.Verdict) + "+"
		}
		return letter(s.Verdict)
	}
	out := standing(v.Standing())
	if v.Confirmed != nil {
		out += " confirmed=" + standing(*v.Confirmed)
	}
	for _, r := range v.Regions {
		out += " " + r.Region + "=" + standing(r.Standing)
	}
	if v.Guard > 0 {
		out += fmt.Sprintf(" guard=%d", v.Guard)
	}
	if v.Wavering {
		out += " ~"
	}
	return out
}

// Each script is a list of steps a minute apart; "hold" before a ballot holds it.
// What a vantage says it has said since the step in which it began to.
func TestVerdictScripts(t *testing.T) {
	for name, script := range map[string][][2]string{
		"three regions": {
			{"- - -", "?"}, {"H - -", "? a=H"}, {"H H -", "H"}, {"H H H", "H"},
			{"U H H", "H a=U ~"}, {"U U H", "U c=H ~"}, {"U U U", "U"},
			{"H U U", "U a=H+ ~"}, {"H H U", "H+ a=H+ c=U ~"}, {"H H H", "H+ a=H+ c=H+"},
			{"- - -", "H+ a=H+ c=H+"}, {"- - -", "H+"},
		},
		"a region that cannot tell goes with the verdict, or stays apart": {
			{"H H H", "H"}, {"H U U", "U a=H ~"}, {"- U U", "U a=H"}, {"? H H", "H+ a=H"},
			{"H H H", "H+ a=H"}, {"- H H", "H+ a=H"}, {"? U U", "U a=H"}, {"U U U", "U"}, {"- H H", "H+"},
		},
		"a region that cannot tell for long goes with the verdict": {
			{"H H H", "H"}, {"U H H", "H a=U ~"}, {"- H H", "H a=U"}, {"- H H", "H"}, {"U H H", "H a=U ~"}, {"x H H", "H a=U"}, {"x H H", "H"},
			{"U H H", "H a=U ~"}, {"? H H", "H a=U"}, {"? H H", "H"}, {"U H H", "H a=U ~"}, {"! H H", "H a=U"}, {"! H H", "H"},
		},
		"nor one whose vantages disagree for long": {
			{"UU H H", "H a=U ~"}, {"U? H H", "H a=U ~"}, {"UH H H", "H a=U ~"}, {"UH H H", "H ~"}, {"UU H H", "H a=U ~"},
		},
		"two regions, one silent": {
			{"H H", "H"}, {"U -", "U confirmed=H"}, {"- -", "U confirmed=H"},
			{"U H", "U confirmed=H b=H+ ~"}, // both are heard and disagree: it stays
			{"H H", "H+ confirmed=H b=H+"}, {"U U", "U"}, {"H -", "H+ confirmed=U"}, {"H H", "H+ confirmed=H+"},
		},
		"one region": {{"H", "H"}, {"U", "U"}, {"-", "U"}, {"H", "H+"}},
		"held": {
			{"H H", "H"}, {"hold U -", "H guard=7 ~"}, {"hold - -", "H guard=7"}, {"hold U -", "H guard=7 ~"},
			{"H H", "H"}, {"hold U -", "H guard=7 ~"}, {"U U", "U"},
		},
		"held with one region":    {{"H", "H"}, {"hold U", "H guard=7 ~"}, {"U", "U"}},
		"wavering":                {{"H H H", "H"}, {"w H H", "H ~"}, {"H H H", "H"}, {"U U U", "U"}, {"w U U", "U a=H+ ~"}, {"D U U", "U"}},
		"isolated is no evidence": {{"H H H", "H"}, {"! H H", "H"}, {"! ! H", "H"}},
	} {
		t.Run(name, func(t *testing.T) {
			var v Verdict
			now := epoch
			said, since := "", map[int]time.Time{}
			for i, step := range script {
				now = now.Add(time.Minute)
				was := said
				var held bool
				said, held = strings.CutPrefix(step[0], "hold ")
				b := ballot(said)
				for i := range b.Voters {
					v := &b.Voters[i]
					var at int
					fmt.Sscanf(v.Agent, "agent-%d", &at)
					if at >= len(was) || was[at] != said[at] {
						since[at] = now
					}
					if v.Absent != "" || v.Isolated != "" {
						v.QuietSince = since[at]
					} else {
						v.Since = since[at]
					}
				}
				d := Decide(b, Policy{}, now)
				before := v
				if held {
					v = Hold(v, d, 7, now)
				} else {
					v = Update(v, d, now)
				}
				if got := shown(v); got != step[1] {
					t.Fatalf("step %d, after %q: %s, want %s", i, step[0], got, step[1])
				}
				if at := before.Lapses(d); !at.IsZero() && now.Before(at) != (len(v.Regions) == len(before.Regions)) {
					t.Fatalf("step %d: a standing lapses at %s", i, at)
				}
				if v.Last != before.Last && !v.Since.Equal(now) || v.Last == before.Last && !v.Since.Equal(before.Since) {
					t.Fatalf("step %d: since %s", i, v.Since)
				}
			}
		})
	}
}

// With one region, or three and more, what is confirmed is the verdict, always.
func TestConfirmedIsTheVerdict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 3, 4, 5}).Draw(t, "regions")
		p := Policy{Rule: rapid.SampledFrom([]Rule{Majority, Strict}).Draw(t, "rule")}
		var v Verdict
		for i := range rapid.IntRange(1, 20).Draw(t, "steps") {
			b := Ballot{}
			for r := range n {
				b.Voters = append(b.Voters, genVoter(string(rune('a'+r))).Draw(t, "voter"))
				b.Voters[r].Registered, b.Voters[r].NoSeat = true, false
			}
			now := epoch.Add(time.Duration(i) * time.Minute)
			if d := Decide(b, p, now); rapid.Bool().Draw(t, "held") && !d.Confirms() {
				v = Hold(v, d, 1, now)
			} else {
				v = Update(v, d, now)
			}
			if v.Confirmed != nil {
				t.Fatalf("step %d: %s", i, shown(v))
			}
		}
	})
}

func TestVerdictContinues(t *testing.T) {
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	before := Verdict{
		Last: regions.Unhealthy, Since: at(0), Confirmed: &regions.Standing{Verdict: regions.Healthy, Since: at(1), Restored: true},
		Regions: []RegionStanding{{"a", regions.Standing{Verdict: regions.Healthy, Since: at(2)}}},
	}
	// Another controller's word for the same, a little apart.
	v := Verdict{
		Quorum: regions.Unhealthy, Last: regions.Unhealthy, Since: at(60), Confirmed: &regions.Standing{Verdict: regions.Healthy, Since: at(3), Restored: true},
		Regions: []RegionStanding{{"a", regions.Standing{Verdict: regions.Healthy, Since: at(60)}}, {"b", regions.Standing{Verdict: regions.Healthy, Since: at(60)}}},
	}
	got := v.Continue(before)
	if !got.Since.Equal(at(0)) || !got.Confirmed.Since.Equal(at(1)) || !got.Regions[0].Since.Equal(at(2)) || !got.Regions[1].Since.Equal(at(60)) || got.Quorum != v.Quorum {
		t.Errorf("%+v", got)
	}
	if !v.Regions[0].Since.Equal(at(60)) || !v.Confirmed.Since.Equal(at(3)) {
		t.Error("it wrote to what went in")
	}
	// Another recovery is news.
	if v.Confirmed.Since = at(60); !v.Continue(before).Confirmed.Since.Equal(at(60)) {
		t.Error("a recovery of its own has the time of another")
	}
	if got := (Verdict{Quorum: regions.Unknown}).Continue(before); got.Last != regions.Unhealthy || got.Confirmed == nil {
		t.Errorf("a verdict that was never passed: %+v", got)
	}
}

func genStanding(t *rapid.T) regions.Standing {
	s := regions.Standing{Verdict: rapid.SampledFrom([]regions.Status{regions.Unknown, regions.Healthy, regions.Unhealthy}).Draw(t, "standing")}
	s.Restored = s.Verdict == regions.Healthy && rapid.Bool().Draw(t, "restored")
	return s
}

// genVerdict draws verdicts as they can be, and so that equal ones occur.
func genVerdict(t *rapid.T) Verdict {
	s := genStanding(t)
	v := Verdict{Last: s.Verdict, Restored: s.Restored, Guard: rapid.Uint64Range(0, 2).Draw(t, "guard"), Wavering: rapid.Bool().Draw(t, "wavering")}
	if rapid.Bool().Draw(t, "has confirmed") {
		c := genStanding(t)
		v.Confirmed = &c
	}
	for _, region := range []string{"a", "b"} {
		if rapid.Bool().Draw(t, "has region") {
			v.Regions = append(v.Regions, RegionStanding{region, genStanding(t)})
		}
	}
	return v
}

// Whatever two controllers remember of a target, once they hear the same for
// StandsFor they hold the same of every region, and so the same digest, where the
// agents can tell the verdict and what is confirmed.
func TestWhatIsRememberedLapses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := genVerdict(t), genVerdict(t)
		now := epoch.Add(time.Hour)
		b := ballot(rapid.SampledFrom([]string{
			"H H H", "U H H", "- U U", "? H H", "! H H", "x U U", "HU H H", "H- U U", "H. U U", "H H", "U", "H H H - U", "U ? U U -",
		}).Draw(t, "ballot"))
		for i := range b.Voters {
			b.Voters[i].Since, b.Voters[i].QuietSince = now, now
		}
		one := []Verdict{Update(v, Decide(b, Policy{}, now), now), Update(w, Decide(b, Policy{}, now), now)}
		d := Decide(b, Policy{}, now.Add(StandsFor))
		var digests []Digest
		for _, v := range one {
			if at := v.Lapses(d); !at.IsZero() && !at.Equal(now.Add(StandsFor)) {
				t.Fatalf("%s lapses at %s", shown(v), at)
			}
			digests = append(digests, Digest(0).AddVerdict("t", Update(v, d, now.Add(StandsFor))))
		}
		if digests[0] != digests[1] {
			t.Fatalf("%s and %s have other digests", shown(Update(one[0], d, now.Add(StandsFor))), shown(Update(one[1], d, now.Add(StandsFor))))
		}
	})
}

// Digests tell verdicts apart that do not stand alike but for what is restored,
// and only those.
func TestSameIsEqualDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := genVerdict(t), genVerdict(t)
		if rapid.Bool().Draw(t, "alike") {
			w = v
			w.Since, w.Regions = epoch, slices.Clone(v.Regions)
			if w.Confirmed == nil {
				c := v.Standing()
				w.Confirmed = &c
			}
		}
		a, b := Digest(0).AddVerdict("t", v), Digest(0).AddVerdict("t", w)
		if v.Same(w) && a != b || unrestored(v).Same(unrestored(w)) != (a == b) || v.Same(w) != w.Same(v) {
			t.Fatalf("%s and %s: same %t, digests %s and %s", shown(v), shown(w), v.Same(w), a, b)
		}
		if got := a.ReplaceVerdict("t", v, w); got != b {
			t.Fatalf("replaced: %s, want %s", got, b)
		}
		if got := a.AddVerdict("u", w).RemoveVerdict("t", v).RemoveVerdict("u", w); got != 0 {
			t.Fatalf("of nothing: %s", got)
		}
	})
}

// unrestored is a verdict without what is one of its times.
func unrestored(v Verdict) Verdict {
	v.Restored = false
	if v.Confirmed != nil {
		c := *v.Confirmed
		c.Restored = false
		v.Confirmed = &c
	}
	v.Regions = slices.Clone(v.Regions)
	for i := range v.Regions {
		v.Regions[i].Restored = false
	}
	return v
}

func TestDigestOfAPlainVerdictIsItsPair(t *testing.T) {
	for _, last := range []regions.Status{regions.Unknown, regions.Healthy, regions.Unhealthy} {
		if a, b := Digest(0).AddVerdict("t", Verdict{Last: last}), Digest(0).Add("t", last); a != b {
			t.Errorf("%s: %s, want %s", last, a, b)
		}
	}
	latches := []regions.Latch{{Service: "s", Region: "a", Trip: 1}, {Service: "s", Region: "b", Trip: 1}}
	d := Digest(7).ReplaceLatches(nil, latches)
	if d == 7 || d == Digest(7).AddLatch(latches[0]) || d.ReplaceLatches(latches, latches[:1]) != Digest(7).AddLatch(latches[0]) {
		t.Error("latches are not in the digest as they should")
	}
	latches[0].Trip++
	if d == Digest(7).ReplaceLatches(nil, latches) {
		t.Error("another trip is the same digest")
	}
}
