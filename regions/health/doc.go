// Package health turns observations into opinions and opinions into verdicts.
//
//	observation ──Step──▶ opinion ──Decide──▶ decision ──Update──▶ verdict
//	 one check            one vantage,        the quorum of        what answers are
//	                      rise and fall       the vantages now     made from
//
// Both ends use it: the agent steps its opinions, the controllers decide and
// the nameservers compare digests.
//
// What holds of all of it is told in a table where it is decided:
//
//	Step      rise and fall of one vantage
//	Decide    regions vote, by which rule; one, two, three and more of them
//	Damping   when the recovery of a target that flaps counts
//	Isolated  when what a vantage says has no vote
//	Guard     when many losses at once are held
//	Trip      when a region waits for a person
//
// It is pure: no network, no clock, no logging; `now` is an argument and all
// values that go in are left as they were. It imports the standard library and
// regions. Its data come from the checks of an agent (observations) and from
// the opinion streams of all agents (ballots).
package health
