// Package seats says which agents probe a target when its check wants K of N of
// them. Every controller and whoever explains one calls it, so it must give equal
// seats everywhere and in every version: its hash is written out here.
//
// It is pure and imports the standard library only. Its data are the registered
// agents (configuration) and who of them is silent (the controller's streams).
package seats

import (
	"cmp"
	"slices"
)

// Agent is a registered vantage. Names are unique.
type Agent struct{ Name, Region string }

// Of returns the agents that have a seat for a target, sorted by name. With k ≤ 0,
// and with k or fewer agents, all of them have one. absent (nil: nobody is) tells
// which agents have been silent for too long.
//
// A target gets min(k, regions) of the *registered* regions, by rendezvous hash
// of target and region. The seats go round over these regions in that order, each
// giving as many as it has registered agents, until there are k. Within a region
// they go to the agents by rendezvous hash of target and agent, those that are not
// absent first:
//
//	a region has          its seats
//	--------------------  --------------------------------------------------------
//	as many agents there  go to the first of them
//	too few               to all of them; the rest stays with absent ones and is
//	                      thereby empty: they vote UNKNOWN
//	none                  all empty; no other region takes over, so that silence
//	                      changes neither which regions vote nor how many
//
// So an agent that comes, goes or falls silent moves no seat but its own: one
// registered agent less takes at most one seat to another agent, one that is
// silent hands its seats to agents of its own region only.
func Of(target string, k int, agents []Agent, absent func(name string) bool) []string {
	if k <= 0 || k >= len(agents) {
		names := make([]string, len(agents))
		for i, a := range agents {
			names[i] = a.Name
		}
		slices.Sort(names)
		return names
	}
	var room [64]candidate
	candidates := room[:0]
	seed := text(offset, target)
	for i := range agents {
		a := &agents[i]
		candidates = append(candidates, candidate{
			agent: a, region: mix(text(seed, a.Region)), score: mix(text(seed, a.Name)),
			absent: absent != nil && absent(a.Name),
		})
	}
	slices.SortFunc(candidates, candidate.compare)
	return seat(candidates, k)
}

// seat goes round over the regions until k candidates, which are sorted, are seated.
func seat(candidates []candidate, k int) []string {
	names := make([]string, 0, k)
	for round := 0; len(names) < k; round++ {
		for start := 0; start < len(candidates) && len(names) < k; {
			end := start + 1
			for end < len(candidates) && candidates[end].agent.Region == candidates[start].agent.Region {
				end++
			}
			if start+round < end {
				names = append(names, candidates[start+round].agent.Name)
			}
			start = end
		}
	}
	slices.Sort(names)
	return names
}

// candidate is an agent with what it is ranked by for one target.
type candidate struct {
	agent         *Agent
	region, score uint64
	absent        bool
}

// compare sorts regions by hash, highest first, and the agents of each: those
// that are there first, then by hash. Names decide between equal hashes.
func (a candidate) compare(b candidate) int {
	if c := cmp.Or(cmp.Compare(b.region, a.region), cmp.Compare(a.agent.Region, b.agent.Region)); c != 0 {
		return c
	}
	if a.absent != b.absent {
		if a.absent {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.agent.Name, b.agent.Name))
}

// offset and prime are those of FNV-1a with 64 bits.
const (
	offset uint64 = 14695981039346656037
	prime  uint64 = 1099511628211
)

// text takes a string and an end mark, which no name contains, into a hash.
func text(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime
	}
	return (h ^ 0xff) * prime
}

// mix is the finalizer of SplitMix64. FNV alone leaves the high bits, by which
// scores are compared, too much alike for names that differ at the end.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
