// Package health turns observations into opinions and opinions into verdicts.
//
//	observation ──Step──▶ opinion ──Decide──▶ decision ──Update──▶ verdict
//	 one check            one vantage,        the quorum of        what answers are
//	                      rise and fall       the vantages now     made from
//
// Both ends use it: the agent steps its opinions, the controllers decide and
// the nameservers compare digests.
//
// It is pure: no network, no clock, no logging; `now` is an argument and all
// values that go in are left as they were. It imports the standard library and
// regions. Its data come from the checks of an agent (observations) and from
// the opinion streams of all agents (ballots).
package health
