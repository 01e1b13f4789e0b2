package e2e

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// clusterRegions are the regions, and a client near each.
var clusterRegions = []struct{ name, coordinates, client string }{
	{"eu-west", "latitude: 53.35, longitude: -6.26", "193.0.6.0/24"},
	{"us-east", "latitude: 38.95, longitude: -77.45", "8.8.8.0/24"},
	{"ap-northeast", "latitude: 35.68, longitude: 139.69", "133.11.0.0/16"},
}

// Each region is a loopback address of its own, where everything in it listens
// on these ports. They lie below those that connections are made from, so a
// program that is started again finds its port free.
const (
	etcdPort, etcdPeerPort         = 2379, 2380
	controllerGRPC, controllerHTTP = 7443, 8080
	nameserverDNS, nameserverGRPC  = 5300, 7444
	nameserverHTTP, probeHTTP      = 8081, 8082
	servicePort                    = 18080
	interval, timeout, fall        = 500 * time.Millisecond, 200 * time.Millisecond, 2
	settleLimit                    = 60 * time.Second
	admin                          = "alice"
)

// shape says how many of what there are; agents and services are one in each
// region.
type shape struct {
	etcd, controllers, nameservers int
	// regions is how many there are, 0: all of them. What etcd has beyond them
	// is in other places.
	regions int
	// world is where each region has a network of its own; nil: all of them have
	// addresses on loopback.
	world *world
	// interval and timeout are those of the checks; 0: the constants'.
	interval, timeout time.Duration
	// etcdArgs are more arguments of etcd.
	etcdArgs []string
	// tokens lets people call with tokens, too: NAME.token beside the certificates.
	tokens bool
	// debug are the clients that the second nameserver explains itself to.
	debug string
	// backwards starts everything before what it depends on.
	backwards bool
}

// cluster is an installation over the three regions, each member of it a
// process of its own, all of them under mutual TLS.
type cluster struct {
	t     *testing.T // of the test or subtest that uses it
	root  *testing.T // whose end ends the processes
	shape shape
	dir   string
	net   string // the first three bytes of all addresses

	// witness is a region without endpoints that has an agent, or none: -1.
	witness int
	every   time.Duration // between two questions of a sampler

	// By number; number n is in region n.
	etcd, controllers, nameservers, agents, services []*node

	pki, etcdPKI       string       // directories of the CAs and the certificates
	https, etcdMetrics *http.Client // trust them
}

// newCluster starts everything and applies the configuration.
func newCluster(t *testing.T, s shape) *cluster {
	t.Helper()
	c := &cluster{t: t, root: t, shape: s, dir: t.TempDir(), witness: -1, every: sampleEvery}
	if s.world != nil {
		c.net = s.world.net()
	} else {
		// Tests that run at the same time have other addresses.
		free := ports(t, 1)[0]
		c.net = fmt.Sprintf("127.%d.%d", 100+free/256%100, free%256)
	}
	c.issue()
	for i := range s.etcd {
		c.etcd = append(c.etcd, c.etcdMember(i))
	}
	for i := range s.controllers {
		c.controllers = append(c.controllers, c.controllerNode(i))
	}
	for i := range s.nameservers {
		c.nameservers = append(c.nameservers, c.nameserverNode(i))
	}
	for i, r := range clusterRegions[:c.regions()] {
		c.agents = append(c.agents, c.agentNode(i))
		c.services = append(c.services, &node{name: "service-" + r.name, region: i, begin: func() *process {
			return startService(c.root, c.shape.world, i, net.JoinHostPort(c.host(i), fmt.Sprint(servicePort)))
		}})
	}
	order := [][]*node{c.services, c.etcd, c.controllers, c.nameservers, c.agents}
	if s.backwards {
		slices.Reverse(order)
	}
	for _, group := range order {
		for _, n := range group {
			n.start()
		}
		if s.backwards {
			time.Sleep(time.Second) // to look for what is not there
		}
	}
	eventually(t, settleLimit, "controllers that take configuration", func() bool {
		return !slices.ContainsFunc(c.controllers, func(n *node) bool { return !c.ready(n.region, controllerHTTP) })
	})
	c.run(0, "apply", "-f", write(t, "cluster.yaml", c.configuration()), "--controller", c.controller(0), "--wait", "20s")
	c.settled()
	return c
}

// on is the cluster as a subtest uses it.
func (c *cluster) on(t *testing.T) *cluster {
	d := *c
	d.t = t
	if c.shape.world != nil {
		w := *c.shape.world
		w.t, d.shape.world = t, &w
	}
	return &d
}

// regions is how many regions have endpoints.
func (c *cluster) regions() int {
	if c.shape.regions > 0 {
		return c.shape.regions
	}
	return len(clusterRegions)
}

// host is the address of a region.
func (c *cluster) host(region int) string { return fmt.Sprintf("%s.%d", c.net, 10*(region+1)) }

// addressOf is the address of a region's service.
func (c *cluster) addressOf(region string) string { return c.host(c.regionOf(region)) }

func (c *cluster) regionOf(name string) int {
	for i, r := range clusterRegions {
		if r.name == name {
			return i
		}
	}
	c.t.Fatalf("no region %q", name)
	return 0
}

// at is an address and port in a region.
func (c *cluster) at(region, port int) string {
	return net.JoinHostPort(c.host(region), fmt.Sprint(port))
}

func (c *cluster) controller(i int) string { return c.at(i, controllerGRPC) }

// allControllers is what --controllers says.
func (c *cluster) allControllers() string {
	var all []string
	for i := range c.shape.controllers {
		all = append(all, c.controller(i))
	}
	return strings.Join(all, ",")
}

// program is a node that runs a program.
func (c *cluster) program(name string, region int, program string, args ...string) *node {
	return &node{name: name, region: region, begin: func() *process { return startIn(c.root, c.shape.world, region, program, args...) }}
}

func (c *cluster) etcdMember(i int) *node {
	name := func(i int) string { return fmt.Sprintf("etcd-%d", i+1) }
	var initial []string
	for j := range c.shape.etcd {
		initial = append(initial, name(j)+"=https://"+c.at(j, etcdPeerPort))
	}
	client, peer, cert := "https://"+c.at(i, etcdPort), "https://"+c.at(i, etcdPeerPort), filepath.Join(c.etcdPKI, name(i))
	ca := filepath.Join(c.etcdPKI, "ca.crt")
	return c.program(name(i), i, "etcd", append([]string{"--name", name(i), "--data-dir", filepath.Join(c.dir, name(i)), "--log-level", "warn",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(initial, ","),
		"--cert-file", cert + ".crt", "--key-file", cert + ".key", "--trusted-ca-file", ca, "--client-cert-auth",
		"--peer-cert-file", cert + ".crt", "--peer-key-file", cert + ".key", "--peer-trusted-ca-file", ca, "--peer-client-cert-auth"}, c.shape.etcdArgs...)...)
}

func (c *cluster) controllerNode(i int) *node {
	name := fmt.Sprintf("controller-%d", i+1)
	var members []string
	for j := range c.shape.etcd {
		members = append(members, c.at(j, etcdPort))
	}
	etcd := filepath.Join(c.etcdPKI, name)
	var more []string
	if c.shape.tokens {
		more = []string{"--tokens", filepath.Join(c.pki, tokensFile)}
	}
	return c.program(name, i, "fairlead-controller", c.tls(name, append(more, "--name", name, "--log-format", "json",
		"--etcd", strings.Join(members, ","), "--etcd-cert", etcd+".crt", "--etcd-key", etcd+".key", "--etcd-ca", filepath.Join(c.etcdPKI, "ca.crt"),
		"--state-dir", filepath.Join(c.dir, name), "--grpc", c.controller(i), "--http", c.at(i, controllerHTTP))...)...)
}

func (c *cluster) nameserverNode(i int) *node {
	name := fmt.Sprintf("ns-%d", i+1)
	var more []string
	if i == 1 && c.shape.debug != "" {
		more = []string{"--debug-clients", c.shape.debug}
	}
	return c.program(name, i, "fairlead-authdns", c.tls(name, append(more, "--name", name, "--region", clusterRegions[i].name, "--log-format", "json",
		"--dns", c.at(i, nameserverDNS), "--grpc", c.at(i, nameserverGRPC), "--http", c.at(i, nameserverHTTP),
		"--controllers", c.allControllers(), "--snapshot-dir", filepath.Join(c.dir, name))...)...)
}

func (c *cluster) agentNode(i int) *node {
	name := "probe-" + clusterRegions[i].name
	return c.program(name, i, "fairlead-probe", c.tls(name, "--name", name, "--region", clusterRegions[i].name, "--log-format", "json",
		"--controllers", c.allControllers(), "--http", c.at(i, probeHTTP), "--allow-target", "127.0.0.0/8")...)
}

// run runs the CLI as alice, who is an admin.
func (c *cluster) run(code int, args ...string) string {
	c.t.Helper()
	return run(c.t, code, c.tls(admin, args...)...)
}

// ready asks /readyz.
func (c *cluster) ready(region, port int) bool {
	resp, err := c.https.Get("https://" + c.at(region, port) + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// settled waits until nothing is amiss at any member.
func (c *cluster) settled() {
	c.t.Helper()
	amiss := ""
	for end := time.Now().Add(settleLimit); ; time.Sleep(100 * time.Millisecond) {
		if amiss = c.amiss(); amiss == "" {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("after %v still amiss: %s", settleLimit, amiss)
		}
	}
}

func (c *cluster) amiss() string {
	for _, n := range c.etcd {
		if resp, err := c.etcdMetrics.Get("https://" + c.at(n.region, etcdPort) + "/health"); err != nil {
			return err.Error()
		} else if body, _ := io.ReadAll(resp.Body); resp.Body.Close() != nil || resp.StatusCode != http.StatusOK {
			return fmt.Sprintf("%s: %s", n.name, body)
		}
	}
	for i, n := range c.controllers {
		if !c.ready(n.region, controllerHTTP) {
			return n.name + " is not ready"
		}
		if code, out, err := runTry(c.tls(admin, "status", "-o", "name", "--controller", c.controller(i))...); code != 0 || err != nil || out != "" {
			return fmt.Sprintf("at %s, not well: %s %v", n.name, strings.Join(strings.Fields(out), " "), err)
		}
	}
	for _, n := range c.nameservers {
		if !c.ready(n.region, nameserverHTTP) || c.followed(n, time.Now()) < 0 {
			return n.name + " is not ready, or follows no controller"
		}
	}
	return ""
}

// followed is the number of the controller that a nameserver followed at a
// time, or -1.
func (c *cluster) followed(ns *node, at time.Time) int {
	followed := -1
	if len(ns.runs) == 0 {
		return followed
	}
	for _, r := range ns.current().log.all() {
		switch r.msg {
		case "following", "following another controller":
			if !r.at.After(at) {
				followed = slices.IndexFunc(c.controllers, func(n *node) bool { return c.controller(n.region) == r.text("controller") })
			}
		case "no controller to follow; answers stay as they are":
			if !r.at.After(at) {
				followed = -1
			}
		}
	}
	return followed
}

// ask digs at the first nameserver for a client.
func (c *cluster) ask(name, client string, args ...string) string {
	c.t.Helper()
	return c.askAt(0, name, client, args...)
}

// askAt digs at a nameserver for a client.
func (c *cluster) askAt(ns int, name, client string, args ...string) string {
	c.t.Helper()
	out, err := digAt(c.host(ns), nameserverDNS, append([]string{"+short", "+subnet=" + client, name}, args...)...)
	if err != nil {
		c.t.Fatalf("dig %s at ns-%d: %v\n%s", name, ns+1, err, out)
	}
	return strings.TrimSpace(out)
}

// becomes waits for an answer and returns how long it took since began.
func (c *cluster) becomes(name, client, want string, began time.Time, limit time.Duration) time.Duration {
	c.t.Helper()
	eventually(c.t, limit, fmt.Sprintf("%s to be %s for %s", name, want, client), func() bool {
		out, err := digAt(c.host(0), nameserverDNS, "+short", "+subnet="+client, name)
		return err == nil && strings.TrimSpace(out) == want
	})
	return time.Since(began)
}

func (c *cluster) configuration() string {
	var b strings.Builder
	for i, r := range clusterRegions {
		if i >= c.regions() && i != c.witness {
			continue
		}
		fmt.Fprintf(&b, "apiVersion: fairlead/v1\nkind: Region\nmetadata: {name: %s}\nspec: {%s}\n---\n", r.name, r.coordinates)
		fmt.Fprintf(&b, "apiVersion: fairlead/v1\nkind: Agent\nmetadata: {name: probe-%s}\nspec: {region: %s}\n---\n", r.name, r.name)
	}
	for i := range c.shape.nameservers {
		fmt.Fprintf(&b, "apiVersion: fairlead/v1\nkind: Nameserver\nmetadata: {name: ns-%d}\nspec: {region: %s, dns: %q, grpc: %q}\n---\n",
			i+1, clusterRegions[i].name, c.at(i, nameserverDNS), c.at(i, nameserverGRPC))
	}
	order := strings.Join([]string{"us-east", "eu-west", "ap-northeast"}[:c.regions()], ", ")
	// The same endpoints fail again and again here, so flaps are not damped;
	// what is, has a check of its own.
	fmt.Fprintf(&b, `apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {interval: %[1]v, timeout: %[2]v, rise: 2, fall: %[3]d, http: {port: %[4]d, path: /healthz}, damping: {off: true}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active, defaultOrder: [%[5]s]}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: primary-us}
spec: {mode: active-passive, regions: [%[5]s]}
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
`, cmp.Or(c.shape.interval, interval), cmp.Or(c.shape.timeout, timeout), fall, servicePort, order)
	for name, policy := range map[string]string{"www": "nearest", "pay": "primary-us", "*.tenants": "nearest"} {
		fmt.Fprintf(&b, "---\napiVersion: fairlead/v1\nkind: Service\nmetadata: {name: %q}\nspec:\n  zone: example.test\n  ttl: 5s\n  policy: %s\n  healthCheck: web\n  endpoints:\n", name+".example.test", policy)
		for i, r := range clusterRegions[:c.regions()] {
			fmt.Fprintf(&b, "    - {name: %s-1, region: %s, addresses: [%s]}\n", r.name, r.name, c.host(i))
		}
	}
	return b.String()
}
