package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cluster is one etcd, two controllers, one nameserver and three agents, each
// a process of its own, and one HTTP service per region.
type cluster struct {
	t           *testing.T
	dir         string
	etcd        *process
	controllers []*process
	nameserver  *process
	agents      []*process
	services    map[string]*service // by region

	etcdPort, etcdPeer int
	grpc, http         []int // of the controllers
	dns, nsGRPC        int
	nsHTTP             int
}

// clusterRegions are the regions, and where their service listens: each test
// has addresses of its own, so that tests can run at the same time.
var clusterRegions = []struct{ name, coordinates string }{
	{"eu-west", "latitude: 53.35, longitude: -6.26"},
	{"us-east", "latitude: 38.95, longitude: -77.45"},
	{"ap-northeast", "latitude: 35.68, longitude: 139.69"},
}

const interval, timeout, fall = 500 * time.Millisecond, 200 * time.Millisecond, 2

// newCluster starts everything and applies the configuration.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), services: map[string]*service{}}
	p := ports(t, 9)
	c.etcdPort, c.etcdPeer = p[0], p[1]
	c.grpc, c.http = p[2:4], p[4:6]
	c.dns, c.nsGRPC, c.nsHTTP = p[6], p[7], p[8]
	c.startEtcd()
	c.startControllers()
	c.startNameserver()
	for i, r := range clusterRegions {
		c.services[r.name] = serve(t, net.JoinHostPort(c.address(i), "18080"))
	}
	eventually(t, 20*time.Second, "a controller that takes configuration", func() bool {
		return c.ready(c.http[0]) && c.ready(c.http[1])
	})
	run(t, 0, "apply", "-f", write(t, "cluster.yaml", c.configuration()), "--controller", c.controller(0), "--wait", "10s")
	for _, r := range clusterRegions {
		c.agents = append(c.agents, start(t, "fairlead-probe", "--name", "probe-"+r.name, "--region", r.name,
			"--controllers", c.controller(0)+","+c.controller(1), "--http", "127.0.0.1:0", "--allow-target", "127.0.0.0/8"))
	}
	eventually(t, 20*time.Second, "health", func() bool {
		return c.ready(c.http[0]) && c.ready(c.http[1]) && strings.Count(run(t, 0, "status", "--controller", c.controller(0)), "probe-") == 3
	})
	return c
}

// address is the service's address in the i-th region.
func (c *cluster) address(i int) string {
	return fmt.Sprintf("127.%d.%d.%d", 100+c.dns/256%100, c.dns%256, 10*(i+1))
}

func (c *cluster) addressOf(region string) string {
	for i, r := range clusterRegions {
		if r.name == region {
			return c.address(i)
		}
	}
	c.t.Fatalf("no region %q", region)
	return ""
}

func (c *cluster) controller(i int) string { return fmt.Sprintf("127.0.0.1:%d", c.grpc[i]) }

func (c *cluster) startEtcd() {
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", c.etcdPort), fmt.Sprintf("http://127.0.0.1:%d", c.etcdPeer)
	c.etcd = start(c.t, "etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--name", "etcd-1", "--log-level", "error",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "etcd-1="+peer)
}

func (c *cluster) startControllers() {
	c.controllers = nil
	for i := range c.grpc {
		c.controllers = append(c.controllers, start(c.t, "fairlead-controller", "--name", fmt.Sprintf("controller-%d", i+1),
			"--etcd", fmt.Sprintf("127.0.0.1:%d", c.etcdPort), "--grpc", c.controller(i), "--http", fmt.Sprintf("127.0.0.1:%d", c.http[i])))
	}
}

func (c *cluster) startNameserver() {
	c.nameserver = start(c.t, "fairlead-authdns", "--name", "ns-1", "--region", "eu-west",
		"--dns", fmt.Sprintf("127.0.0.1:%d", c.dns), "--grpc", fmt.Sprintf("127.0.0.1:%d", c.nsGRPC), "--http", fmt.Sprintf("127.0.0.1:%d", c.nsHTTP),
		"--controllers", c.controller(0)+","+c.controller(1), "--snapshot-dir", filepath.Join(c.dir, "snapshots"))
}

// ready asks /readyz.
func (c *cluster) ready(port int) bool {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", port))
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// ask digs for a client.
func (c *cluster) ask(name, client string, args ...string) string {
	c.t.Helper()
	return dig(c.t, c.dns, append([]string{"+subnet=" + client, name}, args...)...)
}

// becomes waits for an answer and returns how long it took since began.
func (c *cluster) becomes(name, client, want string, began time.Time, limit time.Duration) time.Duration {
	c.t.Helper()
	eventually(c.t, limit, fmt.Sprintf("%s to be %s for %s", name, want, client), func() bool {
		out, err := digTry(c.dns, "+short", "+subnet="+client, name)
		return err == nil && strings.TrimSpace(out) == want
	})
	return time.Since(began)
}

func (c *cluster) configuration() string {
	var b strings.Builder
	for i, r := range clusterRegions {
		fmt.Fprintf(&b, "apiVersion: fairlead/v1\nkind: Region\nmetadata: {name: %s}\nspec: {%s}\n---\n", r.name, r.coordinates)
		fmt.Fprintf(&b, "apiVersion: fairlead/v1\nkind: Agent\nmetadata: {name: probe-%s}\nspec: {region: %s}\n---\n", r.name, r.name)
		_ = i
	}
	fmt.Fprintf(&b, `apiVersion: fairlead/v1
kind: Nameserver
metadata: {name: ns-1}
spec: {region: eu-west, dns: "127.0.0.1:%d", grpc: "127.0.0.1:%d"}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {interval: %v, timeout: %v, rise: 2, fall: %d, http: {port: 18080, path: /healthz}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active, defaultOrder: [us-east, eu-west, ap-northeast]}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: primary-us}
spec: {mode: active-passive, regions: [us-east, eu-west, ap-northeast]}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec:
  nameservers: [ns1.example.test]
  records: |
    ns1      A      127.0.0.1
    @        MX     10 mail
    mail     A      192.0.2.25
    shop     CNAME  www
    *.apps   A      192.0.2.80
    a.b.deep TXT    "below empty non-terminals"
    sub      NS     ns.sub
    ns.sub   A      192.0.2.53
`, c.dns, c.nsGRPC, interval, timeout, fall)
	for name, policy := range map[string]string{"www": "nearest", "pay": "primary-us", "*.tenants": "nearest"} {
		fmt.Fprintf(&b, "---\napiVersion: fairlead/v1\nkind: Service\nmetadata: {name: %q}\nspec:\n  zone: example.test\n  ttl: 5s\n  policy: %s\n  healthCheck: web\n  endpoints:\n", name+".example.test", policy)
		for i, r := range clusterRegions {
			fmt.Fprintf(&b, "    - {name: %s-1, region: %s, addresses: [%s]}\n", r.name, r.name, c.address(i))
		}
	}
	return b.String()
}
