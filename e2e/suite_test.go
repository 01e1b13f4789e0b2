package e2e

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An injection is a fault that can be made in a cluster, and what must come of it.
type injection struct {
	what, expected string
	inject         func(*cluster, *fault)
}

// withThree are the faults of an installation over three regions.
var withThree = []injection{
	{"three regions: one lost whole and at once", "the other nameservers answer without its endpoint, and with it when it is back", loseWhole},
	{"a region cut off from everything", "as if lost for the others; inside nothing changes, and nothing old is applied when it is back", cutOff},
	{"a region cut off from the others, not from its clients", "the others answer without its endpoint; its own nameserver goes on as before until it is back; nobody else's answers change", cutFromOthers},
	{"one-way loss: nothing reaches a region", "the same", nothingIn},
	{"one-way loss: nothing leaves a region", "the same", nothingOut},
	{"30 % loss between a region and the others", "no answer without an endpoint that works; other regions' clients see no change", someLoss},
	{"SIGSTOP, SIGCONT of a followed controller while an endpoint dies", "another's verdicts are answered by; nothing old is applied", freezeController},
	{"a lagging controller (stopped, a drain made, continued)", "the drain stays", lagController},
	{"etcd without quorum while an endpoint dies", "failover goes on; writes fail, saying why; drains work when it is back", loseQuorum},
	{"etcd compacted and defragmented while an endpoint dies", "failover and drains go on", compactEtcd},
	{"etcd out of space while an endpoint dies", "failover goes on; writes fail, saying why, and work when space is made and the alarm is off", fillEtcd},
	{"every controller killed while an endpoint dies", "answers stay; the failover comes with the controllers", killControllers},
	{"agents killed one by one", "silence flips nothing; nor does their return", killAgents},
	{"a nameserver and a controller with full disks", "they follow configuration and verdicts, and say that they cannot save; they save when there is space", fullDisk},
	{"a nameserver started from a snapshot cut at 20 offsets", "never loads what is torn, says so, answers from the one before", cutSnapshots},
	{"a certificate that expires while its nameserver runs", "warned of before; answers never stop, control does; a new one mends it", expireWhileRunning},
	{"certificates of a controller and an agent that expire while they run", "nobody lets them in anew; answers go on and change without them; new ones mend it", expireOthers},
	{"one agent's path to every endpoint broken", "it is isolated, and an event says so; no answer changes", blindAgent},
	{"a controller that the other regions' agents do not reach, while an endpoint dies", "nobody follows it, its own region's nameserver neither", deafController},
	{"every endpoint fails at once", "the service's policy for that: answers as if all were healthy", failAll},
	{"an endpoint that flaps", "a bounded number of changes", flap},
}

// withTwo are those of two regions, with a third member of etcd elsewhere.
var withTwo = []injection{
	{"two regions: the primary lost whole and at once", "active-active serves what is left; active-passive stays and says so", loseOfTwo},
	{"two regions: cut off from each other, not from their clients", "active-active: each side serves what it sees; active-passive stays", partTwo},
	{"two regions: one agent's path to every endpoint broken", "it is isolated, and an event says so; no answer changes", blindAgent},
	{"two regions: one agent dead, and the other's path to every endpoint broken", "one loss may pass; the guard holds the other, which nobody confirms and which would leave nothing, and an event says so", blindLastAgent},
	{"two regions: every endpoint fails at once", "the service's policy for that: answers as if all were healthy", failAll},
	{"two regions: SIGSTOP, SIGCONT of a followed controller while an endpoint dies", "the other's verdicts are answered by; nothing old is applied", freezeController},
	{"two regions and a witness agent in a third place: the primary lost whole and at once", "active-passive fails over too, and back", loseWithWitness},
}

// clusters makes the installations that the suites inject faults into. etcd's
// quota is small, so that it can be filled.
func clusters(t *testing.T, w *world) *cluster {
	t.Helper()
	s := shape{etcd: 3, controllers: 3, nameservers: 3, world: w, etcdArgs: []string{"--quota-backend-bytes", fmt.Sprint(etcdQuota)}}
	if w.number == 2 {
		s.controllers, s.nameservers, s.regions = 2, 2, 2
	}
	c := newCluster(t, s)
	c.every = 20 * time.Millisecond
	return c
}

// Every fault once, in network namespaces: three regions and two side by side,
// since both mostly wait.
func TestFaults(t *testing.T) {
	if os.Getenv(faultsWanted) == "" {
		t.Skipf("SKIPPED, NO FAULT WAS INJECTED: it wants root and takes minutes; make e2e-faults sets %s=1", faultsWanted)
	}
	if !isolated(t) {
		return
	}
	enter(t)
	three, two := &faultTable{began: time.Now()}, &faultTable{}
	defer func() {
		three.rows = append(three.rows, two.rows...)
		three.write(t)
	}()
	t.Run("in", func(t *testing.T) {
		for _, suite := range []struct {
			number int
			faults []injection
			table  *faultTable
		}{{3, withThree, three}, {2, withTwo, two}} {
			t.Run(strconv.Itoa(suite.number), func(t *testing.T) {
				t.Parallel()
				c := clusters(t, newWorld(t, suite.number))
				for _, i := range suite.faults {
					if wanted(i.what) {
						suite.table.fault(t, c, i.what, i.expected, i.inject)
					}
				}
			})
		}
	})
}

// wanted tells whether $FAIRLEAD_E2E_FAULTS, where it is no number, is in the
// name of a fault.
func wanted(what string) bool {
	only := os.Getenv(faultsWanted)
	_, err := strconv.Atoi(only)
	return err == nil || only == "" || strings.Contains(what, only)
}

// The same faults in random order, until the time is over: any of them may meet
// what another one has left.
func TestSoak(t *testing.T) {
	if os.Getenv(soakWanted) == "" {
		t.Skipf("SKIPPED, NO FAULT WAS INJECTED: make soak sets %s to how long it shall take", soakWanted)
	}
	lasts, err := time.ParseDuration(os.Getenv(soakWanted))
	if err != nil {
		t.Fatalf("%s: %v: want a duration, as 1h", soakWanted, err)
	}
	seed := rand.Uint64()
	if text := os.Getenv(soakSeed); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v: want the number that a run printed", soakSeed, err)
		}
	}
	if !isolated(t) {
		return
	}
	enter(t)
	end, began := time.Now().Add(lasts), time.Now()
	t.Logf("%s=%d", soakSeed, seed)
	var rows []*fault
	var both [2][]*fault
	t.Run("in", func(t *testing.T) {
		for n, number := range []int{3, 2} {
			t.Run(strconv.Itoa(number), func(t *testing.T) {
				t.Parallel()
				lot := rand.New(rand.NewPCG(seed, uint64(number)))
				faults, table := withThree, &faultTable{}
				if number == 2 {
					faults = withTwo
				}
				defer func() { both[n] = table.rows }()
				c := clusters(t, newWorld(t, number))
				for round := 1; time.Now().Before(end); round++ {
					order := slices.Clone(faults)
					lot.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
					for _, i := range order {
						if !time.Now().Before(end) {
							break
						}
						t.Logf("round %d: %s", round, i.what)
						table.fault(t, c, i.what, i.expected, i.inject)
						if t.Failed() {
							t.Fatalf("with %s=%d, in round %d, after %v: %s", soakSeed, seed, round, time.Since(began).Round(time.Second), i.what)
						}
					}
				}
			})
		}
	})
	rows = append(both[0], both[1]...)
	writeSoak(t, rows, seed, time.Since(began))
}

// writeSoak sums up a soak: a row a fault.
func writeSoak(t *testing.T, rows []*fault, seed uint64, took time.Duration) {
	var order []string
	of := map[string][]*fault{}
	for _, f := range rows {
		if len(of[f.what]) == 0 {
			order = append(order, f.what)
		}
		of[f.what] = append(of[f.what], f)
	}
	slices.Sort(order)
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults in %v, seed %d\n\n| fault | times | failed | failover median ms | max ms |\n|---|---:|---:|---:|---:|\n", len(rows), took.Round(time.Second), seed)
	for _, what := range order {
		failed, median, most := 0, "–", "–"
		var times []time.Duration
		for _, f := range of[what] {
			if slices.Contains(f.seen, failedMark) {
				failed++
			}
			if s, ok := slowest(f.splits); ok {
				times = append(times, s.all())
			}
		}
		if slices.SortFunc(times, cmp.Compare); len(times) > 0 {
			median, most = ms(times[len(times)/2]), ms(times[len(times)-1])
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %s |\n", what, len(of[what]), failed, median, most)
	}
	publishTable(t, b.String())
}
