package cli

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Wrong command lines: exit code 2, what is wrong and the usage line, no more.
func TestUsage(t *testing.T) {
	for _, c := range []struct{ args, want, usage string }{
		{"staus", `fairlead: no command "staus" (did you mean "status"?)`, "fairlead COMMAND"},
		{"status --contxt x", `fairlead status: unknown flag: --contxt (did you mean "--context"?)`, "fairlead status [flags]"},
		{"frobnicate --hard", `fairlead: no command "frobnicate": want one of apply, `, "fairlead COMMAND"},
		{"region", "fairlead region: want one of drain, undrain", "fairlead region COMMAND"},
		{"region drian us-east", `fairlead region: no command "drian" (did you mean "drain"?)`, "fairlead region COMMAND"},
		{"region drain --reason x", "missing REGION", "fairlead region drain REGION --reason TEXT [flags]"},
		{"region drain us-east", "missing --reason TEXT", "fairlead region drain REGION"},
		{"region drain us-east eu-west --reason x", `unexpected argument "eu-west"`, "fairlead region drain REGION"},
		{"region drain us-east --reason x --expire-after -2h", `invalid argument "-2h" for "--expire-after" flag: want a time to come, as 2h`, "fairlead region drain REGION"},
		{"region undrain us-east", "missing --reason TEXT", "fairlead region undrain REGION"},
		{"region drain us-east --reason x --wait 48h", `invalid argument "48h" for "--wait" flag: want 0s to 24h`, "fairlead region drain REGION"},
		{"apply", "missing -f PATH", "fairlead apply -f PATH... [flags]"},
		{"apply -f - -f -", "-f - can be given only once", "fairlead apply"},
		{"apply -f x --wait=soon", `invalid argument "soon" for "--wait" flag: want served, or a duration with its unit, as 15s`, "fairlead apply"},
		{"apply -f x --wait 5", `invalid argument "5" for "--wait" flag: want served, or a duration`, "fairlead apply"},
		{"apply -f x --wait=caches", `caches are waited for by drain and force-down alone`, "fairlead apply"},
		{"region drain us-east --reason x --start 22:00 --wait caches", "what begins later leaves nothing in caches yet", "fairlead region drain"},
		{"region drain us-east --reason x --start yesterday", `--start "yesterday": want 2026-11-23T22:00:00Z, 22:00 (UTC, the next one) or +2h`, "fairlead region drain"},
		{"region drain us-east --reason x --start 2020-01-01T00:00:00Z", "without --start it begins now", "fairlead region drain"},
		{"region drain us-east --reason x --start 2099-01-02T00:00:00Z --end 2099-01-01T00:00:00Z", "--end 2099-01-01T00:00:00Z: is not after --start 2099-01-02T00:00:00Z", "fairlead region drain"},
		{"region drain us-east --reason x --end +1h --expire-after 1h", "--end and --expire-after say the same thing", "fairlead region drain"},
		{"region drain us-east --reason x --nameservers 127.0.0.1:1", "--nameservers goes with --break-glass", "fairlead region drain"},
		{"region drain us-east --reason x --break-glass", "missing --expire-after TIME, as 1h: what nameservers are told directly must end by itself", "fairlead region drain"},
		{"region drain us-east --reason x --break-glass --expire-after never", "with --break-glass want 1s to 24h", "fairlead region drain"},
		{"region drain us-east --reason x --break-glass --expire-after 48h", "--expire-after 48h: with --break-glass want 1s to 24h", "fairlead region drain"},
		{"region drain us-east --reason x --break-glass --expire-after 1h --dry-run", "--break-glass goes without --start, --end, --dry-run and --etag", "fairlead region drain"},
		{"region undrain us-east --reason x --expire-after 1h", "--expire-after goes with --break-glass", "fairlead region undrain"},
		{"region undrain us-east --reason x --wait caches", "caches are waited for by drain and force-down alone", "fairlead region undrain"},
		{"endpoint", "fairlead endpoint: want one of drain, force-down, force-up, release, undrain", "fairlead endpoint COMMAND"},
		{"endpoint drain --reason x", "missing SERVICE/ENDPOINT", "fairlead endpoint drain SERVICE/ENDPOINT --reason TEXT"},
		{"endpoint drain www.example.test --reason x", `"www.example.test" is no endpoint: want SERVICE/ENDPOINT`, "fairlead endpoint drain"},
		{"endpoint force-down www.example.test/eu-1", "missing --reason TEXT", "fairlead endpoint force-down"},
		{"endpoint release www.example.test/eu-1 --reason x --break-glass", "unknown flag: --break-glass", "fairlead endpoint release"},
		{"override", "fairlead override: want one of end, list", "fairlead override COMMAND"},
		{"override end --reason x", "missing ID", "fairlead override end ID --reason TEXT"},
		{"override end 19a8 --reason x --adopt", `"19a8" is no break-glass record, whose ids begin with bg-`, "fairlead override end"},
		{"override end bg-1 --reason x --force", "--force goes with --adopt or --break-glass", "fairlead override end"},
		{"override end bg-1 --reason x --adopt --break-glass", "--adopt needs a controller", "fairlead override end"},
		{"override list --nameservers 127.0.0.1:1", "--nameservers goes with --break-glass", "fairlead override list"},
		{"status --nameservers 127.0.0.1:1", "--nameservers goes with --direct", "fairlead status"},
		{"events --since yesterday", `--since "yesterday": want 2026-11-23T22:00:00Z, or how long ago, as 2h`, "fairlead events"},
		{"events --since 1h --until 2h", "--until 2h: is not after --since 1h", "fairlead events"},
		{"events --result failed", `--result "failed": want done, forced or refused`, "fairlead events"},
		{"events -f -o yaml", "-o yaml: with --follow want table, wide or json", "fairlead events"},
		{"events -f --until 1h", "--until: --follow ends when it is interrupted", "fairlead events"},
		{"status --token-file x", "missing --tls-ca: a token is sent over TLS alone", "fairlead status"},
		{"status --token-file x --insecure-plaintext", "--token-file goes without --insecure-plaintext", "fairlead status"},
		{"diff --wait 1s -f x", "unknown flag: --wait", "fairlead diff -f PATH... [flags]"},
		{"get", "missing KIND", "fairlead get KIND [NAME] [flags]"},
		{"get servce", `no kind "servce" (did you mean "services"?)`, "fairlead get"},
		{"get overrides", "drains and other overrides are not resources: use `fairlead override list`", "fairlead get"},
		{"get services/a b", `unexpected argument "b"`, "fairlead get"},
		{"get all x", `no kind "all"`, "fairlead get"},
		{"describe service", "missing NAME", "fairlead describe KIND NAME"},
		{"delete service www.example.test", "missing --reason TEXT", "fairlead delete KIND NAME --reason TEXT"},
		{"export me", `unexpected argument "me"`, "fairlead export"},
		{"explain www.example.test", "missing --client ADDR", "fairlead explain NAME --client ADDR"},
		{"explain --client 192.0.2.1", "missing NAME", "fairlead explain NAME"},
		{"explain a --client 192.0.2.1 --nameserver 192.0.2.53:7444", "--nameserver 192.0.2.53:7444: plain text is for loopback only", "fairlead explain"},
		{"status -o xml", "want table, wide, json, yaml or name", "fairlead status [flags]"},
		{"status --timeout 0s", "--timeout 0s: want more than 0s", "fairlead status"},
		{"status --controller 192.0.2.1:7443", "--controller 192.0.2.1:7443: plain text is for loopback only", "fairlead status"},
		{"status --controller localhost", `--controller "localhost": want HOST:PORT`, "fairlead status"},
		{"--controller=127.0.0.1:1 status now", `unexpected argument "now"`, "fairlead status"},
		{"zone check", "missing -f PATH", "fairlead zone check -f PATH... [flags]"},
		{"config", "fairlead config: want one of diff, history, rollback", "fairlead config COMMAND"},
		{"config history --limit -1", "--limit -1: want 0 or more", "fairlead config history [flags]"},
		{"config diff", "missing A", "fairlead config diff A [B] [flags]"},
		{"config diff 1.2 1.3 1.4", `unexpected argument "1.4"`, "fairlead config diff"},
		{"config diff yesterday", `"yesterday" is no generation: want EPOCH.REVISION, as 1.42 (` + "`fairlead config history` lists them)", "fairlead config diff"},
		{"config rollback", "missing GENERATION", "fairlead config rollback GENERATION --reason TEXT [flags]"},
		{"config rollback 1.2", "missing --reason TEXT", "fairlead config rollback"},
		{"config rollback 1.2 --reason x --wait 25h", `invalid argument "25h" for "--wait" flag: want 0s to 24h`, "fairlead config rollback"},
		{"events --limit x", `invalid argument "x" for "--limit" flag`, "fairlead events [flags]"},
		{"watch now", `unexpected argument "now"`, "fairlead watch [flags]"},
		{"watch -o name", "-o name: want table, wide or json", "fairlead watch"},
		{"latch", "fairlead latch: want one of list, release", "fairlead latch COMMAND"},
		{"latch release --reason x", "missing LATCH", "fairlead latch release LATCH --reason TEXT [flags]"},
		{"latch release guard", "missing --reason TEXT", "fairlead latch release LATCH"},
		{"latch release www.example.test/eu-west --reason x", `latch "www.example.test/eu-west": want failback/SERVICE/REGION or guard (`, "fairlead latch release"},
		{"latch release guard --reason x --wait 25h", `invalid argument "25h" for "--wait" flag: want 0s to 24h`, "fairlead latch release"},
		{"latch list me", `unexpected argument "me"`, "fairlead latch list [flags]"},
		{"health", "fairlead health: want one of replay", "fairlead health COMMAND"},
		{"health replay", "missing --service NAME", "fairlead health replay --service NAME [flags]"},
		{"health replay www.example.test", `unexpected argument "www.example.test"`, "fairlead health replay"},
		{"health replay --service x -o name", "-o name: want table, wide, json or yaml", "fairlead health replay"},
		{"health replay --service x --rise 101", "--rise 101: want 1 to 100", "fairlead health replay"},
		{"health replay --service x --fall -1", "--fall -1: want 1 to 100", "fairlead health replay"},
		{"health replay --service x --since -1h", "--since -1h0m0s: want a time, as 1h, or 0", "fairlead health replay"},
		{"health replay --service x --recovery 0s", "--recovery 0s: want a time, as 10s", "fairlead health replay"},
		{"health replay --service x --quorum most", `--quorum "most": want majority, strict, any-healthy or at-least=N`, "fairlead health replay"},
		{"health replay --service x --quorum at-least=0", `--quorum "at-least=0": want`, "fairlead health replay"},
		{"health replay --service x --damping on", `--damping "on": want off, default, or any of recoveries=N`, "fairlead health replay"},
		{"health replay --service x --damping hold=2h", `hold "2h": want 1 to 50 recoveries, and durations from 1s to 1h`, "fairlead health replay"},
		{"health replay --service x --damping recoveries=0", `recoveries "0": want 1 to 50`, "fairlead health replay"},
		{"health replay --service x --damping hold=1s,hold=2s", "hold is given twice", "fairlead health replay"},
		{"context use", "missing NAME", "fairlead context use NAME"},
		{"context show a b", `unexpected argument "b"`, "fairlead context show [NAME]"},
		{"completion bash x", `unexpected argument "x"`, "fairlead completion bash"},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := run(t, "", strings.Fields(c.args)...)
			r.want(t, exitUsage, c.want, "\nusage: "+c.usage)
			if n := strings.Count(r.err, "\n"); n != 2 || r.out != "" {
				t.Errorf("want two lines on stderr and nothing on stdout, have\n%s%s", r.out, r.err)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	r := run(t, "")
	r.want(t, exitDone, "fairlead COMMAND", "Exit codes:")
	if strings.Contains(r.out, "[command]\n") {
		t.Errorf("the use is said twice:\n%s", r.out)
	}
	run(t, "", "region", "drain", "--help").want(t, exitDone, "fairlead region drain REGION --reason TEXT [flags]")
	run(t, "", "completion", "bash").want(t, exitDone, "fairlead")
	for _, arg := range []string{"version", "--version"} {
		if r := run(t, "", arg); r.code != exitDone || !regexp.MustCompile(`^fairlead \S+ \(commit (unknown|[0-9a-f]{12} of \S+( with changes)?), go1\.\S+, \w+/\w+\)\n$`).MatchString(r.out) {
			t.Errorf("%s: %+v", arg, r)
		}
	}
	run(t, "", "__complete", "get", "").want(t, exitDone, "services", "all")
	run(t, "", "__complete", "explain", "x", "--type", "").want(t, exitDone, "AAAA")
}

func TestExtraCommand(t *testing.T) {
	extra := &cobra.Command{Use: "extra", RunE: func(*cobra.Command, []string) error { return usagef("no") }}
	var out, err strings.Builder
	if code := Run(t.Context(), []string{"extra"}, Streams{Out: &out, Err: &err}, extra); code != exitUsage || !strings.Contains(err.String(), "fairlead extra: no") {
		t.Errorf("exit code %d, %s", code, err.String())
	}
}

// Every mistake of a command line is told.
func TestAllMistakes(t *testing.T) {
	extra := &cobra.Command{Use: "extra", RunE: func(*cobra.Command, []string) error { return nil }, PreRunE: func(*cobra.Command, []string) error {
		return errors.Join(errors.New("--days 0: want more"), errors.New("--dir: want a \x1b[31mdirectory"))
	}}
	var out, err strings.Builder
	code := Run(t.Context(), []string{"extra"}, Streams{Out: &out, Err: &err}, extra)
	want := "fairlead extra: --days 0: want more\nfairlead extra: --dir: want a \\x1b[31mdirectory\nusage: fairlead extra [flags]\n"
	if code != exitUsage || err.String() != want {
		t.Errorf("%d, got\n%swant\n%s", code, err.String(), want)
	}
	run(t, "", "status", "--controller", "192.0.2.1:1,nonsense").want(t, exitUsage, "fairlead status: --controller 192.0.2.1:1: plain text", "fairlead status: --controller \"nonsense\": want HOST:PORT\n")
	t.Setenv("FAIRLEAD_WAIT", "ages")
	t.Setenv("FAIRLEAD_TIMEOUT", "soon")
	run(t, "", "apply", "-f", "x").want(t, exitUsage, "fairlead apply: FAIRLEAD_WAIT=ages: ", "fairlead apply: FAIRLEAD_TIMEOUT=soon: ")
}

// Every flag comes from the environment where the command line is silent.
func TestEnvironment(t *testing.T) {
	dead := deadAddress(t)
	t.Setenv("FAIRLEAD_CONTROLLER", dead)
	run(t, "", "status").want(t, exitFailed, dead)
	other := deadAddress(t)
	r := run(t, "", "status", "--controller", other)
	r.want(t, exitFailed, other)
	if strings.Contains(r.err, dead) {
		t.Errorf("the environment won over the flag: %s", r.err)
	}
	t.Setenv("FAIRLEAD_REASON", "from the environment")
	run(t, "", "region", "drain", "us-east").want(t, exitFailed, dead)
	t.Setenv("FAIRLEAD_WAIT", "ages")
	run(t, "", "region", "drain", "us-east").want(t, exitUsage, `FAIRLEAD_WAIT=ages: want served, caches, or a duration with its unit, as 15s`)
}
