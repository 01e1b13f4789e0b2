package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dev starts `fairlead dev` and returns it with what it printed when ready.
func dev(t *testing.T, data string) (p *process, printed string, dns []int) {
	t.Helper()
	ps := ports(t, 6)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ps[i]) }
	args := []string{"dev", "--dns", at(0), "--grpc", at(1), "--http", at(2), "--nameserver-grpc", at(3), "--nameserver-http", at(4), "--sample-port", fmt.Sprint(ps[5])}
	if data != "" {
		args = append(args, "--data", data)
	}
	began := time.Now()
	p = start(t, "fairlead", args...)
	eventually(t, 20*time.Second, "fairlead dev", func() bool {
		select {
		case <-p.done:
			t.Fatalf("ended: %v\n%s", p.err, p.log)
		default:
		}
		return strings.Contains(p.log.String(), "/recover")
	})
	t.Logf("ready %v after the start", time.Since(began).Round(time.Millisecond))
	return p, p.log.String(), ps
}

// shell runs a line that dev printed, as a person would.
func shell(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.Command("bash", "-c", line)
	cmd.Env = append(os.Environ(), append(ours(), "PATH="+programs+":"+os.Getenv("PATH"))...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

// What dev prints works as printed.
func TestDevDoesWhatItPrints(t *testing.T) {
	p, printed, ps := dev(t, "")
	var lines []string
	for _, l := range regexp.MustCompile(`(?m)^  (dig|fairlead|curl) .*$`).FindAllString(printed, -1) {
		lines = append(lines, strings.TrimSpace(l))
	}
	if len(lines) != 10 {
		t.Fatalf("%d commands in\n%s", len(lines), printed)
	}
	america, europe, asia := shell(t, lines[0]), shell(t, lines[1]), shell(t, lines[2])
	if america != "127.0.20.1" || europe != "127.0.10.1" || asia != "127.0.30.1" {
		t.Errorf("America %q, Europe %q, Asia %q", america, europe, asia)
	}
	shell(t, lines[3]) // drain, and wait for the nameserver
	if got := shell(t, lines[1]); got != america {
		t.Errorf("Europe is drained: %q, want %q", got, america)
	}
	if why := shell(t, lines[4]); !strings.Contains(why, "try it") || !strings.Contains(why, "drain") {
		t.Errorf("explain does not tell of the drain:\n%s", why)
	}
	shell(t, lines[5]) // undrain
	eventually(t, 2*time.Second, "Europe to be back", func() bool { return shell(t, lines[1]) == europe })

	began := time.Now()
	shell(t, lines[6]) // fail
	eventually(t, 4*time.Second, "the failover", func() bool { return shell(t, lines[1]) == america })
	over := time.Since(began)
	if status := shell(t, lines[7]); !strings.Contains(status, "eu-1") {
		t.Errorf("status does not name the endpoint:\n%s", status)
	}
	began = time.Now()
	shell(t, lines[8]) // recover
	eventually(t, 10*time.Second, "the failback", func() bool { return shell(t, lines[1]) == europe })
	t.Logf("checks every 1s, timeout 500ms, rise 2, fall 2: failover after %v, failback after %v", over.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))

	if replay := shell(t, lines[9]); !strings.Contains(replay, "eu-1 web@127.0.10.1  configured") || !strings.Contains(replay, "asked for      2     4") {
		t.Errorf("the replay does not tell of the failure:\n%s", replay)
	}

	for _, q := range [][2]string{{"nothing.example.test", "NXDOMAIN"}, {"www.elsewhere.test", "REFUSED"}} {
		if out, _ := digTry(ps[0], q[0]); !strings.Contains(out, "status: "+q[1]) {
			t.Errorf("%s: want %s\n%s", q[0], q[1], out)
		}
	}
	if took := p.stop(os.Interrupt); took > 2*time.Second {
		t.Errorf("took %v to end", took)
	}
	if p.err != nil {
		t.Errorf("ended with %v", p.err)
	}
	for _, port := range ps[:5] {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Errorf("left running: %v", err)
			continue
		}
		l.Close()
	}
}

// With --data a drain survives the end of everything; without the flag's
// directory nothing is left behind.
func TestDevKeepsItsData(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p, printed, _ := dev(t, data)
	drain := regexp.MustCompile(`(?m)^  (fairlead region drain .*)$`).FindStringSubmatch(printed)[1]
	shell(t, drain)
	p.stop(syscall.SIGTERM)

	p, printed, _ = dev(t, data)
	europe := regexp.MustCompile(`(?m)^  (dig .*193\.0\.6\.0.*?) +#`).FindStringSubmatch(printed)[1]
	if got := shell(t, europe); got != "127.0.20.1" {
		t.Errorf("the drain is gone: Europe gets %q", got)
	}
	p.stop(syscall.SIGTERM)

	p, printed, _ = dev(t, "")
	temporary := regexp.MustCompile(`(?m)^  data +(\S+),`).FindStringSubmatch(printed)[1]
	if _, err := os.Stat(temporary); err != nil {
		t.Error(err)
	}
	p.stop(os.Interrupt)
	if _, err := os.Stat(temporary); !os.IsNotExist(err) {
		t.Errorf("%s is left behind (%v)", temporary, err)
	}
}

func TestDevNamesATakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	if out := run(t, 1, "dev", "--grpc", addr, "--dns", "127.0.0.1:0", "--http", "127.0.0.1:0"); !strings.Contains(out, "--grpc "+addr) || !strings.Contains(out, "in use") {
		t.Errorf("want port and flag in %q", out)
	}
}

// One's own resources instead of the sample; mistakes in them with file and line.
func TestDevOwnResources(t *testing.T) {
	file := write(t, "own.yaml", "apiVersion: fairlead/v1\nkind: Region\nmetadata: {name: here}\nspec: {latitude: 91, longitude: 0}\n")
	ps := ports(t, 5)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ps[i]) }
	out := run(t, 1, "dev", "-f", file, "--dns", at(0), "--grpc", at(1), "--http", at(2), "--nameserver-grpc", at(3), "--nameserver-http", at(4))
	if !strings.Contains(out, "own.yaml:4:") || !strings.Contains(out, "latitude") {
		t.Errorf("want file, line and field in %q", out)
	}
}
