// Package probes is the agent: it probes what the controllers assign, makes
// opinions of it and streams them to every controller.
//
//	assignments ─▶ schedule ─▶ budget ─▶ workers ─▶ health.Step ─▶ book of opinions ─▶ a stream
//	(of each       (when)      (whether  (check)    (rise, fall)   (what changed)      to each
//	 controller)                now)        └─────▶ history of observations ─────────▶ controller
//
// The streams are independent: one controller that is down, slow or paused
// delays nothing for the others. With all of them gone the agent goes on probing
// what it was assigned last, and has its opinions ready when one is back.
//
// One goroutine owns schedule, budget and workers; it does nothing that waits. The
// book and the history are behind locks, for the streams to read.
//
// It imports regions, regions/health, the generated proto code and gRPC; neither
// controller nor authdns. Its data come from the controllers (assignments) and
// from the targets, references and fellow agents themselves.
package probes
