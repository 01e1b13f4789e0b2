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
//	session, throttle   a stream: what it may send, what it is sent
//	hear, vantage       who is fresh; opinions into slots, a row a target
//	decide              what is dirty: sights, isolation, ballots, verdicts
//	pulse, cpu, pace    whether the process stood still; when to settle
//	guard, steps        losses that are not confirmed: held or passed
//	latches             regions of services that wait for a release
//	seed                what nameservers and the checkpoint know
//	duties              who probes what
//	state, events       what others see; history asks agents
//
// What is remembered is told to whoever starts later: verdicts with their
// standings, holds and latches come back as seeds. What a ballot needs is in the
// opinions. So two controllers that hear the same are in the same state, with the
// same digest, whatever they heard before: a region that cannot tell has no
// standing of its own for longer than health.StandsFor, and what is restored is one
// of the times, which a digest does not cover. Only where nobody can tell the
// verdict, or what is confirmed, does each keep what it knew last.
//
// It imports regions, regions/health, the generated proto code and gRPC; not
// probes, authdns or the store. Its data come from agents, plans and seeds only.
package verdicts
