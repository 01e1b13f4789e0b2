package program_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead-dns/fairlead/cmd/internal/options"
	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/authdns"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/controller"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/probe"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles/authority"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

var commands = map[string]func() *cobra.Command{
	"fairlead-controller": controller.Command,
	"fairlead-authdns":    authdns.Command,
	"fairlead-probe":      probe.Command,
}

// The test binary is the programs too, so that signals and exit codes are
// those of processes.
func TestMain(m *testing.M) {
	if command := commands[os.Getenv("TEST_PROGRAM")]; command != nil {
		os.Exit(program.Main(command()))
	}
	os.Exit(m.Run())
}

// run runs a program to its end, here; env is on top of the environment.
func run(t *testing.T, name string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		old, had := os.LookupEnv(name)
		os.Setenv(name, value)
		defer func() {
			if os.Unsetenv(name); had {
				os.Setenv(name, old)
			}
		}()
	}
	var out, errs bytes.Buffer
	c := commands[name]()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&errs)
	return program.Execute(t.Context(), c), out.String(), errs.String()
}

// What a process ends with is what Execute says.
func TestExitCodes(t *testing.T) {
	for args, want := range map[string]int{"version": 0, "--name=p --region=eu-west --tls-cert=/no --tls-key=/no --tls-ca=/no": 1, "--region=eu-west": 2} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(args)...)
		cmd.Env = []string{"TEST_PROGRAM=fairlead-probe"}
		err := cmd.Run()
		if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: %d, want %d", args, got, want)
		}
	}
}

// Help says of every option what it is, and all that is not an option.
func TestHelp(t *testing.T) {
	for name, command := range commands {
		code, help, stderr := run(t, name, nil, "--help")
		if code != 0 || stderr != "" {
			t.Fatalf("%s --help: %d, %s", name, code, stderr)
		}
		for _, want := range []string{
			"Usage:\n  " + name + " --name NAME", "Example:\n  " + name + " --name", "Options:\n", "FAIRLEAD_TLS_CERT", "--check-config",
			"Signals:\n", "SIGHUP", "SIGTERM", "Exit codes:\n  0 ", "\n  1 ", "\n  2 ", "Type=notify", "/readyz", "tls-cert: /etc/", name + " version",
		} {
			if !strings.Contains(help, want) {
				t.Errorf("%s --help does not say %q", name, want)
			}
		}
		command().Flags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(help, "--"+f.Name) || f.Usage == "" {
				t.Errorf("%s --help does not explain --%s", name, f.Name)
			}
			// A variable's name instead of Go's word for a type.
			if kind, _ := pflag.UnquoteUsage(f); kind == "string" || kind == "strings" {
				t.Errorf("%s --help: --%s %s: name what it takes in `…`", name, f.Name, kind)
			}
		})
		for line := range strings.Lines(help) {
			if len(line) > 130 {
				t.Errorf("%s --help: too long: %s", name, line)
			}
		}
	}
	if _, help, _ := run(t, "fairlead-controller", nil, "-h"); !regexp.MustCompile(`(?s)--http ADDRESS.*/metrics.*/healthz.*/readyz.*REST.*/v1.*--state-dir`).MatchString(help) {
		t.Error("--http of the controller does not say what it serves")
	}
}

// Version, commit, date and Go's version, by word and by flag.
func TestVersion(t *testing.T) {
	for name := range commands {
		for _, arg := range []string{"version", "--version", "-v"} {
			code, out, _ := run(t, name, []string{"FAIRLEAD_CONFIG=/nowhere"}, arg)
			if want := regexp.MustCompile(`^` + name + ` \S+ \(commit (unknown|[0-9a-f]{12} of \S+( with changes)?), go1\.\S+, \w+/\w+\)\n$`); code != 0 || !want.MatchString(out) {
				t.Errorf("%s %s: %d, %q", name, arg, code, out)
			}
		}
	}
}

// pki makes the files of one program and returns them as options.
func pki(t *testing.T, id identity.Identity, life time.Duration) []string {
	t.Helper()
	now := time.Now()
	ca, err := authority.New("fairlead", 24*time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	caPEM, _, err := ca.PEM()
	if err != nil {
		t.Fatal(err)
	}
	id.TrustDomain = "fairlead"
	pair, err := ca.Issue(authority.Request{Identity: id, Life: life}, now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file, data := range map[string][]byte{"ca": caPEM, "cert": pair.CertificatePEM, "key": pair.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"--tls-cert", filepath.Join(dir, "cert"), "--tls-key", filepath.Join(dir, "key"), "--tls-ca", filepath.Join(dir, "ca")}
}

// Whatever is wrong with the options is told at once, with exit code 2, and
// nothing is started.
func TestMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "o.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("regoin: eu\ndns: ':53'\n")
	for _, c := range []struct {
		name, args string
		env        []string
		want       string
	}{
		{"fairlead-authdns", "--name NS1.example --dns 53 --dns [::1]:99999 --grpc nowhere --controllers c1,c2:7443,c2:7443 --tls-cert x --log-level loud", []string{"FAIRLEAD_CONFIG=" + file, "FAIRLEAD_INSECURE_HTTP=perhaps"}, `
P: FAIRLEAD_INSECURE_HTTP=perhaps: want true or false
P: F:1: regoin: no such option (did you mean "region"?)
P: F:2: dns: want a list, as [":53"]
P: --log-level "loud": want debug, info, warn or error
P: --name: name "NS1.example" holds 'N': want one DNS label of lower-case letters, digits and hyphens, as eu-west
P: --region: missing: want the region that it is in, as eu-west
P: --dns "53": want ADDRESS:PORT, or :PORT for every address
P: --dns "[::1]:99999": want ADDRESS:PORT, or :PORT for every address
P: --grpc "nowhere": want ADDRESS:PORT, or :PORT for every address
P: --controllers "c1": want HOST:PORT, as c1.example.net:7443
P: --controllers "c2:7443": named twice
P: missing --tls-key and --tls-ca: ` + "`fairlead pki issue`" + ` makes the files
See P --help.
`},
		{"fairlead-controller", "--name c1 --etcd http://e1:2379 --etcd-cert a --etcd-user u --insecure-plaintext --tls-ca x --http 8080", nil, `
P: --http "8080": want ADDRESS:PORT, or :PORT for every address
P: --etcd-cert, --etcd-key and --etcd-ca go together: want all three, or none for plain text
P: store: etcd endpoint "http://e1:2379" would not use the TLS that is configured: want https:// or host:port
P: store: etcd username and password go together: only one is set
P: --insecure-plaintext goes without --tls-cert, --tls-key and --tls-ca
See P --help.
`},
		{"fairlead-probe", "--name p --region eu-west --allow-target 127.0.0.1 --controllers c1:7443 --insecure-plaintext", nil, `
P: --allow-target "127.0.0.1": want a prefix, as 127.0.0.0/8
See P --help.
`},
		{"fairlead-probe", "--name p --region eu-west --controllers c1:7443 --insecure-plaintext --source-address 192.0.2.1,192.0.2.2,fe80::1%eth0,eth0 --max-rate -1 --max-concurrent 1000000 --history-bytes 5", nil, `
P: --source-address "192.0.2.2": there is 192.0.2.1 already: want one IPv4 and one IPv6 address at most
P: --source-address "fe80::1%eth0": want an IPv4 or IPv6 address of this host, as 192.0.2.1
P: --source-address "eth0": want an IPv4 or IPv6 address of this host, as 192.0.2.1
P: --max-concurrent 1000000: want 1 to 100000
P: --max-rate -1: want 1 to 1000000
P: --history-bytes 5: want 65536 to 1073741824
See P --help.
`},
		{"fairlead-probe", "--controler c1:7443", nil, `
P: unknown flag: --controler (did you mean "--controllers"?)
See P --help.
`},
		{"fairlead-probe", "start", nil, `
P: unexpected argument "start": P takes options only, or the word version
See P --help.
`},
	} {
		for _, check := range [][]string{nil, {"--check-config"}} {
			code, out, stderr := run(t, c.name, c.env, append(strings.Fields(c.args), check...)...)
			if d := cmp.Diff(c.want[1:], strings.NewReplacer(c.name, "P", file, "F").Replace(stderr)); d != "" || code != 2 || out != "" {
				t.Errorf("%s %s: %d %s\n%s", c.name, c.args, code, out, d)
			}
		}
	}
}

// --check-config opens what the options name, says where each option is from,
// and starts nothing.
func TestCheckConfig(t *testing.T) {
	tls := pki(t, identity.Identity{Role: identity.Nameserver, Name: "ns1", Region: "eu-west"}, time.Hour)
	file := filepath.Join(t.TempDir(), "o.yaml")
	if err := os.WriteFile(file, []byte("region: eu-west\ncontrollers: [c1:7443, c2:7443]\nname: other\nsnapshot-dir: "+filepath.Join(t.TempDir(), "made", "later")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(tls, "--check-config", "--config", file)
	code, out, stderr := run(t, "fairlead-authdns", []string{"FAIRLEAD_NAME=ns1", "FAIRLEAD_CONTROLLRS=c9:1"}, args...)
	if code != 0 || !strings.HasSuffix(stderr, "fairlead-authdns: the options are good\n") ||
		!strings.Contains(stderr, `warning: FAIRLEAD_CONTROLLRS is no option here (did you mean "FAIRLEAD_CONTROLLERS"?)`) {
		t.Errorf("%d: %s", code, stderr)
	}
	for _, want := range []string{
		`(?m)^name: ns1 +# environment FAIRLEAD_NAME$`, `(?m)^region: eu-west +# file \S+o\.yaml:1$`, `(?m)^controllers: \['c1:7443', 'c2:7443'\] +# file`,
		`(?m)^tls-cert: \S+ +# --tls-cert$`, `(?m)^log-level: info +# default$`, `(?m)^insecure-http: false +# default$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
	// Files are looked into, all of them.
	args = append(args, "--geoip", file, "--snapshot-dir", file)
	code, _, stderr = run(t, "fairlead-authdns", []string{"FAIRLEAD_NAME=ns2"}, args...)
	for _, want := range []string{"it is nameserver ns1 of region eu-west: want nameserver ns2 of region eu-west", "--geoip " + file, "--snapshot-dir " + file + ": is a file: want a directory"} {
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%d: %q is not in %s", code, want, stderr)
		}
	}
	// The same is a failure, not one of usage, when it runs: files may come.
	if code, _, stderr := run(t, "fairlead-authdns", []string{"FAIRLEAD_NAME=ns2"}, append(tls, "--config", file)...); code != 1 || !strings.Contains(stderr, "want nameserver ns2") {
		t.Errorf("%d: %s", code, stderr)
	}
}

// manager is a service manager's socket.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T) (*manager, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn}, path
}

// next reads on to a message that holds a text.
func (m *manager) next(text string) string {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(60 * time.Second))
	b := make([]byte, 4096)
	for {
		n, err := m.conn.Read(b)
		if err != nil {
			m.t.Fatalf("waiting for %q: %v", text, err)
		}
		if strings.Contains(string(b[:n]), text) {
			return string(b[:n])
		}
	}
}

// A nameserver under a service manager, from start to stop: without any
// controller it listens and is started, SIGHUP reloads and SIGTERM ends it with
// exit code 0.
func TestServiceManager(t *testing.T) {
	m, socket := newManager(t)
	tls := pki(t, identity.Identity{Role: identity.Nameserver, Name: "ns1", Region: "eu-west"}, time.Hour)
	cmd := exec.Command(os.Args[0], append(tls, "--name", "ns1", "--region", "eu-west", "--dns", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
		"--http", "127.0.0.1:0", "--controllers", "127.0.0.1:1", "--snapshot-dir", t.TempDir())...)
	cmd.Env = []string{"TEST_PROGRAM=fairlead-authdns", "NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=1000000"}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if got := m.next("READY=1"); got != "READY=1\nSTATUS=not ready: no generation is served" {
		t.Errorf("%q", got)
	}
	m.next("WATCHDOG=1") // it answers its own question
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if got := m.next("RELOADING=1"); !strings.Contains(got, "MONOTONIC_USEC=") {
		t.Errorf("%q", got)
	}
	m.next("READY=1")
	m.next("WATCHDOG=1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.next("STOPPING=1")
	if err := <-done; err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	if !strings.Contains(log.String(), "reload: certificates, tokens and geo data were read again") {
		t.Error(log.String())
	}
}

// What runs without TLS on loopback, as `fairlead dev` runs it, is checked by
// the same rules.
func TestOptionsOfRun(t *testing.T) {
	o := probe.Options{Name: "p1", Region: "eu-west", Controllers: []string{"127.0.0.1:1"}, HTTP: "127.0.0.1:0", TLS: program.TLS{Insecure: true}}
	if err := o.Check(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := make(chan program.Started, 1)
	o.Log, o.Started = slog.New(slog.DiscardHandler), func(s program.Started) { started <- s }
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	s := <-started
	if err := s.Reload(); err != nil {
		t.Error(err)
	}
	resp, err := http.Get("http://" + s.HTTP + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Every option but the check has a variable, and none is spelled twice.
func TestVariables(t *testing.T) {
	for name, command := range commands {
		seen := map[string]string{}
		command().Flags().VisitAll(func(f *pflag.Flag) {
			v := options.Variable(f.Name)
			if other := seen[v]; other != "" {
				t.Errorf("%s: --%s and --%s are both %s", name, f.Name, other, v)
			}
			seen[v] = f.Name
		})
	}
}
