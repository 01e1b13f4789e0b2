// Package probes is the agent: it probes what the controllers assign, makes
// opinions of it and streams them to every controller.
//
//	assignments ─▶ schedule ─▶ check ─▶ health.Step ─▶ book of opinions ─▶ a stream
//	(newest        (when)      (once)   (rise, fall)   (what changed)      to each
//	 generation)                                                           controller
//
// The streams are independent: one controller that is down, slow or paused
// delays nothing for the others. With all of them gone the agent goes on probing
// what it was assigned last, and has its opinions ready when one is back.
//
// It imports regions, regions/health, the generated proto code and gRPC; neither
// controller nor authdns. Its data come from the controllers (assignments) and
// from the targets themselves.
package probes
