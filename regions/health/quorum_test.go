package health

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
)

// ballot reads "HU? H- H!": regions a, b, c separated by blanks; in each one
// letter a vantage: Healthy, Unhealthy, ? unknown, - silent, . awaited, ! an
// isolated one that says UNHEALTHY, x one that says so itself, D a HEALTHY one that is damped for another
// minute, w a HEALTHY one that wavers, h and u unregistered, s and t healthy and
// unhealthy without a seat.
func ballot(s string) Ballot {
	var b Ballot
	region := 'a'
	for i, c := range s {
		v := Voter{Agent: fmt.Sprintf("agent-%02d", i), Region: string(region), Registered: true}
		switch c {
		case ' ':
			region++
			continue
		case 'H':
			v.Status = regions.Healthy
		case 'U':
			v.Status = regions.Unhealthy
		case 'D':
			v.Status, v.Since, v.Transitions = regions.Healthy, epoch.Add(-time.Minute), 8
		case 'w':
			v.Status, v.Wavering = regions.Healthy, true
		case 'h':
			v.Status, v.Registered = regions.Healthy, false
		case 'u':
			v.Status, v.Registered = regions.Unhealthy, false
		case 's':
			v.Status, v.NoSeat = regions.Healthy, true
		case 't':
			v.Status, v.NoSeat = regions.Unhealthy, true
		case '-':
			v.Status, v.Absent = regions.Unhealthy, "not connected"
		case '.':
			v.Absent, v.Awaited = "not connected", true
		case '!':
			v.Status, v.Isolated = regions.Unhealthy, "contradicted"
		case 'x':
			v.Status, v.Isolated, v.Blind = regions.Unhealthy, "no reference answers", true
		}
		b.Voters = append(b.Voters, v)
	}
	return b
}

func TestDecide(t *testing.T) {
	for _, tc := range []struct {
		ballot string
		want   regions.Status
		reason string
	}{
		{"", regions.Unknown, "no region has a registered agent"},
		{"u", regions.Unknown, "no region has a registered agent"},
		{"H", regions.Healthy, "1 of 1 regions say HEALTHY, 0 UNHEALTHY and 0 cannot tell"},
		{"U", regions.Unhealthy, "1 of 1 regions say UNHEALTHY, 0 HEALTHY and 0 cannot tell"},
		{"-", regions.Unknown, "no status has the 1 regions it needs: of 1, 0 say HEALTHY, 0 UNHEALTHY and 1 cannot tell"},
		{"H H", regions.Healthy, ""},
		{"H U", regions.Unknown, ""},
		// One of two regions is silent as a whole.
		{"U -", regions.Unhealthy, "of 2 regions one says UNHEALTHY, and nobody is heard in the other: not confirmed"},
		{"- H", regions.Healthy, ""},
		{"U !", regions.Unknown, ""},
		{"U x", regions.Unhealthy, ""},
		{"U x?", regions.Unknown, ""},
		{"U ?", regions.Unknown, ""},
		{"U -?", regions.Unknown, ""},
		{"UU --", regions.Unhealthy, ""},
		{"UUU --", regions.Unhealthy, ""},
		{"U --", regions.Unknown, ""}, // a third of the agents
		{"U- --", regions.Unknown, ""},
		{"- -", regions.Unknown, ""},
		{"U .", regions.Unknown, ""}, // too early to call it silent
		{"U -t", regions.Unhealthy, ""},
		{"U -u", regions.Unhealthy, ""},
		{"H H U", regions.Healthy, ""},
		{"U U H", regions.Unhealthy, "2 of 3 regions say UNHEALTHY, 1 HEALTHY and 0 cannot tell"},
		{"U U -", regions.Unhealthy, ""},
		{"U - -", regions.Unknown, ""},
		{"- - -", regions.Unknown, ""},
		{"? ? U", regions.Unknown, ""},
		{"U U H H", regions.Unknown, ""},
		{"U U U H", regions.Unhealthy, ""},
		// Regions vote, not agents.
		{"UUUUU H H", regions.Healthy, ""},
		// Within a region the silent count in the denominator.
		{"U-", regions.Unknown, ""},
		{"U?", regions.Unknown, ""},
		{"UU-", regions.Unhealthy, ""},
		{"UH", regions.Unknown, ""},
		{"UU!", regions.Unhealthy, ""},
		{"U!", regions.Unknown, ""},
		{"U! H- H-", regions.Unknown, ""},
		// A damped recovery counts as UNHEALTHY.
		{"D", regions.Unhealthy, ""},
		{"D H H", regions.Healthy, ""},
		{"D D H", regions.Unhealthy, ""},
		// Who has no seat is not asked.
		{"Uss", regions.Unhealthy, ""},
		{"U-- U-- U--", regions.Unknown, ""},
		// The unregistered are nobody, and make no region.
		{"H u u", regions.Healthy, ""},
		{"Uhhh", regions.Unhealthy, ""},
	} {
		t.Run(tc.ballot, func(t *testing.T) {
			d := Decide(ballot(tc.ballot), Policy{}, epoch)
			if d.Status != tc.want {
				t.Errorf("%s: %s, want %s", d.Status, d.Reason(), tc.want)
			}
			if tc.reason != "" && d.Reason() != tc.reason {
				t.Errorf("reason %q, want %q", d.Reason(), tc.reason)
			}
		})
	}
}

func TestDecideByRule(t *testing.T) {
	strict, anyone := Policy{Rule: Strict}, Policy{Rule: AnyHealthy}
	least := func(k int) Policy { return Policy{Rule: AtLeast, UnhealthyRegions: k} }
	for _, tc := range []struct {
		ballot    string
		policy    Policy
		want      regions.Status
		confirmed regions.Status
	}{
		{"U -", strict, regions.Unknown, regions.Unknown},
		{"U U", strict, regions.Unhealthy, regions.Unhealthy},
		{"U U H", strict, regions.Unhealthy, regions.Unhealthy},

		{"", anyone, regions.Unknown, regions.Unknown},
		{"H U U", anyone, regions.Healthy, regions.Unhealthy},
		{"U U U", anyone, regions.Unhealthy, regions.Unhealthy},
		{"U U -", anyone, regions.Unknown, regions.Unhealthy},
		{"U -", anyone, regions.Unknown, regions.Unknown},
		{"H -", anyone, regions.Healthy, regions.Unknown},

		{"U H H", least(1), regions.Unhealthy, regions.Healthy},
		{"H H -", least(1), regions.Unknown, regions.Healthy},
		{"H H H", least(1), regions.Healthy, regions.Healthy},
		{"U H H", least(2), regions.Healthy, regions.Healthy},
		{"U U H", least(2), regions.Unhealthy, regions.Unhealthy},
		{"U U H", least(3), regions.Healthy, regions.Unhealthy},
		{"U U U", least(3), regions.Unhealthy, regions.Unhealthy},
		{"U U", least(9), regions.Unhealthy, regions.Unhealthy}, // more than there are: all
		{"U H", least(9), regions.Healthy, regions.Unknown},
		{"U U H", least(0), regions.Unhealthy, regions.Unhealthy}, // not stated: more than half
		{"", least(1), regions.Unknown, regions.Unknown},

		{"U -", Policy{}, regions.Unhealthy, regions.Unknown},
		{"U", Policy{}, regions.Unhealthy, regions.Unhealthy},
	} {
		d := Decide(ballot(tc.ballot), tc.policy, epoch)
		if d.Status != tc.want || d.Confirmed != tc.confirmed {
			t.Errorf("%q by %s %d: %s, confirmed %s (%s); want %s, %s", tc.ballot, tc.policy.Rule, tc.policy.UnhealthyRegions,
				d.Status, d.Confirmed, d.Reason(), tc.want, tc.confirmed)
		}
		if one := d.OneSided; one != (tc.policy.Rule == Majority && tc.ballot == "U -") {
			t.Errorf("%q by %s: one-sided is %t", tc.ballot, tc.policy.Rule, one)
		}
	}
	for ballot, want := range map[string]string{
		"H U U": "1 of 3 regions say HEALTHY, 2 UNHEALTHY and 0 cannot tell, which is enough by the rule any-healthy",
		"U -":   "HEALTHY needs one region and UNHEALTHY all 2: of 2, 0 say HEALTHY, 1 UNHEALTHY and 1 cannot tell",
	} {
		if got := Decide(ballotOf(ballot), anyone, epoch).Reason(); got != want {
			t.Errorf("%q: %q, want %q", ballot, got, want)
		}
	}
	if got, want := Decide(ballot("U H - -"), least(2), epoch).Reason(),
		"UNHEALTHY needs 2 regions and HEALTHY 3: of 4, 1 say HEALTHY, 1 UNHEALTHY and 2 cannot tell"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func ballotOf(s string) Ballot { return ballot(s) }

func TestDecideSaysWhyNot(t *testing.T) {
	got := Decide(ballot("H?-s!D u x"), Policy{}, epoch)
	want := []Vote{
		{Agent: "agent-00", Region: "a", Status: regions.Healthy, Counted: true, CountedAs: regions.Healthy},
		{Agent: "agent-01", Region: "a", WhyNot: WhyNotDefinite},
		{Agent: "agent-02", Region: "a", Status: regions.Unhealthy, WhyNot: "not connected"},
		{Agent: "agent-03", Region: "a", Status: regions.Healthy, WhyNot: WhyNotSeated},
		{Agent: "agent-04", Region: "a", Status: regions.Unhealthy, WhyNot: "isolated: contradicted"},
		{Agent: "agent-05", Region: "a", Status: regions.Healthy, Since: epoch.Add(-time.Minute), Transitions: 8, Counted: true, CountedAs: regions.Unhealthy},
		{Agent: "agent-07", Region: "b", Status: regions.Unhealthy, WhyNot: WhyNotRegistered},
		{Agent: "agent-09", Region: "c", Status: regions.Unhealthy, WhyNot: "isolated: no reference answers"},
	}
	if diff := cmp.Diff(want, got.Votes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]RegionVote{{Region: "a", Since: epoch.Add(-time.Minute), Agents: 5, Heard: 4}, {Region: "c", Agents: 1}}, got.ByRegion); diff != "" {
		t.Error(diff)
	}
	// Eight transitions are four recoveries: two minutes, of which one is over.
	if got.Damped != 1 || !got.NextAt.Equal(epoch.Add(time.Minute)) {
		t.Errorf("%d damped until %s", got.Damped, got.NextAt)
	}
	if d := Decide(ballot("D"), Policy{}, got.NextAt); d.Status != regions.Healthy || !d.NextAt.IsZero() || d.Damped != 0 {
		t.Errorf("when the hold is over: %+v", d)
	}
	if d := Decide(ballot("D"), Policy{Damping: Damping{Off: true}}, epoch); d.Status != regions.Healthy {
		t.Errorf("without damping: %+v", d)
	}
}

// naiveDecide counts with maps and fractions, from the words of the design.
func naiveDecide(b Ballot, p Policy, now time.Time) (status, confirmed regions.Status) {
	say := map[string]map[regions.Status]float64{}
	size, agents := map[string]float64{}, 0.0
	heard := map[string]bool{}
	for _, v := range b.Voters {
		if !v.Registered || v.NoSeat {
			continue
		}
		agents++
		size[v.Region]++
		if say[v.Region] == nil {
			say[v.Region] = map[regions.Status]float64{}
		}
		switch {
		case v.Blind || v.Absent != "" && !v.Awaited:
			continue
		case v.Absent != "" || v.Isolated != "":
			heard[v.Region] = true
			continue
		}
		heard[v.Region] = true
		as := v.Status
		if as == regions.Healthy && now.Sub(v.Since) < p.Damping.Hold(v.Transitions) {
			as = regions.Unhealthy
		}
		say[v.Region][as]++
	}
	votes := map[regions.Status]float64{}
	n := float64(len(size))
	for region, of := range size {
		for _, s := range []regions.Status{regions.Healthy, regions.Unhealthy} {
			if say[region][s]/of > 0.5 {
				votes[s]++
			}
		}
	}
	for _, s := range []regions.Status{regions.Healthy, regions.Unhealthy} {
		if n > 0 && votes[s]/n > 0.5 {
			confirmed = s
		}
	}
	switch status = confirmed; p.Rule {
	case AnyHealthy:
		status = regions.Unknown
		if votes[regions.Healthy] > 0 {
			status = regions.Healthy
		} else if n > 0 && votes[regions.Unhealthy] == n {
			status = regions.Unhealthy
		}
	case AtLeast:
		k := min(float64(p.UnhealthyRegions), n)
		if k == 0 {
			k = float64(len(size)/2 + 1)
		}
		status = regions.Unknown
		if n > 0 && votes[regions.Unhealthy] >= k {
			status = regions.Unhealthy
		} else if n > 0 && n-votes[regions.Healthy] < k {
			status = regions.Healthy
		}
	case Majority:
		for region, of := range size {
			for other := range size {
				if n != 2 || status != regions.Unknown || region == other || heard[other] || of/agents < 0.5 {
					continue
				}
				for _, s := range []regions.Status{regions.Healthy, regions.Unhealthy} {
					if say[region][s]/of > 0.5 {
						status = s
					}
				}
			}
		}
	}
	return status, confirmed
}

func genVoter(region string) *rapid.Generator[Voter] {
	return rapid.Custom(func(t *rapid.T) Voter {
		isolated := rapid.SampledFrom([]string{"", "", "", "contradicted", "blind"}).Draw(t, "isolated")
		return Voter{
			Agent:      rapid.StringMatching(`[a-z]{6}`).Draw(t, "agent"),
			Region:     region,
			Registered: rapid.IntRange(0, 9).Draw(t, "registered") > 0,
			NoSeat:     rapid.IntRange(0, 9).Draw(t, "seat") == 0,
			Status:     rapid.SampledFrom([]regions.Status{regions.Unknown, regions.Healthy, regions.Unhealthy}).Draw(t, "status"),
			Since:      epoch.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "held")) * time.Second),
			Absent:     rapid.SampledFrom([]string{"", "", "", "not connected"}).Draw(t, "absent"),
			Awaited:    rapid.IntRange(0, 3).Draw(t, "awaited") == 0,
			Isolated:   isolated, Blind: isolated == "blind",
			Transitions: rapid.SampledFrom([]int{0, 0, 1, 4, 9}).Draw(t, "transitions"),
		}
	})
}

var genPolicy = rapid.Custom(func(t *rapid.T) Policy {
	return Policy{
		Rule:             rapid.SampledFrom([]Rule{Majority, Strict, AnyHealthy, AtLeast}).Draw(t, "rule"),
		UnhealthyRegions: rapid.IntRange(0, 7).Draw(t, "unhealthy regions"),
		Damping:          Damping{Off: rapid.Bool().Draw(t, "damping off")},
	}
})

var genBallot = rapid.Custom(func(t *rapid.T) Ballot {
	var b Ballot
	for i := range rapid.IntRange(0, 6).Draw(t, "regions") {
		b.Voters = append(b.Voters, rapid.SliceOfN(genVoter(string(rune('a'+i))), 0, 4).Draw(t, "voters")...)
	}
	return b
})

func TestDecideAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, p := genBallot.Draw(t, "ballot"), genPolicy.Draw(t, "policy")
		before := slices.Clone(b.Voters)
		d := Decide(b, p, epoch)
		if want, confirmed := naiveDecide(b, p, epoch); d.Status != want || d.Confirmed != confirmed {
			t.Fatalf("%s, confirmed %s (%s), the reference says %s, %s", d.Status, d.Confirmed, d.Reason(), want, confirmed)
		}
		if p.Rule <= Strict && d.Regions != 2 && d.Status != d.Confirmed {
			t.Fatalf("%s with %d regions is not what is confirmed: %s", d.Status, d.Regions, d.Confirmed)
		}
		if !slices.Equal(before, b.Voters) {
			t.Fatal("Decide wrote to its argument")
		}
		if len(d.Votes) != len(b.Voters) {
			t.Fatalf("%d votes of %d voters", len(d.Votes), len(b.Voters))
		}
		for _, v := range d.Votes {
			if v.Counted != (v.WhyNot == "") {
				t.Fatalf("counted and why not at once, or neither: %+v", v)
			}
		}
		// The order of the voters does not matter.
		other := Ballot{Voters: rapid.Permutation(b.Voters).Draw(t, "order")}
		if got := Decide(other, p, epoch); got.Status != d.Status || got.Regions != d.Regions {
			t.Fatalf("another order gives %s, not %s", got.Status, d.Status)
		}
		// Memoryless: only how long things have held counts, not the clock.
		for i := range b.Voters {
			b.Voters[i].Since = b.Voters[i].Since.Add(time.Hour)
		}
		if got := Decide(b, p, epoch.Add(time.Hour)); got.Status != d.Status || got.Damped != d.Damped {
			t.Fatalf("an hour later the same ballot gives %s, not %s", got.Status, d.Status)
		}
		// Nothing happens, but that time passes: the next decision is told.
		if !d.NextAt.IsZero() {
			for i := range b.Voters {
				b.Voters[i].Since = b.Voters[i].Since.Add(-time.Hour)
			}
			if got := Decide(b, p, d.NextAt.Add(-1)); got.Status != d.Status || got.Damped != d.Damped {
				t.Fatalf("before %s: %s, was %s", d.NextAt, got.Status, d.Status)
			}
			if got := Decide(b, p, d.NextAt); got.Damped >= d.Damped {
				t.Fatalf("at %s still %d votes are damped", d.NextAt, got.Damped)
			}
		}
	})
}

// Invariant 7: where the others agree, no single region moves the decision of
// three or more, whether it lies or is silent.
func TestOneRegionAloneMovesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		truth := rapid.SampledFrom([]regions.Status{regions.Healthy, regions.Unhealthy}).Draw(t, "truth")
		b := Ballot{Voters: rapid.SliceOfN(genVoter("odd"), 0, 5).Draw(t, "odd")}
		for i := range rapid.IntRange(2, 6).Draw(t, "others") {
			region := string(rune('a' + i))
			for j := range rapid.IntRange(1, 3).Draw(t, "agents") {
				b.Voters = append(b.Voters, Voter{
					Agent: fmt.Sprint(region, j), Region: region, Registered: true, Status: truth,
				})
			}
		}
		if d := Decide(b, Policy{}, epoch); d.Status != truth {
			t.Fatalf("%s: %s; the truth is %s", d.Status, d.Reason(), truth)
		}
	})
}

// Silence is no evidence: making any voters silent never turns one definite
// status into the other, and UNKNOWN into a definite one only where one of two
// regions falls silent as a whole. Better opinions of those who are heard never
// make the decision worse.
func TestDecideSilenceAndMonotony(t *testing.T) {
	order := map[regions.Status]int{regions.Unhealthy: 0, regions.Unknown: 1, regions.Healthy: 2}
	rapid.Check(t, func(t *rapid.T) {
		b, p := genBallot.Draw(t, "ballot"), genPolicy.Draw(t, "policy")
		if len(b.Voters) == 0 {
			return
		}
		d := Decide(b, p, epoch)
		pick := rapid.SliceOfN(rapid.Bool(), len(b.Voters), len(b.Voters)).Draw(t, "pick")
		silent := Ballot{Voters: slices.Clone(b.Voters)}
		better := Ballot{Voters: slices.Clone(b.Voters)}
		for i := range pick {
			if !pick[i] {
				continue
			}
			silent.Voters[i].Absent, silent.Voters[i].Awaited = "silent", false
			if better.Voters[i].Status == regions.Unhealthy {
				better.Voters[i].Status = regions.Unknown
			} else {
				better.Voters[i].Status = regions.Healthy
			}
		}
		s := Decide(silent, p, epoch)
		if s.Status != d.Status && s.Status != regions.Unknown && !(s.OneSided && d.Status == regions.Unknown) {
			t.Fatalf("silence turned %s into %s", d.Status, s.Status)
		}
		if s := Decide(better, Policy{Rule: p.Rule, UnhealthyRegions: p.UnhealthyRegions, Damping: Damping{Off: true}}, epoch); order[s.Status] < order[d.Status] {
			t.Fatalf("better opinions turned %s into %s", d.Status, s.Status)
		}
	})
}

func TestUpdate(t *testing.T) {
	var v Verdict
	for i, step := range []struct {
		ballot       string
		quorum, last regions.Status
		since        int
	}{
		{"- - -", regions.Unknown, regions.Unknown, -1},
		{"H H -", regions.Healthy, regions.Healthy, 1},
		{"H H H", regions.Healthy, regions.Healthy, 1},
		{"- - -", regions.Unknown, regions.Healthy, 1},
		{"U - -", regions.Unknown, regions.Healthy, 1},
		{"U U -", regions.Unhealthy, regions.Unhealthy, 5},
		{"U H -", regions.Unknown, regions.Unhealthy, 5},
		{"H H -", regions.Healthy, regions.Healthy, 7},
	} {
		now := epoch.Add(time.Duration(i) * time.Second)
		v = Update(v, Decide(ballot(step.ballot), Policy{}, epoch), now)
		if v.Quorum != step.quorum || v.Last != step.last {
			t.Errorf("step %d: quorum %s, last %s; want %s, %s", i, v.Quorum, v.Last, step.quorum, step.last)
		}
		if want := epoch.Add(time.Duration(step.since) * time.Second); step.since >= 0 && !v.Since.Equal(want) {
			t.Errorf("step %d: since %s, want %s", i, v.Since, want)
		}
	}
	if !v.Equal(v) || v.Equal(Verdict{}) {
		t.Error("Equal is wrong")
	}
}

func BenchmarkDecide(b *testing.B) {
	in := ballot("HHH HHU HU? H-- U H")
	b.ReportAllocs()
	for b.Loop() {
		Decide(in, Policy{}, epoch)
	}
}
