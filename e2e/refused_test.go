package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// wrongCertificates shows certificates that are not what they should be.
func wrongCertificates(c *cluster, f *fault) {
	s := c.sample(0, c.nameservers[:2]...)
	foreign, both := c.foreignCA()
	c.refusedCallers(foreign, both)
	c.refusedStarts()
	c.foreignAgents(foreign, both)
	c.expiredNameserver(f)
	s.only(c.host(0))
}

// foreignCA makes a CA of somebody else's, under the same trust domain, and a
// bundle of it and ours: whoever attacks trusts our programs.
func (c *cluster) foreignCA() (dir, both string) {
	c.t.Helper()
	dir, both = filepath.Join(c.t.TempDir(), "foreign"), filepath.Join(c.t.TempDir(), "both.crt")
	run(c.t, 0, "pki", "init", "--dir", dir)
	c.issueOne(dir, "admin", "mallory")
	c.issueOne(dir, "agent", "probe-eu-west", "--region", "eu-west")
	var bundle []byte
	for _, ca := range []string{c.pki, dir} {
		text, err := os.ReadFile(filepath.Join(ca, "ca.crt"))
		if err != nil {
			c.t.Fatal(err)
		}
		bundle = append(bundle, text...)
	}
	if err := os.WriteFile(both, bundle, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return dir, both
}

// refusedCallers are people whose certificates do not do.
func (c *cluster) refusedCallers(foreign, both string) {
	c.t.Helper()
	c.issueOne(c.pki, "admin", "expired")
	expire(c.t, c.pki, "expired")
	c.issueOne(c.pki, "viewer", "victor")
	c.issueOne(c.pki, "operator", "olga", "--region", "us-east")
	ours, theirs := filepath.Join(c.pki, "ca.crt"), filepath.Join(foreign, "ca.crt")
	drain := []string{"region", "drain", "eu-west", "--reason", "must not be"}
	for _, r := range []struct {
		who, prefix, ca string
		args            []string
		want            string
	}{
		{"a foreign admin", filepath.Join(foreign, "mallory"), both, []string{"status"}, "our certificate"},
		{"an admin who trusts another CA", filepath.Join(foreign, "mallory"), theirs, []string{"status"}, "unknown authority"},
		{"an expired admin", filepath.Join(c.pki, "expired"), ours, []string{"status"}, "expired"},
		{"a viewer who drains", filepath.Join(c.pki, "victor"), ours, drain, "needs operator"},
		{"an operator of another region", filepath.Join(c.pki, "olga"), ours, drain, "scope"},
		{"an agent's certificate", filepath.Join(c.pki, "probe-eu-west"), ours, drain, "agent"},
	} {
		code, out, err := runTry(append(append(r.args, "--controller", c.controller(0)), tlsFlags(r.prefix, r.ca)...)...)
		if code != 1 || err != nil || !strings.Contains(out, r.want) {
			c.t.Errorf("%s: exit %d (%v), want 1 and %q:\n%s", r.who, code, err, r.want, out)
		}
	}
	if code, out, _ := runTry("status", "--controller", c.controller(0)); code == 0 {
		c.t.Errorf("status without a certificate works:\n%s", out)
	}
}

// refusedStarts are programs that must not start with what they are given.
func (c *cluster) refusedStarts() {
	c.t.Helper()
	for _, r := range []struct {
		what, program string
		args          []string
		want          []string // all of these
	}{
		{"an agent's certificate with another region's --region", "fairlead-probe",
			c.tls("probe-eu-west", "--name", "probe-eu-west", "--region", "us-east", "--http", "127.0.0.1:0"), []string{"eu-west", "us-east"}},
		{"an agent's certificate with another's --name", "fairlead-probe",
			c.tls("probe-eu-west", "--name", "probe-us-east", "--region", "eu-west", "--http", "127.0.0.1:0"), []string{"probe-eu-west", "probe-us-east"}},
		{"an agent with a nameserver's certificate", "fairlead-probe",
			c.tls("ns-1", "--name", "ns-1", "--region", "eu-west", "--http", "127.0.0.1:0"), []string{"nameserver", "agent"}},
		{"a controller with an agent's certificate", "fairlead-controller",
			c.tls("probe-eu-west", "--name", "probe-eu-west", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state-dir", c.t.TempDir()), []string{"agent", "controller"}},
		{"a nameserver without a certificate", "fairlead-authdns",
			[]string{"--name", "ns-1", "--region", "eu-west", "--dns", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--snapshot-dir", c.t.TempDir()}, []string{"--tls-cert", "pki"}},
	} {
		p := start(c.t, r.program, r.args...)
		eventually(c.t, 10*time.Second, r.what+" to be refused", func() bool { return !p.running() })
		for _, w := range r.want {
			if p.err == nil || !strings.Contains(p.log.String(), w) {
				c.t.Errorf("%s: ended with %v, want an error with %q:\n%s", r.what, p.err, w, p.log)
			}
		}
	}
}

// foreignAgents run as probe-eu-west: one whose certificate says all that it
// should, of another CA; and one whose certificate is ours, for another region
// than that agent is registered in. No controller takes either in.
func (c *cluster) foreignAgents(foreign, both string) {
	c.t.Helper()
	run(c.t, 0, "pki", "issue", "agent", "probe-eu-west", "--region", "us-east", "--dir", c.pki, "--out", filepath.Join(c.pki, "moved"))
	for _, a := range []struct{ region, prefix, ca, said string }{
		{"eu-west", filepath.Join(foreign, "probe-eu-west"), both, "TLS handshake failed"},
		{"us-east", filepath.Join(c.pki, "moved"), filepath.Join(c.pki, "ca.crt"), "agent refused"},
	} {
		before := time.Now()
		p := start(c.t, "fairlead-probe", append([]string{"--name", "probe-eu-west", "--region", a.region, "--controllers", c.allControllers(), "--http", "127.0.0.1:0"},
			tlsFlags(a.prefix, a.ca)...)...)
		for _, n := range c.controllers {
			eventually(c.t, settleLimit, n.name+" to say: "+a.said, func() bool {
				_, ok := n.find(func(r record) bool { return r.at.After(before) && r.msg == a.said })
				return ok
			})
			if r, ok := n.find(func(r record) bool { return r.at.After(before) && r.msg == "agent connected" }); ok {
				c.t.Errorf("%s took an agent in: %v", n.name, r.attr)
			}
		}
		p.kill()
	}
}

// expiredNameserver starts a nameserver with a certificate that has expired:
// it answers, from disk, and nobody talks to it; a new certificate mends that
// without a restart.
func (c *cluster) expiredNameserver(f *fault) {
	c.t.Helper()
	const i = 2
	ns := c.nameservers[i]
	ns.kill()
	expire(c.t, c.pki, ns.name)
	ns.start()
	eventually(c.t, settleLimit, ns.name+" to answer from disk", func() bool {
		out, err := digAt(c.host(ns.region), nameserverDNS, "+short", "+subnet="+clusterRegions[i].client, steered)
		return err == nil && strings.TrimSpace(out) == c.host(i)
	})
	eventually(c.t, settleLimit, "the controllers to miss it", func() bool {
		out := c.run(0, "status", "-o", "name", "--controller", c.controller(0))
		return strings.Contains(out, "nameservers/"+ns.name)
	})
	time.Sleep(time.Second)
	if at := c.followed(ns, time.Now()); at >= 0 {
		c.t.Errorf("%s follows %s in spite of its certificate", ns.name, c.controllers[at].name)
	}
	c.issueOne(c.pki, "nameserver", ns.name, "--region", clusterRegions[i].name, "--host", c.host(i), "--force")
	renewed := time.Now()
	c.settled()
	f.saw("6 callers and 5 starts refused, a foreign agent and one of another region not heard; a nameserver whose certificate has expired answers from disk, and is back %v after a new one was written",
		time.Since(renewed).Round(100*time.Millisecond))
}
