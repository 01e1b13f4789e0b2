// Package e2e looks at Fairlead as a black box: the built programs as their
// own processes, a real etcd, real dig, and HTTP services that are made to fail.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// programs is the directory with the built programs and etcd.
var programs string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "fairlead-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if programs, err = build(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if _, err := exec.LookPath("dig"); err != nil {
			fmt.Fprintln(os.Stderr, "the end-to-end tests need dig (Debian: bind9-dnsutils); `make deps` installs it")
			return 1
		}
		return m.Run()
	}())
}

// build puts the programs and etcd into dir; $FAIRLEAD_BIN saves building
// the programs again.
func build(dir string) (string, error) {
	goBuild := func(out string, pkgs ...string) error {
		cmd := exec.Command("go", append([]string{"build", "-o", out}, pkgs...)...)
		cmd.Dir = ".."
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", strings.Join(pkgs, " "), err, text)
		}
		return nil
	}
	if err := goBuild(filepath.Join(dir, "etcd"), "go.etcd.io/etcd/server/v3"); err != nil {
		return "", err
	}
	if bin := os.Getenv("FAIRLEAD_BIN"); bin != "" {
		for _, p := range []string{"fairlead", "fairlead-controller", "fairlead-authdns", "fairlead-probe"} {
			if err := os.Symlink(filepath.Join(bin, p), filepath.Join(dir, p)); err != nil {
				return "", err
			}
		}
		return dir, nil
	}
	return dir, goBuild(dir+string(filepath.Separator), "./cmd/...")
}

// process is a program that runs.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  *output
	done chan struct{}
	err  error
}

// output keeps what a program prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs a program until the test ends. What it printed is shown when the
// test failed.
func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: program, log: &output{}, done: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(programs, program), args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.Env = append(os.Environ(), "NO_COLOR=1")
	// A child outlives no test run, however that ends.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s printed:\n%s", program, strings.Join(args, " "), p.log)
		}
	})
	return p
}

// kill ends the process at once, as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks it to end and returns how long that took.
func (p *process) stop(sig os.Signal) time.Duration {
	p.t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.t.Fatalf("%s did not end on %v", p.name, sig)
	}
	return time.Since(began)
}

// ports returns free TCP and UDP ports on 127.0.0.1.
func ports(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	var held []net.Listener
	for len(out) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		u.Close()
		out = append(out, port)
	}
	for _, l := range held {
		l.Close()
	}
	return out
}

// eventually waits for a condition, at most for the limit.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}

// service is an HTTP service that can be made to fail in several ways.
type service struct {
	addr    string
	failing atomic.Bool
	srv     *http.Server
}

// serve runs a service on an address until the test ends.
func serve(t *testing.T, addr string) *service {
	t.Helper()
	s := &service{addr: addr}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s.srv = &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.failing.Load() {
			http.Error(w, "failing", http.StatusServiceUnavailable)
		}
	})}
	go func() { _ = s.srv.Serve(l) }()
	t.Cleanup(func() { s.srv.Close() })
	return s
}

// dig asks the nameserver on a port of 127.0.0.1 and returns the short
// answer, lines sorted as they came.
func dig(t *testing.T, port int, args ...string) string {
	t.Helper()
	out, err := digTry(port, append([]string{"+short"}, args...)...)
	if err != nil {
		t.Fatalf("dig %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func digTry(port int, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all := append([]string{"@127.0.0.1", "-p", fmt.Sprint(port), "+tries=1", "+time=2", "+nocookie"}, args...)
	out, err := exec.CommandContext(ctx, "dig", all...).CombinedOutput()
	return string(out), err
}

// run runs the CLI and returns what it printed; it must exit with code.
func run(t *testing.T, code int, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, "fairlead"), args...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Fatalf("fairlead %s: exit %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	return string(out)
}

// write writes a file into the test's directory.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
