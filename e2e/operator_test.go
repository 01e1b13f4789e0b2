package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// operatorWanted names the variable that lets the operator suite run; its value
// is part of the names of the scripts that are wanted, or 1.
const operatorWanted = "FAIRLEAD_E2E_OPERATOR"

// TestOperator runs the scripts in testdata/operator, each on an installation of
// its own: what a person does in an outage, with the real programs, etcd and dig.
//
// Beside testscript's own, the commands are
//
//	cluster [etcd=N] [controllers=N] [nameservers=N] [tokens] [debug=PREFIX]   what it wants; everything is well
//	fairlead [@NAME] ARGS…        the tool, as the admin, as whose certificate is NAME's, or by a token: %NAME
//	exits CODE fairlead …         the same, that must exit with CODE
//	within DURATION fairlead …    again and again until it succeeds
//	sees REGEXP fairlead …        again and again until it prints that
//	issue ROLE NAME [FLAGS…]      make a certificate
//	token ROLE NAME [FLAGS…]      make a token, for fairlead %NAME
//	expand FILE                   put variables into a file: $HOST_eu_west, $CONTROLLER_1, …
//	answers NS CLIENT REGION…     what NS answers for clients near CLIENT, now
//	becomes NS CLIENT REGION[,REGION…] [NAME]   the same, in the end
//	adopt REASON                  let the control plane take over every break-glass record
//	dig NS ARGS…                  dig at NS
//	crash|freeze|thaw|start NODE… of a program; fail|recover REGION of a service
//	agent NAME REGION CERTIFICATE run one more agent; logged NODE TEXT waits for a line of a log
//	settled                       wait until nothing is amiss
//	clock [TEXT]                  note how long it is since the last clock
func TestOperator(t *testing.T) {
	only := os.Getenv(operatorWanted)
	if only == "" {
		t.Skipf("SKIPPED, NO SCRIPT WAS RUN: make e2e-operator sets %s=1", operatorWanted)
	}
	if _, err := strconv.Atoi(only); err == nil {
		only = ""
	}
	files, err := filepath.Glob("testdata/operator/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no script: %v", err)
	}
	book := &logbook{}
	defer book.write(t)
	t.Run("in", func(t *testing.T) {
		for _, f := range files {
			name := strings.TrimSuffix(filepath.Base(f), ".txtar")
			if !strings.Contains(name, only) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := &script{t: t, name: name, book: book, c: newCluster(t, shapeOf(t, f))}
				testscript.Run(t, testscript.Params{
					Files: []string{f}, Setup: s.setup, Cmds: s.commands(), RequireExplicitExec: true, RequireUniqueNames: true,
				})
			})
		}
	})
}

// script is one that runs.
type script struct {
	t    *testing.T
	name string
	book *logbook
	c    *cluster
	last time.Time
}

func (s *script) setup(env *testscript.Env) error {
	env.Setenv("NO_COLOR", "1")
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
	env.Setenv("FAIRLEAD_CONFIG", filepath.Join(programs, "no-contexts.yaml"))
	env.Setenv("PATH", programs+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return nil
}

func (s *script) commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"cluster":  s.cluster,
		"fairlead": s.fairlead,
		"exits":    s.exits,
		"within":   s.within,
		"sees":     s.sees,
		"issue":    s.issue,
		"expand":   s.expand,
		"answers":  s.answers,
		"becomes":  s.becomes,
		"dig":      s.dig,
		"adopt":    s.adopt,
		"token":    s.token,
		"agent":    s.agent,
		"logged":   s.logged,
		"clock":    s.clock,
		"settled":  s.settled,
		"crash":    s.nodes(func(n *node) { n.kill() }),
		"start":    s.nodes(func(n *node) { n.start() }),
		"freeze":   s.nodes(func(n *node) { n.freeze(s.t) }),
		"thaw":     s.nodes(func(n *node) { n.thaw(s.t) }),
		"fail":     s.services(true),
		"recover":  s.services(false),
	}
}

func variable(name string) string { return strings.ReplaceAll(name, "-", "_") }

// shapeOf reads the cluster that a script wants, so that it is started by the
// test itself.
func shapeOf(t *testing.T, file string) shape {
	t.Helper()
	// Checks are patient: scripts are about people, and machines stall.
	sh := shape{etcd: 1, controllers: 2, nameservers: 3, interval: time.Second, timeout: 900 * time.Millisecond}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "cluster" {
			continue
		}
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, "=")
			if key == "tokens" || key == "debug" {
				sh.tokens = sh.tokens || key == "tokens"
				if key == "debug" {
					sh.debug = value
				}
				continue
			}
			number, known := map[string]*int{"etcd": &sh.etcd, "controllers": &sh.controllers, "nameservers": &sh.nameservers}[key]
			n, err := strconv.Atoi(value)
			if !known || err != nil {
				t.Fatalf("%s: cluster %s: want etcd=N, controllers=N, nameservers=N, tokens or debug=PREFIX", file, w)
			}
			*number = n
		}
	}
	return sh
}

// cluster tells the script where everything is.
func (s *script) cluster(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("PKI", s.c.pki)
	// For what runs in the background, which is testscript's exec.
	ts.Setenv("FAIRLEAD_TLS_CERT", filepath.Join(s.c.pki, admin+".crt"))
	ts.Setenv("FAIRLEAD_TLS_KEY", filepath.Join(s.c.pki, admin+".key"))
	ts.Setenv("FAIRLEAD_TLS_CA", filepath.Join(s.c.pki, "ca.crt"))
	ts.Setenv("FAIRLEAD_CONTROLLER", s.c.allControllers())
	for i := range s.c.controllers {
		ts.Setenv(fmt.Sprintf("CONTROLLER_%d", i+1), s.c.controller(i))
	}
	for i, r := range clusterRegions {
		ts.Setenv("HOST_"+variable(r.name), s.c.host(i))
	}
	s.last = time.Now()
}

// settled waits until nothing is amiss; a drain is.
func (s *script) settled(ts *testscript.TestScript, _ bool, _ []string) {
	amiss := ""
	for end := time.Now().Add(settleLimit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if amiss = s.c.amiss(); amiss == "" {
			return
		}
	}
	ts.Fatalf("after %v still amiss: %s", settleLimit, amiss)
}

// flags adds what every call needs, unless the script says it.
func (s *script) flags(args []string) []string {
	who := admin
	if len(args) > 0 && strings.HasPrefix(args[0], "@") {
		who, args = args[0][1:], args[1:]
	}
	if len(args) > 0 && strings.HasPrefix(args[0], "%") {
		token := filepath.Join(s.c.pki, args[0][1:]+".token")
		return append(args[1:], "--tls-cert=", "--tls-key=", "--tls-ca", filepath.Join(s.c.pki, "ca.crt"), "--token-file", token, "--controller", s.c.allControllers())
	}
	out := slices.Clone(args)
	has := func(flag string) bool { return slices.Contains(args, flag) }
	if who != "" && !has("--tls-ca") && len(args) > 0 && args[0] != "pki" {
		out = s.c.tls(who, out...)
	}
	if who == "" {
		out = append(out, "--tls-cert=", "--tls-key=")
	}
	if !has("--controller") && len(args) > 0 && args[0] != "pki" {
		out = append(out, "--controller", s.c.allControllers())
	}
	return out
}

// code is how a command ended.
func code(err error) (int, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func (s *script) fairlead(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("fairlead", s.flags(args)...)
	n, err := code(err)
	ts.Check(err)
	if (n != 0) != neg {
		ts.Fatalf("exit %d", n)
	}
}

func (s *script) exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 || args[1] != "fairlead" {
		ts.Fatalf("usage: exits CODE fairlead ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got, err := code(ts.Exec("fairlead", s.flags(args[2:])...))
	ts.Check(err)
	if got != want {
		ts.Fatalf("exit %d, want %d", got, want)
	}
}

func (s *script) sees(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 || args[1] != "fairlead" {
		ts.Fatalf("usage: sees REGEXP fairlead ARGS…")
	}
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	for end := time.Now().Add(settleLimit / 2); ; time.Sleep(100 * time.Millisecond) {
		_, err := code(ts.Exec("fairlead", s.flags(args[2:])...))
		ts.Check(err)
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("after %v it does not print %q", settleLimit/2, want)
		}
	}
}

func (s *script) within(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || args[1] != "fairlead" {
		ts.Fatalf("usage: within DURATION fairlead ARGS…")
	}
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		n, err := code(ts.Exec("fairlead", s.flags(args[2:])...))
		ts.Check(err)
		if (n != 0) == neg {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("after %v still exit %d", limit, n)
		}
	}
}

func (s *script) issue(_ *testscript.TestScript, _ bool, args []string) {
	s.c.issueOne(s.c.pki, args[0], args[1], args[2:]...)
}

func (s *script) token(_ *testscript.TestScript, _ bool, args []string) {
	s.c.token(args[0], args[1], args[2:]...)
}

func (s *script) expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, f := range args {
		text := os.Expand(ts.ReadFile(f), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(f), []byte(text), 0o600))
	}
}

// of finds a nameserver and the clients near a region.
func (s *script) of(ts *testscript.TestScript, ns, region string) (int, string) {
	n, err := strconv.Atoi(strings.TrimPrefix(ns, "ns-"))
	if err != nil || n < 1 || n > len(s.c.nameservers) {
		ts.Fatalf("%q is no nameserver: want ns-1 to ns-%d", ns, len(s.c.nameservers))
	}
	return n - 1, clusterRegions[s.c.regionOf(region)].client
}

func (s *script) hosts(regions []string) string {
	var out []string
	for _, r := range regions {
		out = append(out, s.c.addressOf(r))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (s *script) ask(ns int, client, name string) (string, error) {
	out, err := digAt(s.c.host(ns), nameserverDNS, "+short", "+subnet="+client, name)
	lines := strings.Fields(out)
	slices.Sort(lines)
	return strings.Join(lines, " "), err
}

func (s *script) answers(ts *testscript.TestScript, neg bool, args []string) {
	ns, client := s.of(ts, args[0], args[1])
	got, err := s.ask(ns, client, steered)
	ts.Check(err)
	if want := s.hosts(args[2:]); (got == want) == neg {
		ts.Fatalf("%s answers %s, wanted %s", args[0], got, want)
	}
}

func (s *script) becomes(ts *testscript.TestScript, _ bool, args []string) {
	ns, client := s.of(ts, args[0], args[1])
	name, want := steered, s.hosts(strings.Split(args[2], ","))
	if len(args) > 3 {
		name = args[3]
	}
	got, err := "", error(nil)
	for end := time.Now().Add(settleLimit / 2); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got, err = s.ask(ns, client, name); err == nil && got == want {
			return
		}
	}
	ts.Fatalf("%s answers %s (%v), want %s", args[0], got, err, want)
}

func (s *script) dig(ts *testscript.TestScript, neg bool, args []string) {
	ns, _ := s.of(ts, args[0], clusterRegions[0].name)
	all := append([]string{"@" + s.c.host(ns), "-p", fmt.Sprint(nameserverDNS), "+tries=1", "+time=2", "+nocookie"}, args[1:]...)
	if err := ts.Exec("dig", all...); (err != nil) != neg {
		ts.Fatalf("dig: %v", err)
	}
}

func (s *script) node(ts *testscript.TestScript, name string) *node {
	for _, n := range s.c.everything() {
		if n.name == name {
			return n
		}
	}
	ts.Fatalf("no node %q", name)
	return nil
}

// nodes is a command about nodes; etcd-leader and etcd-follower are among them.
func (s *script) nodes(do func(*node)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		for _, name := range args {
			switch name {
			case "etcd-leader":
				do(s.c.member(true))
			case "etcd-follower":
				do(s.c.member(false))
			case "etcd":
				for _, n := range s.c.etcd {
					do(n)
				}
			case "controllers":
				for _, n := range s.c.controllers {
					do(n)
				}
			default:
				do(s.node(ts, name))
			}
		}
	}
}

func (s *script) services(fail bool) func(*testscript.TestScript, bool, []string) {
	return func(_ *testscript.TestScript, _ bool, args []string) {
		for _, r := range args {
			s.c.fails(s.c.regionOf(r), fail)
		}
	}
}

// agent runs an agent beside those that are there, with somebody's certificate.
func (s *script) agent(_ *testscript.TestScript, _ bool, args []string) {
	name, region, certificate := args[0], args[1], args[2]
	n := s.c.program(name, s.c.regionOf(region), "fairlead-probe", s.c.tls(certificate, "--name", name, "--region", region, "--log-format", "json",
		"--controllers", s.c.allControllers(), "--http", "127.0.0.1:0", "--allow-target", "127.0.0.0/8")...)
	n.start()
	s.c.agents = append(s.c.agents, n)
}

// adopt takes over what stands at the nameservers.
func (s *script) adopt(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("fairlead", s.flags([]string{"override", "list", "-o", "json"})...))
	var list struct {
		BreakGlass []struct {
			Record struct{ ID, Ended string }
		}
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &list))
	if len(list.BreakGlass) == 0 {
		ts.Fatalf("no break-glass record is listed")
	}
	for _, b := range list.BreakGlass {
		if b.Record.Ended == "" {
			ts.Check(ts.Exec("fairlead", s.flags([]string{"override", "end", b.Record.ID, "--adopt", "--reason", args[0], "--wait"})...))
		}
	}
}

func (s *script) logged(ts *testscript.TestScript, _ bool, args []string) {
	n := s.node(ts, args[0])
	for end := time.Now().Add(settleLimit / 2); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, r := range n.runs {
			if strings.Contains(r.log.String(), args[1]) {
				return
			}
		}
	}
	ts.Fatalf("%s does not say %q", args[0], args[1])
}

func (s *script) clock(ts *testscript.TestScript, _ bool, args []string) {
	now := time.Now()
	if len(args) > 0 {
		took := now.Sub(s.last)
		ts.Logf("%s: %v", args[0], took.Round(time.Millisecond))
		s.book.note(s.name, args[0], took)
	}
	s.last = now
}

// logbook is what the scripts' clocks said.
type logbook struct {
	mu   sync.Mutex
	rows []string
}

func (b *logbook) note(script, what string, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = append(b.rows, fmt.Sprintf("| %s | %s | %d |\n", script, what, took.Milliseconds()))
}

func (b *logbook) write(t *testing.T) {
	if len(b.rows) == 0 {
		return
	}
	slices.Sort(b.rows)
	var out bytes.Buffer
	out.WriteString("| script | what | ms |\n|---|---|---:|\n")
	for _, r := range b.rows {
		out.WriteString(r)
	}
	publishTable(t, out.String())
}
