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
// letter a vantage: Healthy, Unhealthy, ? unknown, - silent, h and u
// unregistered.
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
		case 'h':
			v.Status, v.Registered = regions.Healthy, false
		case 'u':
			v.Status, v.Registered = regions.Unhealthy, false
		case '-':
			v.Status, v.Absent = regions.Unhealthy, "not connected"
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
		{"U -", regions.Unknown, ""},
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
		{"U-- U-- U--", regions.Unknown, ""},
		// The unregistered are nobody, and make no region.
		{"H u u", regions.Healthy, ""},
		{"Uhhh", regions.Unhealthy, ""},
	} {
		t.Run(tc.ballot, func(t *testing.T) {
			d := Decide(ballot(tc.ballot))
			if d.Status != tc.want {
				t.Errorf("%s: %s, want %s", d.Status, d.Reason(), tc.want)
			}
			if tc.reason != "" && d.Reason() != tc.reason {
				t.Errorf("reason %q, want %q", d.Reason(), tc.reason)
			}
		})
	}
}

func TestDecideSaysWhyNot(t *testing.T) {
	got := Decide(ballot("H?- u")).Votes
	want := []Vote{
		{Agent: "agent-00", Region: "a", Status: regions.Healthy, Counted: true},
		{Agent: "agent-01", Region: "a", WhyNot: WhyNotDefinite},
		{Agent: "agent-02", Region: "a", Status: regions.Unhealthy, WhyNot: "not connected"},
		{Agent: "agent-04", Region: "b", Status: regions.Unhealthy, WhyNot: WhyNotRegistered},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// naiveDecide counts with maps and fractions, from the words of the design.
func naiveDecide(b Ballot) regions.Status {
	say := map[string]map[regions.Status]float64{}
	size := map[string]float64{}
	for _, v := range b.Voters {
		if !v.Registered {
			continue
		}
		size[v.Region]++
		if say[v.Region] == nil {
			say[v.Region] = map[regions.Status]float64{}
		}
		if v.Absent == "" {
			say[v.Region][v.Status]++
		}
	}
	votes := map[regions.Status]float64{}
	for region, n := range size {
		for _, s := range []regions.Status{regions.Healthy, regions.Unhealthy} {
			if say[region][s]/n > 0.5 {
				votes[s]++
			}
		}
	}
	for _, s := range []regions.Status{regions.Healthy, regions.Unhealthy} {
		if n := float64(len(size)); n > 0 && votes[s]/n > 0.5 {
			return s
		}
	}
	return regions.Unknown
}

func genVoter(region string) *rapid.Generator[Voter] {
	return rapid.Custom(func(t *rapid.T) Voter {
		return Voter{
			Agent:      rapid.StringMatching(`[a-z]{6}`).Draw(t, "agent"),
			Region:     region,
			Registered: rapid.IntRange(0, 9).Draw(t, "registered") > 0,
			Status:     rapid.SampledFrom([]regions.Status{regions.Unknown, regions.Healthy, regions.Unhealthy}).Draw(t, "status"),
			Absent:     rapid.SampledFrom([]string{"", "", "", "not connected"}).Draw(t, "absent"),
		}
	})
}

var genBallot = rapid.Custom(func(t *rapid.T) Ballot {
	var b Ballot
	for i := range rapid.IntRange(0, 6).Draw(t, "regions") {
		b.Voters = append(b.Voters, rapid.SliceOfN(genVoter(string(rune('a'+i))), 0, 4).Draw(t, "voters")...)
	}
	return b
})

func TestDecideAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := genBallot.Draw(t, "ballot")
		before := slices.Clone(b.Voters)
		d := Decide(b)
		if want := naiveDecide(b); d.Status != want {
			t.Fatalf("%s (%s), the reference says %s", d.Status, d.Reason(), want)
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
		p := Ballot{Voters: rapid.Permutation(b.Voters).Draw(t, "order")}
		if got := Decide(p); got.Status != d.Status || got.Regions != d.Regions {
			t.Fatalf("another order gives %s, not %s", got.Status, d.Status)
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
		if d := Decide(b); d.Status != truth {
			t.Fatalf("%s: %s; the truth is %s", d.Status, d.Reason(), truth)
		}
	})
}

// Silence is no evidence: making any voters silent never turns one definite
// status into the other, and making them better never makes the decision worse.
func TestDecideSilenceAndMonotony(t *testing.T) {
	order := map[regions.Status]int{regions.Unhealthy: 0, regions.Unknown: 1, regions.Healthy: 2}
	rapid.Check(t, func(t *rapid.T) {
		b := genBallot.Draw(t, "ballot")
		if len(b.Voters) == 0 {
			return
		}
		d := Decide(b)
		pick := rapid.SliceOfN(rapid.Bool(), len(b.Voters), len(b.Voters)).Draw(t, "pick")
		silent := Ballot{Voters: slices.Clone(b.Voters)}
		better := Ballot{Voters: slices.Clone(b.Voters)}
		for i := range pick {
			if !pick[i] {
				continue
			}
			silent.Voters[i].Absent = "silent"
			if better.Voters[i].Absent != "" {
				better.Voters[i].Absent, better.Voters[i].Status = "", regions.Healthy
			} else if better.Voters[i].Status == regions.Unhealthy {
				better.Voters[i].Status = regions.Unknown
			} else {
				better.Voters[i].Status = regions.Healthy
			}
		}
		if s := Decide(silent); s.Status != d.Status && s.Status != regions.Unknown {
			t.Fatalf("silence turned %s into %s", d.Status, s.Status)
		}
		if s := Decide(better); order[s.Status] < order[d.Status] {
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
		v = Update(v, Decide(ballot(step.ballot)), now)
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
		Decide(in)
	}
}
