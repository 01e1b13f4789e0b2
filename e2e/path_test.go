package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A client of each of ten countries, by IPv4 and by IPv6, gets its nearest
// region. The addresses are networks of the built-in data.
var clients = []struct{ country, v4, v6, region string }{
	{"US", "8.8.8.0/24", "2001:4860::/32", "us-east"},
	{"CA", "192.197.82.0/24", "2001:410::/32", "us-east"},
	{"BR", "200.160.0.0/24", "2801:80::/28", "us-east"},
	{"MX", "200.23.1.0/24", "2806::/24", "us-east"},
	{"NL", "193.0.6.0/24", "2001:67c:2e8::/48", "eu-west"},
	{"DE", "193.99.144.0/24", "2a02:2e0::/32", "eu-west"},
	{"FR", "194.2.0.0/24", "2a01:e00::/28", "eu-west"},
	{"ZA", "196.216.2.0/24", "2001:4200::/32", "eu-west"},
	{"JP", "133.11.0.0/16", "240b::/24", "ap-northeast"},
	{"KR", "168.126.63.0/24", "2001:dc5::/32", "ap-northeast"},
}

func TestThePath(t *testing.T) {
	c := newCluster(t, shape{etcd: 1, controllers: 2, nameservers: 1})

	t.Run("geo", func(t *testing.T) {
		c := c.on(t)
		for _, client := range clients {
			want := c.addressOf(client.region)
			for _, net := range []string{client.v4, client.v6} {
				if got := c.ask("www.example.test", net); got != want {
					t.Errorf("%s %s: %s, want %s (%s)\n%s", client.country, net, got, want, client.region,
						c.run(0, "explain", "www.example.test", "--client", net, "--controller", c.controller(0)))
				}
			}
		}
	})

	t.Run("answers", func(t *testing.T) {
		c := c.on(t)
		for _, q := range []struct {
			args string
			want []string
		}{
			{"www.example.test A", []string{"status: NOERROR", "flags: qr aa rd;", "ANSWER: 1"}},
			{"shop.example.test A", []string{"CNAME\twww.example.test.", "ANSWER: 2"}},
			{"x.tenants.example.test A", []string{"x.tenants.example.test.", "ANSWER: 1"}},
			{"any.apps.example.test A", []string{"192.0.2.80"}},
			{"example.test MX", []string{"10 mail.example.test."}},
			{"example.test SOA", []string{"ns1.example.test. hostmaster.example.test."}},
			{"www.example.test AAAA", []string{"status: NOERROR", "ANSWER: 0", "SOA"}},
			{"b.deep.example.test TXT", []string{"status: NOERROR", "ANSWER: 0", "SOA"}},
			{"nothing.example.test A", []string{"status: NXDOMAIN", "SOA"}},
			{"x.sub.example.test A", []string{"status: NOERROR", "ANSWER: 0", "AUTHORITY: 1", "ns.sub.example.test.", "192.0.2.53"}},
			{"www.elsewhere.test A", []string{"status: REFUSED", "EDE: 20"}},
			{"+tcp www.example.test A", []string{"status: NOERROR", "(TCP)"}},
			{"+edns=1 +noednsnegotiation www.example.test A", []string{"status: BADVERS"}},
		} {
			out, err := digAt(c.host(0), nameserverDNS, strings.Fields(q.args)...)
			if err != nil {
				t.Errorf("dig %s: %v\n%s", q.args, err, out)
			}
			for _, w := range q.want {
				if !strings.Contains(out, w) {
					t.Errorf("dig %s: no %q in\n%s", q.args, w, out)
				}
			}
		}
		if out, _ := digAt(c.host(0), nameserverDNS, "+subnet=193.0.6.0/24", "www.example.test"); !strings.Contains(out, "CLIENT-SUBNET: 193.0.6.0/24/") || strings.Contains(out, "CLIENT-SUBNET: 193.0.6.0/24/0") {
			t.Errorf("no scope for a steered answer:\n%s", out)
		}
		if out, _ := digAt(c.host(0), nameserverDNS, "+subnet=193.0.6.0/24", "mail.example.test"); !strings.Contains(out, "CLIENT-SUBNET: 193.0.6.0/24/0") {
			t.Errorf("a scope other than 0 for a static answer:\n%s", out)
		}
	})

	t.Run("failover and failback", func(t *testing.T) {
		c := c.on(t)
		eu, us := c.addressOf("eu-west"), c.addressOf("us-east")
		limit := fall*interval + timeout + time.Second
		for round := range 3 {
			began := time.Now()
			c.fails(c.regionOf("eu-west"), true)
			over := c.becomes("www.example.test", "193.0.6.0/24", us, began, 10*time.Second)
			if over > limit {
				t.Errorf("round %d: failover after %v, want at most %v", round, over, limit)
			}
			if status := c.run(0, "status", "--controller", c.controller(1)); !strings.Contains(status, "eu-west-1") || !strings.Contains(status, "HTTP 503") && !strings.Contains(status, "UNHEALTHY") {
				t.Errorf("status does not name the endpoint that failed:\n%s", status)
			}
			began = time.Now()
			c.fails(c.regionOf("eu-west"), false)
			back := c.becomes("www.example.test", "193.0.6.0/24", eu, began, 10*time.Second)
			t.Logf("failover after %v, failback after %v (interval %v, timeout %v, fall %d, rise 2)",
				over.Round(time.Millisecond), back.Round(time.Millisecond), interval, timeout, fall)
		}
	})

	t.Run("active-passive", func(t *testing.T) {
		c := c.on(t)
		us, eu := c.addressOf("us-east"), c.addressOf("eu-west")
		for _, client := range []string{"8.8.8.0/24", "193.0.6.0/24", "133.11.0.0/16"} {
			if got := c.ask("pay.example.test", client); got != us {
				t.Errorf("%s gets %s, want the primary %s", client, got, us)
			}
		}
		began := time.Now()
		c.fails(c.regionOf("us-east"), true)
		c.becomes("pay.example.test", "133.11.0.0/16", eu, began, 10*time.Second)
		c.fails(c.regionOf("us-east"), false)
		c.becomes("pay.example.test", "133.11.0.0/16", us, time.Now(), 10*time.Second)
	})

	t.Run("drain", func(t *testing.T) {
		c := c.on(t)
		eu, us := c.addressOf("eu-west"), c.addressOf("us-east")
		began := time.Now()
		out := c.run(0, "region", "drain", "eu-west", "--reason", "maintenance", "--wait", "5s", "--controller", c.controller(0))
		took := time.Since(began)
		if got := c.ask("www.example.test", "193.0.6.0/24"); got != us {
			t.Errorf("drained, but the answer is %s, want %s\n%s", got, us, out)
		}
		t.Logf("drain confirmed by every nameserver after %v", took.Round(time.Millisecond))
		x := c.run(0, "explain", "www.example.test", "--client", "193.0.6.0/24", "--controller", c.controller(1))
		for _, want := range []string{"maintenance", "us-east", "drain", "NL"} {
			if !strings.Contains(x, want) {
				t.Errorf("explain says nothing of %q:\n%s", want, x)
			}
		}
		// The same from the nameserver that answers.
		if n := c.run(0, "explain", "www.example.test", "--client", "193.0.6.0/24", "--nameserver", "ns-1", "--controller", c.controller(1)); !strings.Contains(n, "maintenance") || !strings.Contains(n, us) {
			t.Errorf("the nameserver explains otherwise:\n%s", n)
		}
		// The drained region is the last resort when the others die.
		c.fails(c.regionOf("us-east"), true)
		c.fails(c.regionOf("ap-northeast"), true)
		c.becomes("www.example.test", "193.0.6.0/24", eu, time.Now(), 10*time.Second)
		c.fails(c.regionOf("us-east"), false)
		c.fails(c.regionOf("ap-northeast"), false)
		c.becomes("www.example.test", "193.0.6.0/24", us, time.Now(), 10*time.Second)
		c.run(0, "region", "undrain", "eu-west", "--reason", "done", "--wait", "5s", "--controller", c.controller(1))
		if got := c.ask("www.example.test", "193.0.6.0/24"); got != eu {
			t.Errorf("undrained, but the answer is %s", got)
		}
		c.run(1, "region", "drain", "eu-wst", "--reason", "x", "--controller", c.controller(0))
	})

	t.Run("everything down is never empty", func(t *testing.T) {
		c := c.on(t)
		for region := range clusterRegions {
			c.fails(region, true)
		}
		eventually(t, 10*time.Second, "the all-down rung", func() bool {
			return strings.Contains(c.run(0, "explain", "www.example.test", "--client", "193.0.6.0/24", "--controller", c.controller(0)), "all-down")
		})
		if got, want := c.ask("www.example.test", "193.0.6.0/24"), c.addressOf("eu-west"); got != want {
			t.Errorf("all down: %q, want %s by serve-all", got, want)
		}
		for region := range clusterRegions {
			c.fails(region, false)
		}
		eventually(t, 10*time.Second, "health", func() bool {
			return strings.Contains(c.run(0, "status", "--controller", c.controller(0)), "all endpoints healthy")
		})
	})

	t.Run("one controller dies", func(t *testing.T) {
		c := c.on(t)
		c.controllers[0].kill()
		began := time.Now()
		c.fails(c.regionOf("eu-west"), true)
		over := c.becomes("www.example.test", "193.0.6.0/24", c.addressOf("us-east"), began, 10*time.Second)
		t.Logf("failover with one of two controllers dead after %v", over.Round(time.Millisecond))
	})

	// From here on eu-west is down, and the nameserver must remember it.
	t.Run("controllers and etcd die", func(t *testing.T) {
		c := c.on(t)
		c.etcd[0].kill()
		c.controllers[1].kill()
		wantEU, wantAP := c.addressOf("us-east"), c.addressOf("ap-northeast")
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if got := c.ask("www.example.test", "193.0.6.0/24"); got != wantEU {
				t.Fatalf("answer changed to %q", got)
			}
			if got := c.ask("www.example.test", "133.11.0.0/16"); got != wantAP {
				t.Fatalf("answer changed to %q", got)
			}
		}
		if !c.ready(0, nameserverHTTP) {
			t.Error("the nameserver withdrew because its controllers are away")
		}
	})

	t.Run("restart from disk", func(t *testing.T) {
		c := c.on(t)
		for _, how := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			took := c.nameservers[0].current().stop(how)
			if how == syscall.SIGTERM && took > 2*time.Second {
				t.Errorf("took %v to end", took)
			}
			began := time.Now()
			c.nameservers[0].start()
			up := c.becomes("www.example.test", "193.0.6.0/24", c.addressOf("us-east"), began, 10*time.Second)
			if got := c.ask("www.example.test", "133.11.0.0/16"); got != c.addressOf("ap-northeast") {
				t.Errorf("after a restart: %q", got)
			}
			t.Logf("after %v: answering from disk %v after the start", how, up.Round(time.Millisecond))
		}
	})

	// Controllers that start without etcd judge health from their own disk, and
	// refuse to change anything.
	t.Run("controllers start without etcd", func(t *testing.T) {
		c := c.on(t)
		for _, n := range c.controllers {
			n.start()
		}
		began := time.Now()
		c.fails(c.regionOf("us-east"), true)
		over := c.becomes("www.example.test", "193.0.6.0/24", c.addressOf("ap-northeast"), began, 15*time.Second)
		t.Logf("failover %v after the fault, with controllers just started and no etcd", over.Round(time.Millisecond))
		if out := c.run(1, "region", "drain", "ap-northeast", "--reason", "x", "--controller", c.controller(0)); !strings.Contains(out, "etcd") {
			t.Errorf("the refusal does not name etcd:\n%s", out)
		}
		c.fails(c.regionOf("us-east"), false)
		c.becomes("www.example.test", "193.0.6.0/24", c.addressOf("us-east"), time.Now(), 15*time.Second)
	})

	t.Run("everything comes back", func(t *testing.T) {
		c := c.on(t)
		c.etcd[0].start()
		eventually(t, 20*time.Second, "controllers", func() bool { return c.ready(0, controllerHTTP) && c.ready(1, controllerHTTP) })
		if got := c.ask("www.example.test", "193.0.6.0/24"); got != c.addressOf("us-east") {
			t.Errorf("eu-west is down, but the answer is %q", got)
		}
		c.fails(c.regionOf("eu-west"), false)
		c.becomes("www.example.test", "193.0.6.0/24", c.addressOf("eu-west"), time.Now(), 15*time.Second)
	})

	t.Run("the programs end in time", func(t *testing.T) {
		for _, n := range slices.Concat(c.nameservers, c.controllers, c.agents) {
			p := n.current()
			if took := p.stop(syscall.SIGTERM); took > 2*time.Second {
				t.Errorf("%s took %v to end", p.name, took)
			}
			if p.err != nil {
				t.Errorf("%s: %v", p.name, p.err)
			}
		}
	})
	fmt.Fprintln(os.Stderr)
}
