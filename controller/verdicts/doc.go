// Package verdicts is the judge in each controller: it takes the opinions of
// all agents, counts the quorum for every target and publishes the verdicts.
//
// Every controller judges by itself; nothing here asks another controller or
// etcd. Judge serves AgentService, where agents stream their opinions in and
// get their assignments; the planner sets the plan (what to judge, and whose
// votes count), and the feed reads states and passes on what nameservers know
// already (seeds).
//
// One goroutine, Run, owns the tally of opinions and verdicts. Streams hand it
// events through one bounded channel, so that a flood of them waits in their own
// flow control; readers get an immutable State through an atomic pointer.
//
// It imports regions, regions/health, the generated proto code and gRPC; not
// probes, authdns or the store. Its data come from agents, plans and seeds only.
package verdicts
