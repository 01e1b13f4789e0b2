// Package simulation runs the health plane as a whole in a testing/synctest
// bubble: real agents, real judges with their feeds, and real followers of
// nameservers, over real gRPC on connections in memory, under a random schedule
// of faults that a seed gives. After every step the invariants of the design are
// checked, and when all faults have healed every nameserver must come to the
// truth within a bounded simulated time.
//
//	go test ./e2e/simulation                          the usual number of seeds
//	go test ./e2e/simulation -simulation.runs=20000   as many as wanted
//	go test ./e2e/simulation -run 'TestSimulation$' -simulation.seed=17 -v
//
// What is simulated, and how:
//
//	network      connections in memory with TCP's way to fail: a direction that is cut
//	             stalls, and what is not acknowledged for a few seconds ends the
//	             connection (TCP_USER_TIMEOUT); links between regions may be slow
//	targets      endpoints that are up or down, seen through the same network: a cut
//	             path fails a check by its timeout
//	pause        nothing comes in or goes out of the process, no check ends, and what
//	             it would have sent comes late and in one piece. Its timers go on, as
//	             goroutines cannot be stopped; so a paused process is one that is
//	             cut off at its own edge and does not know it. The real SIGSTOP, where
//	             a judge notices by its pulse, is tested in controller/verdicts and
//	             by the fault suite
//	restart      all memory is lost; a nameserver keeps its files, and after a crash
//	             those that were there before it
//	region lost  every process and every endpoint in it, at once and without a word
//	clocks       an agent's wall clock in its heartbeats is wrong
//	lies         an agent reports other outcomes than it saw
//	generations  a history of drains and releases, of which each controller learns with
//	             a lag of its own; there is no etcd
//
// The seed gives the world and the schedule to the nanosecond. What the product
// draws itself (jitter, the order in which goroutines run) it does not, so a
// failure that hangs on those may take a few runs of its seed to come again.
package simulation
