package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"
)

// role, in the environment, makes this program one of the processes that are
// measured. Each reads its setup and then questions from its input, as JSON, until
// that ends, and prints answers.
const role = "FAIRLEAD_BENCH_ROLE"

var roles = map[string]func(in *json.Decoder, out *json.Encoder) error{
	"controller":  runController,
	"nameservers": runNameservers,
}

// runRole is this process's role, if it has one.
func runRole() (isOne bool, err error) {
	do := roles[os.Getenv(role)]
	if do == nil {
		return false, nil
	}
	if err = do(json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)); errors.Is(err, io.EOF) {
		err = nil // whoever asked has ended
	}
	return true, err
}

// process is a process with a role, as the one that asks sees it.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.Closer
	*json.Encoder
	answers *json.Decoder
}

// startProcess starts one and tells it its setup; stop ends it.
func startProcess(o *options, name string, setup any) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), role+"="+name), o.progress
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name, cmd, in, json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))}
	if err := p.Encode(setup); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// read takes an answer.
func (p *process) read(answer any) error {
	if err := p.answers.Decode(answer); err != nil {
		return fmt.Errorf("the process of the %s: %w", p.name, err)
	}
	return nil
}

// ask asks a question and takes the answer.
func (p *process) ask(question, answer any) error {
	if err := p.Encode(question); err != nil {
		return fmt.Errorf("the process of the %s: %w", p.name, err)
	}
	return p.read(answer)
}

func (p *process) stop() {
	p.in.Close()
	_ = p.cmd.Wait()
}

// profile begins a processor profile, or ends it: empty.
func profile(path string) error {
	if path == "" {
		pprof.StopCPUProfile()
		return nil
	}
	f, err := os.Create(path) // it lasts as long as the process
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

// usage is what a process uses.
type usage struct {
	CPU time.Duration
	// Heap and stacks that are in use, and what the system has given.
	Memory, Resident float64
	At               time.Time
}

func used() usage {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), Memory: float64(m.HeapAlloc + m.StackInuse), At: time.Now()}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, resident float64
		if _, err := fmt.Sscan(string(text), &size, &resident); err == nil {
			u.Resident = resident * float64(os.Getpagesize())
		}
	}
	return u
}
