// Package replay runs what vantages recorded of a target through health.Step and
// health.Decide again, under other thresholds and another quorum, and says which
// verdicts that would have given: how soon each outage would have been found, and
// which failovers would have been for nothing.
//
//	observations of all ──┬─Step─▶ opinions ─Decide, Update─▶ verdicts ──┐
//	vantages, in order    └─the last one of each─▶ the raw majority ─────┴▶ report
//
// The raw majority is the yardstick, and depends on no threshold: what the last
// observation of each vantage says, counted by regions as health.Decide counts
// (by the default rule, without damping). From it:
//
//	word            means
//	--------------  ---------------------------------------------------------------
//	raw outage      the raw majority says UNHEALTHY, until it says HEALTHY
//	outage          a raw outage that lasts for the stated time (default 10 s) or
//	                longer: a failover was worth it
//	blip            a shorter one
//	detection       from the first failing observation that led to an outage to the
//	                verdict; a vantage that had failed for longer than an interval
//	                and a timeout before the last one joined it is not the first
//	missed outage   there was no UNHEALTHY verdict during an outage
//	false failover  the verdict turned UNHEALTHY during a blip, or while there was no
//	                raw outage at all
//	undecided       a raw outage that the end of the records cuts off before the
//	                stated time: counted as neither
//
// What is replayed is the recorded rhythm: with other thresholds the vantages would
// have looked at the same moments, also where rapid confirm made them look more
// often. A vantage that recorded nothing for three intervals and a timeout counts
// as silent. Isolation of vantages and the mass-withdrawal guard are not replayed,
// since both depend on other targets, nor are failback policies: they are the
// services', and judge nothing.
//
// It is pure and deterministic. It imports the standard library, regions,
// regions/health and, to take histories off the wire, the generated proto code. Its
// data are the histories that agents keep (HistoryReply).
package replay
