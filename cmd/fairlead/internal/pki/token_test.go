package pki

import (
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/cmd/internal/tokenfile"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// opened are the tokens of a file, as a controller reads it.
func (s *shop) opened(t *testing.T, path string) []string {
	t.Helper()
	f, err := tokenfile.Open(tokenfile.Options{Path: s.at(path), TrustDomain: "fairlead", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range f.InUse(s.now) {
		all = append(all, c.Subject+", "+c.Until.Sub(s.now.Truncate(time.Second)).String())
	}
	return all
}

func TestToken(t *testing.T) {
	s := newShop(t)
	out, said := s.run(t, "token", "alice", "--role", "operator", "--zone", "Example.Test.", "--region", "eu-west", "--expire-after", "720h")
	if !regexp.MustCompile(`^flt_[0-9A-Za-z]{49}\n$`).MatchString(out) {
		t.Errorf("stdout: %q", out)
	}
	if strings.Contains(said, strings.TrimSpace(out)) {
		t.Errorf("the token is on stderr too: %s", said)
	}
	// What it says to put into the file, is what a controller takes.
	_, entry, ok := strings.Cut(said, "\n\n")
	if !ok || !strings.HasPrefix(said, "token of operator alice for zone example.test; region eu-west, expires in 30 days") {
		t.Fatal(said)
	}
	if err := os.WriteFile(s.at("pasted.yaml"), []byte(entry), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.opened(t, "pasted.yaml"); len(got) != 1 || got[0] != "operator alice for zone example.test; region eu-west, 720h0m0s" {
		t.Errorf("%q", got)
	}
}

func TestTokenFiles(t *testing.T) {
	s := newShop(t)
	out, said := s.run(t, "token", "bob", "--role", "viewer", "--expire-after", "24h", "--out", "@/bob.token", "--file", "@/tokens.yaml")
	if out != "" || !strings.Contains(said, "wrote @/bob.token") || !strings.Contains(said, "@/tokens.yaml") {
		t.Errorf("%q, %q", out, said)
	}
	// Comments and what others wrote stay.
	data, err := os.ReadFile(s.at("tokens.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.at("tokens.yaml"), append(data, "  # of the team on call\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, "token", "bob", "--role", "viewer", "--file", "@/tokens.yaml")
	data, err = os.ReadFile(s.at("tokens.yaml"))
	if err != nil || !strings.Contains(string(data), "  # of the team on call\n  - name: bob\n") {
		t.Errorf("%v\n%s", err, data)
	}
	if got := strings.Join(s.opened(t, "tokens.yaml"), " | "); got != "viewer bob, 24h0m0s | viewer bob, 720h0m0s" {
		t.Error(got)
	}
	for _, path := range []string{"bob.token", "tokens.yaml"} {
		if m := mode(t, s.at(path)); m != 0o600 {
			t.Errorf("%s: %o", path, m)
		}
	}
	token, err := tokenfile.Read(s.at("bob.token"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), token) {
		t.Error("the token itself is in the file")
	}
	if _, err := identity.TokenDigest(token); err != nil {
		t.Error(err)
	}
}

func TestTokenRefusals(t *testing.T) {
	s := newShop(t)
	for path, f := range map[string]struct {
		text string
		mode os.FileMode
	}{"open.yaml": {"tokens:\n", 0o644}, "other.yaml": {"contexts: {}\n", 0o600}, "there": {"x", 0o600}} {
		if err := os.WriteFile(s.at(path), []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ args, say string }{
		{"token", "missing NAME"},
		{"token a b --role viewer", `unexpected argument "b"`},
		{"token alice", "want viewer, operator or admin"},
		{"token alice --role agent", "programs have certificates"},
		{"token alice --role viewer --expire-after 0s", "want 1m to 8784h"},
		{"token alice --role viewer --expire-after 9000h", "want 1m to 8784h"},
		{"token al/ice --role viewer", "holds '/'"},
		{"token alice --role viewer --region EU", "one DNS label"},
		{"token alice --role viewer --file @/open.yaml", "run chmod 600 @/open.yaml"},
		{"token alice --role viewer --out @/new --file @/other.yaml", "nothing was written"},
		{"token alice --role viewer --out @/there", "@/there exists: a token is never overwritten"},
	} {
		out, _, err := s.try(strings.Fields(c.args)...)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), s.dir, "@"), c.say) {
			t.Errorf("%s: %v: want %q", c.args, err, c.say)
		}
		if strings.Contains(out, identity.TokenPrefix) {
			t.Errorf("%s: a token of no use: %s", c.args, out)
		}
	}
	if _, err := os.Stat(s.at("new")); err == nil {
		t.Error("a token was written, and its entry was not")
	}
}
