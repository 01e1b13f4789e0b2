package pki

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shop is a directory in which commands run.
type shop struct {
	dir string
	now time.Time
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t.TempDir(), time.Now()}
	s.run(t, "init", "--dir", s.at("pki"))
	return s
}

func (s *shop) at(path string) string { return filepath.Join(s.dir, path) }

// try runs a command and returns what it wrote. An @ stands for the directory.
func (s *shop) try(args ...string) (out, warnings string, err error) {
	var stdout, stderr bytes.Buffer
	c := command(func() time.Time { return s.now })
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetOut(&stdout)
	c.SetErr(&stderr)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "@", s.dir)
	}
	c.SetArgs(args)
	err = c.Execute()
	clean := func(b bytes.Buffer) string { return strings.ReplaceAll(b.String(), s.dir, "@") }
	return clean(stdout), clean(stderr), err
}

func (s *shop) run(t *testing.T, args ...string) (out, warnings string) {
	t.Helper()
	out, warnings, err := s.try(args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return out, warnings
}

// identityOf is what a certificate file says.
func (s *shop) identityOf(t *testing.T, path string) string {
	t.Helper()
	certs, err := tlsfiles.ReadCertificates(s.at(path))
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.FromCertificate(certs[0])
	if err != nil {
		t.Fatal(err)
	}
	return id.URI()
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestInit(t *testing.T) {
	s := newShop(t)
	if m := mode(t, s.at("pki/ca.key")); m != 0o600 {
		t.Errorf("ca.key has mode %o", m)
	}
	if m := mode(t, s.at("pki")); m != 0o700 {
		t.Errorf("the directory has mode %o", m)
	}
	before, _ := os.ReadFile(s.at("pki/ca.key"))
	for _, gone := range []string{"", "pki/ca.crt"} { // the key alone is a CA, too
		if gone != "" {
			os.Remove(s.at(gone))
		}
		_, _, err := s.try("init", "--dir", "@/pki")
		if err == nil || !strings.Contains(err.Error(), "ca.key exists: a CA is never overwritten") {
			t.Errorf("%v", err)
		}
		after, _ := os.ReadFile(s.at("pki/ca.key"))
		if !bytes.Equal(before, after) {
			t.Fatal("the key was overwritten")
		}
	}
	out, _ := s.run(t, "init", "--dir", "@/other", "--trust-domain", "dns.example.com", "--days", "10")
	if !strings.Contains(out, "CA of trust domain dns.example.com, expires in 10 days") {
		t.Errorf("%s", out)
	}
	left, err := os.ReadDir(s.at("other"))
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestIssue(t *testing.T) {
	s := newShop(t)
	for _, c := range []struct{ args, file, uri string }{
		{"controller c1", "pki/controller-c1", "spiffe://fairlead/controller/c1"},
		{"agent a1 --region eu-west --out @/a", "a", "spiffe://fairlead/agent/eu-west/a1"},
		{"nameserver ns1 --region eu-west --host ns1.example.test", "pki/nameserver-ns1", "spiffe://fairlead/nameserver/eu-west/ns1"},
		{"etcd e1 --host 127.0.0.1 --host localhost", "pki/etcd-e1", "spiffe://fairlead/etcd/e1"},
		{"viewer v", "pki/viewer-v", "spiffe://fairlead/viewer/v"},
		{
			"operator alice --zone B.test. --zone a.test,a.test --service *.c.test --region us --region eu", "pki/operator-alice",
			"spiffe://fairlead/operator/alice/zone/a.test/zone/b.test/service/WILDCARD.c.test/region/eu/region/us",
		},
	} {
		out, warnings := s.run(t, append([]string{"issue", "--dir", "@/pki"}, strings.Fields(c.args)...)...)
		if !strings.Contains(out, "expires in 90 days") || !strings.Contains(out, c.uri) || warnings != "" {
			t.Errorf("%s: %s%s", c.args, out, warnings)
		}
		if got := s.identityOf(t, c.file+".crt"); got != c.uri {
			t.Errorf("%s: %s, want %s", c.args, got, c.uri)
		}
		if m := mode(t, s.at(c.file+".key")); m != 0o600 {
			t.Errorf("%s: the key has mode %o", c.args, m)
		}
	}
	// Nothing is overwritten, unless it is asked for.
	before, _ := os.ReadFile(s.at("a.crt"))
	again := []string{"issue", "agent", "a1", "--region", "eu-west", "--dir", "@/pki", "--out", "@/a"}
	os.Remove(s.at("a.key"))
	_, _, err := s.try(again...)
	if err == nil || !strings.Contains(err.Error(), "a.crt exists: pass --force") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(s.at("a.key")); !os.IsNotExist(err) {
		t.Errorf("half a pair was left: %v", err)
	}
	s.run(t, append(again, "--force")...)
	if after, _ := os.ReadFile(s.at("a.crt")); bytes.Equal(before, after) {
		t.Error("--force overwrote nothing")
	}
}

func TestRefusals(t *testing.T) {
	s := newShop(t)
	s.run(t, "issue", "controller", "c1", "--dir", "@/pki")
	s.run(t, "init", "--dir", "@/brief", "--days", "5")
	s.run(t, "init", "--dir", "@/open")
	os.Chmod(s.at("open/ca.key"), 0o644)
	s.run(t, "init", "--dir", "@/mixed")
	ca, _ := os.ReadFile(s.at("pki/ca.crt"))
	os.WriteFile(s.at("mixed/ca.crt"), ca, 0o644)
	os.WriteFile(s.at("torn.crt"), ca[:200], 0o644)
	later := &shop{s.dir, s.now.AddDate(0, 0, 6)}
	for _, c := range []struct {
		at        *shop
		args, say string
	}{
		{s, "", "want init, issue, token, renew or show"},
		{s, "isue", `no command "isue"`},
		{s, "init --dir @/x --trust-domain Fair", "--trust-domain"},
		{s, "init --dir @/x --days 0", "--days 0: want 1 to 36500"},
		{s, "init --dir=", "--dir"},
		{s, "init extra", "unknown command"},
		{s, "init --dir @/pki/ca.crt/x", "--dir"},
		{s, "issue", "missing ROLE and NAME"},
		{s, "issue agent", "missing NAME"},
		{s, "issue agent a b", `unexpected argument "b"`},
		{s, "issue boss b", `ROLE: no role "boss": want one of agent`},
		{s, "issue agent a1", "--region: agent \"a1\" belongs to one region: want one, and 0 are given"},
		{s, "issue nameserver ns1 --region a,b", "want one, and 2 are given"},
		{s, "issue agent a1 --region EU", "want one DNS label"},
		{s, "issue agent a_1 --region eu", "want one DNS label"},
		{s, "issue agent a1 --region eu --zone a.test", "--zone, --service: want none"},
		{s, "issue controller c1 --region eu", "has a scope"},
		{s, "issue controller a/b", "holds '/'"},
		{s, "issue operator .. ", "relative path"},
		{s, "issue operator o --zone a..b", "no domain name"},
		{s, "issue operator o --host a.test", "people serve nothing"},
		{s, "issue operator o --days 36501", "--days 36501"},
		{s, "issue etcd e1", "etcd e1 has no hosts"},
		{s, "issue etcd e1 --host a.test:2379", "without a port"},
		{s, "issue controller c2 --dir @/none", "fairlead pki init --dir @/none"},
		{s, "issue controller c2 --dir @/open", "run chmod 600 @/open/ca.key"},
		{s, "issue controller c2 --dir @/mixed", "the key is that of no certificate"},
		{s, "issue controller c2 --dir @/brief --days 6", "want 5 days at most"},
		{later, "issue controller c2 --dir @/brief", "make a new one with pki init"},
		{s, "issue controller c2 --out @/none/c2", "no such file or directory"},
		{s, "issue controller c1", "controller-c1.key exists: pass --force"},
		{s, "renew", "missing FILE"},
		{s, "renew @/pki/controller-c1", "want a file that ends in .crt"},
		{s, "renew @/pki/none.crt", "no such file"},
		{s, "renew @/pki/ca.crt", "CAs are not renewed"},
		{s, "renew --dir @/brief @/pki/controller-c1.crt", "was not issued by the CA in @/brief"},
		{s, "renew --dir @/brief --old-ca @/brief/ca.crt @/pki/controller-c1.crt", "was not issued by"},
		{s, "renew --old-ca @/none @/pki/controller-c1.crt", "--old-ca"},
		{s, "renew --days 0 @/pki/controller-c1.crt", "--days 0"},
		{s, "renew --days 4000 @/pki/controller-c1.crt", "want 3650 days at most"},
		{s, "show", "missing FILE"},
		{s, "show @/pki/ca.key", "holds a private key"},
		{s, "show @/torn.crt", "cut off or damaged"},
	} {
		args := strings.Fields(c.args)
		if !strings.Contains(c.args, "--dir") && !strings.HasPrefix(c.args, "init") && !strings.HasPrefix(c.args, "show") && len(args) > 0 && args[0] != "isue" {
			args = append(args, "--dir", "@/pki")
		}
		out, _, err := c.at.try(args...)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), s.dir, "@"), c.say) {
			t.Errorf("%s: %v: want %q", c.args, err, c.say)
		}
		if out != "" {
			t.Errorf("%s: refused, and said %q", c.args, out)
		}
	}
}

// Every mistake of a command line is told at once.
func TestMistakesAtOnce(t *testing.T) {
	s := newShop(t)
	for args, want := range map[string][]string{
		"init --trust-domain Fair --days 0 --dir=":        {"--trust-domain: ", "--days 0: want 1 to 36500", "--dir: want the directory"},
		"issue boss b --days 0 --dir= --host a:1,b:2":     {`ROLE: no role "boss"`, "--days 0", "--dir: ", `host "a:1": want a DNS name`, `host "b:2"`},
		"issue agent A_1 --days 0 --zone a.test":          {"--days 0", "--region: agent", "--zone, --service: want none", "want one DNS label"},
		"issue etcd e1 --host a.test:2379 --days 99999":   {"without a port", "--days 99999"},
		"issue viewer v --host a.test --zone a..b --dir=": {"people serve nothing", "no domain name", "--dir: "},
		"renew x.crt --days 0 --dir=":                     {"--days 0", "--dir: "},
		"renew @/a @/none.crt":                            {"@/a: want a file that ends in .crt", "@/none.crt: no such file"},
		"show @/a @/b":                                    {"@/a: no such file", "@/b: no such file"},
	} {
		fields := strings.Fields(args)
		if !strings.Contains(args, "--dir") && fields[0] != "show" {
			fields = append(fields, "--dir", "@/pki")
		}
		_, _, err := s.try(fields...)
		for _, text := range want {
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), s.dir, "@"), text) {
				t.Errorf("%s: %v: want %q", args, err, text)
			}
		}
	}
}

// A default lifetime ends with the CA, and says so.
func TestLifetimeEndsWithTheCA(t *testing.T) {
	s := newShop(t)
	s.run(t, "init", "--dir", "@/brief", "--days", "40")
	out, warnings := s.run(t, "issue", "controller", "c1", "--dir", "@/brief")
	if !strings.Contains(out, "expires in 40 days") || !strings.Contains(warnings, "expires with its CA") {
		t.Errorf("%s%s", out, warnings)
	}
	s.now = s.now.AddDate(0, 0, 30)
	_, warnings = s.run(t, "issue", "controller", "c2", "--dir", "@/brief")
	if !strings.Contains(warnings, "expires in 10 days") || !strings.Contains(warnings, "make a new one") {
		t.Errorf("%s", warnings)
	}
}

func TestRenew(t *testing.T) {
	s := newShop(t)
	s.run(t, "issue", "etcd", "e1", "--dir", "@/pki", "--host", "127.0.0.1,e1.test", "--days", "30")
	s.run(t, "issue", "operator", "al", "--dir", "@/pki", "--region", "eu", "--days", "90")
	pair := func(name string) (cert, key string) {
		c, err := os.ReadFile(s.at(name + ".crt"))
		if err != nil {
			t.Fatal(err)
		}
		k, err := os.ReadFile(s.at(name + ".key"))
		if err != nil {
			t.Fatal(err)
		}
		return string(c), string(k)
	}
	oldCert, oldKey := pair("pki/etcd-e1")
	// Owner and name stay: a key that root renews is still its program's.
	if os.Getuid() == 0 {
		for _, f := range []string{"crt", "key"} {
			if err := os.Chown(s.at("pki/etcd-e1."+f), 1234, 1235); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.now = s.now.AddDate(0, 0, 25)
	out, warnings := s.run(t, "renew", "--dir", "@/pki", "--due", "@/pki/ca.crt", "@/pki/etcd-e1.crt", "@/pki/operator-al.crt")
	want := regexp.MustCompile(`(?s)^renewed @/pki/etcd-e1.crt and @/pki/etcd-e1.key\netcd e1, expires in 30 days .*@/pki/operator-al.crt is not due: expires in 65 days`)
	if !want.MatchString(out) || warnings != "" {
		t.Errorf("%s%s", out, warnings)
	}
	newCert, newKey := pair("pki/etcd-e1")
	if newCert == oldCert || newKey == oldKey {
		t.Error("not new")
	}
	certs, err := tlsfiles.ReadCertificates(s.at("pki/etcd-e1.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if hosts(certs[0]) != "e1.test, 127.0.0.1" || s.identityOf(t, "pki/etcd-e1.crt") != "spiffe://fairlead/etcd/e1" {
		t.Errorf("%v", certs[0].Subject)
	}
	if m := mode(t, s.at("pki/etcd-e1.key")); m != 0o600 {
		t.Errorf("the key has mode %o", m)
	}
	if os.Getuid() == 0 {
		for _, f := range []string{"crt", "key"} {
			if u, g := owner(t, s.at("pki/etcd-e1."+f)); u != 1234 || g != 1235 {
				t.Errorf("%s belongs to %d:%d", f, u, g)
			}
		}
	}
	// An expired one can be renewed; a bad file does not keep the others back.
	s.now = s.now.AddDate(0, 0, 200)
	out, _, err = s.try("renew", "--dir", "@/pki", "--days", "7", "@/none.crt", "@/pki/operator-al.crt")
	if err == nil || !strings.Contains(out, "operator al for region eu, expires in 7 days") {
		t.Errorf("%s, %v", out, err)
	}
	// A new CA takes the old one's place; the trust domain stays.
	s.run(t, "init", "--dir", "@/next")
	s.run(t, "init", "--dir", "@/elsewhere", "--trust-domain", "elsewhere")
	s.run(t, "renew", "--dir", "@/next", "--old-ca", "@/pki/ca.crt", "@/pki/etcd-e1.crt")
	if _, _, err := s.try("renew", "--dir", "@/pki", "@/pki/etcd-e1.crt"); err == nil {
		t.Error("still of the old CA")
	}
	if _, _, err := s.try("renew", "--dir", "@/elsewhere", "--old-ca", "@/next/ca.crt", "@/pki/etcd-e1.crt"); err == nil || !strings.Contains(err.Error(), `want "elsewhere"`) {
		t.Errorf("%v", err)
	}
	left, _ := filepath.Glob(s.at("pki/.*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestShow(t *testing.T) {
	s := newShop(t)
	s.run(t, "issue", "operator", "al", "--dir", "@/pki", "--zone", "a.test", "--region", "eu", "--days", "30")
	s.run(t, "issue", "controller", "c1", "--dir", "@/pki", "--host", "c1.test,192.0.2.1")
	s.run(t, "issue", "viewer", "v", "--dir", "@/pki")
	for _, c := range []struct {
		after     int
		out, warn []string
	}{
		{0, []string{
			"identity  CA of trust domain fairlead", "identity  operator al for zone a.test; region eu", "for       everything",
			"uri       spiffe://fairlead/operator/al/zone/a.test/region/eu", "hosts     c1.test, 192.0.2.1", "expires   in 30 days", "issuer    CN=Fairlead CA fairlead",
		}, nil},
		{22, []string{"expires   in 8 days"}, []string{"@/pki/operator-al.crt: operator al for zone a.test; region eu expires in 8 days", "run fairlead pki renew @/pki/operator-al.crt"}},
		{33, []string{"expires   3 days ago"}, []string{"operator al for zone a.test; region eu expired 3 days ago"}},
		{-2, nil, []string{"is valid from"}},
		{3640, nil, []string{"CA of trust domain fairlead expires in 10 days", "make a new CA"}},
	} {
		s := &shop{s.dir, s.now.AddDate(0, 0, c.after)}
		out, warnings := s.run(t, "show", "@/pki/ca.crt", "@/pki/operator-al.crt", "@/pki/controller-c1.crt", "@/pki/viewer-v.crt")
		for _, say := range c.out {
			if !strings.Contains(out, say) {
				t.Errorf("after %d days: no %q in\n%s", c.after, say, out)
			}
		}
		for _, say := range c.warn {
			if !strings.Contains(warnings, say) {
				t.Errorf("after %d days: no warning %q in\n%s", c.after, say, warnings)
			}
		}
		if c.warn == nil && warnings != "" {
			t.Errorf("after %d days: %s", c.after, warnings)
		}
	}
}

func TestWhen(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		90 * day:                  "in 90 days (2027-01-30 12:00 UTC)",
		47 * time.Hour:            "in 47 hours (2026-11-03 11:00 UTC)",
		119 * time.Second:         "in 119 seconds (2026-11-01 12:01 UTC)",
		0:                         "in 0 seconds (2026-11-01 12:00 UTC)",
		-3*day - time.Hour:        "3 days ago (2026-10-29 11:00 UTC)",
		-2*time.Minute - 5*1e9:    "2 minutes ago (2026-11-01 11:57 UTC)",
		time.Duration(1<<63 - 1):  "in 106751 days (2319-02-11 11:47 UTC)",
		-time.Duration(1<<63 - 1): "106751 days ago (1734-07-23 12:12 UTC)",
	} {
		if got := when(now.Add(d), now); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := printable("a\x1b[31mb\u009bc\n\u00e9"); got != "a?[31mb?c?é" {
		t.Errorf("%q", got)
	}
}
