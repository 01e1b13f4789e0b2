package e2e

import (
	"os"
	"slices"
	"syscall"
	"testing"
)

// node is one member of a cluster: a program that is started, killed and
// started again with the same arguments.
type node struct {
	name   string
	region int
	begin  func() *process
	runs   []*process // all of them; the last one is current
}

func (n *node) start() { n.runs = append(n.runs, n.begin()) }

func (n *node) current() *process { return n.runs[len(n.runs)-1] }

func (n *node) running() bool { return len(n.runs) > 0 && n.current().running() }

func (n *node) kill() { n.current().kill() }

// freeze stops the process without its knowing, thaw lets it go on.
func (n *node) freeze(t *testing.T) { n.signal(t, syscall.SIGSTOP) }
func (n *node) thaw(t *testing.T)   { n.signal(t, syscall.SIGCONT) }

func (n *node) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := n.current().cmd.Process.Signal(sig); err != nil {
		t.Fatalf("%s: %v", n.name, err)
	}
}

// records are the log lines of all runs.
func (n *node) records() []record {
	var all []record
	for _, r := range n.runs {
		all = append(all, r.log.all()...)
	}
	return all
}

// find returns the first record that is wanted.
func (n *node) find(want func(record) bool) (record, bool) {
	all := n.records()
	if i := slices.IndexFunc(all, want); i >= 0 {
		return all[i], true
	}
	return record{}, false
}
