// Package e2e looks at Fairlead as a black box: the built programs as their
// own processes, a real etcd, real dig, and HTTP services that are made to fail.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// programs is the directory with the built programs and etcd.
var programs string

func TestMain(m *testing.M) {
	if addr := os.Getenv(serviceAddr); addr != "" {
		fmt.Fprintln(os.Stderr, runService(addr))
		os.Exit(1)
	}
	os.Exit(func() int {
		if programs = os.Getenv(inside); programs != "" {
			return m.Run()
		}
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
	// Whatever FAIRLEAD_CONFIG is for whoever runs the tests, it is this here: an
	// empty file of contexts for fairlead, and of options for the programs.
	if err := os.WriteFile(filepath.Join(dir, "no-contexts.yaml"), nil, 0o600); err != nil {
		return "", err
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

// start runs a program until the test ends. What it printed is shown when the
// test failed.
func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	return startIn(t, nil, outside, program, args...)
}

// startIn is start in a region of a world.
func startIn(t *testing.T, w *world, region int, program string, args ...string) *process {
	t.Helper()
	name := program
	if i := slices.Index(args, "--name"); i >= 0 && i+1 < len(args) {
		name += " " + args[i+1]
	}
	return launch(t, name, w.in(region, filepath.Join(programs, program), args...))
}

func launch(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: cmd, log: &output{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.Env = append(os.Environ(), append(cmd.Env, ours()...)...)
	// A child outlives no test run, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, p.log)
		}
	})
	return p
}

// ours is the environment that has nothing of whoever runs the tests in it.
func ours() []string {
	return []string{"NO_COLOR=1", "FAIRLEAD_CONFIG=" + filepath.Join(programs, "no-contexts.yaml"), "XDG_CACHE_HOME=" + filepath.Join(programs, "cache")}
}

// kill ends the process at once, as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// running tells whether it has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
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

func digTry(port int, args ...string) (string, error) { return digAt("127.0.0.1", port, args...) }

func digAt(server string, port int, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all := append([]string{"@" + server, "-p", fmt.Sprint(port), "+tries=1", "+time=2", "+nocookie"}, args...)
	out, err := exec.CommandContext(ctx, "dig", all...).CombinedOutput()
	return string(out), err
}

// run runs the CLI and returns what it printed; it must exit with code.
func run(t *testing.T, code int, args ...string) string {
	t.Helper()
	began := time.Now()
	got, out, err := runTry(args...)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Logf("fairlead %s took %v", strings.Join(args, " "), took.Round(time.Millisecond))
	}
	if got != code {
		t.Fatalf("fairlead %s: exit %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	return out
}

// runTry runs the CLI and returns how it ended and what it printed.
func runTry(args ...string) (code int, out string, err error) {
	cmd := exec.Command(filepath.Join(programs, "fairlead"), args...)
	cmd.Env = append(os.Environ(), ours()...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), string(text), nil
	}
	return 0, string(text), err
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
