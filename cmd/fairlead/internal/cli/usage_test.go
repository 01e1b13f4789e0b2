package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Wrong command lines: exit code 2, what is wrong and the usage line, no more.
func TestUsage(t *testing.T) {
	for _, c := range []struct{ args, want, usage string }{
		{"staus", `fairlead: no command "staus" (did you mean "status"?)`, "fairlead COMMAND"},
		{"frobnicate --hard", `fairlead: no command "frobnicate": want one of apply, `, "fairlead COMMAND"},
		{"region", "fairlead region: want one of drain, undrain", "fairlead region COMMAND"},
		{"region drian us-east", `fairlead region: no command "drian" (did you mean "drain"?)`, "fairlead region COMMAND"},
		{"region drain --reason x", "missing REGION", "fairlead region drain REGION --reason TEXT [flags]"},
		{"region drain us-east", "missing --reason TEXT", "fairlead region drain REGION"},
		{"region drain us-east eu-west --reason x", `unexpected argument "eu-west"`, "fairlead region drain REGION"},
		{"region drain us-east --reason x --expire-after -2h", "--expire-after -2h0m0s: want a time to come", "fairlead region drain REGION"},
		{"region undrain us-east", "missing --reason TEXT", "fairlead region undrain REGION"},
		{"region drain us-east --reason x --wait 10m", "--wait 10m0s: want 0s to 5m", "fairlead region drain REGION"},
		{"apply", "missing -f PATH", "fairlead apply -f PATH... [flags]"},
		{"apply -f - -f -", "-f - can be given only once", "fairlead apply"},
		{"apply -f x --wait soon", `invalid argument "soon" for "--wait" flag`, "fairlead apply"},
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
		{"completion bash x", "unknown command", "fairlead completion bash"},
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
	run(t, "", "version").want(t, exitDone, "fairlead ", " go1.")
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
	run(t, "", "region", "drain", "us-east").want(t, exitUsage, `FAIRLEAD_WAIT=ages: invalid argument "ages"`)
}
