package cli

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	plaintext "google.golang.org/grpc/credentials/insecure"

	"github.com/fairlead-dns/fairlead/probes"
)

const failoverYAML = `apiVersion: fairlead/v1
kind: Region
metadata: {name: eu-west}
spec: {latitude: 53.35, longitude: -6.26}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: us-east}
spec: {latitude: 38.95, longitude: -77.45}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: ap-northeast}
spec: {latitude: 35.68, longitude: 139.69}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-eu-west}
spec: {region: eu-west}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-us-east}
spec: {region: us-east}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-ap-northeast}
spec: {region: ap-northeast}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: port}
spec: {interval: 200ms, timeout: 200ms, rise: 2, fall: 2, tcp: {port: PORT}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec: {nameservers: [ns1.example.test], records: "ns1 A 127.0.0.1"}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: www.example.test}
spec:
  zone: example.test
  policy: nearest
  healthCheck: port
  failback: {mode: manual}
  endpoints:
    - {name: eu-1, region: eu-west, addresses: [127.0.41.1]}
    - {name: us-1, region: us-east, addresses: [127.0.42.1]}
`

// listen accepts connections at an address until it is closed.
func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var g sync.WaitGroup
	g.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	})
	t.Cleanup(func() { l.Close(); g.Wait() })
	return l
}

// startAgents runs an agent in each region, each on the controller at an address.
func startAgents(t *testing.T, controller string, regions ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	for _, region := range regions {
		a, err := probes.New(probes.Options{
			Name: "probe-" + region, Region: region, Controllers: []string{controller}, Credentials: plaintext.NewCredentials(),
			AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		})
		if err != nil {
			t.Fatal(err)
		}
		g.Go(func() {
			if err := a.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); g.Wait() })
}

// A region fails and recovers, at a real controller with real agents: it waits for
// its release, and what was observed can be replayed.
func TestRegionReturns(t *testing.T) {
	t.Parallel() // latches do not trip within the first seconds
	addr, _ := startController(t)
	here := func(args ...string) []string { return append(args, "--controller", addr) }
	us := listen(t, "127.0.42.1:0")
	port := strconv.Itoa(us.Addr().(*net.TCPAddr).Port)
	eu := listen(t, "127.0.41.1:"+port)
	conf := strings.Replace(failoverYAML, "PORT", port, 1)
	run(t, conf, here("apply", "-f", "-")...).want(t, exitDone, "10 created")
	startAgents(t, addr, "eu-west", "us-east", "ap-northeast")
	eventually(t, "1 service, all endpoints healthy", here("status")...)
	run(t, "", here("latch", "list")...).want(t, exitDone, "no latches; generation 1.")
	run(t, "", here("latch", "release", "guard", "--reason", "x")...).want(t, exitFailed, `no latch "guard" stands`)
	w := startWatch(t, here("--initial")...)
	w.shows("agent probe-eu-west of region eu-west is connected")

	const latch = "failback/www.example.test/eu-west"
	eu.Close()
	eventually(t, latch, here("latch", "list")...).want(t, exitDone, "no endpoint of the region can serve yet", "release with: fairlead latch release "+latch+" --reason TEXT")
	w.shows("waits for a release of trip 1 (fairlead latch release " + latch + " --reason TEXT)")
	run(t, "", here("latch", "release", latch, "--reason", "too early", "--trip", "99")...).want(t, exitFailed, latch, "trip 99")
	listen(t, "127.0.41.1:"+port)
	eventually(t, "healthy, and waits for a release", here("status")...).want(t, exitDone, latch)
	run(t, "", here("status", "-o", "name")...).want(t, exitDone, "latches/"+latch+"\n")
	run(t, "", here("describe", "service", "www.example.test")...).want(t, exitDone, "127.0.41.1", latch, "healthy, and waits for a release")
	run(t, "", here("describe", "region", "eu-west")...).want(t, exitDone, latch)
	run(t, "", here("explain", "www.example.test", "--client", "193.0.6.139")...).want(t, exitDone, "waits for a release: fairlead latch release "+latch, "Answer     127.0.42.1")
	run(t, "", "__complete", "--controller", addr, "latch", "release", "").want(t, exitDone, latch+"\n")

	run(t, "", here("latch", "release", latch, "--reason", "it has caught up", "--author", "alice", "--wait", "1s")...).want(t, exitDone,
		latch+" is released (trip 1); generation 1.", "region eu-west may serve www.example.test again: its clients come back at once\n", "no nameserver is registered or connected")
	eventually(t, "no latches; generation 1.", here("latch", "list")...)
	eventually(t, "127.0.41.1", here("explain", "www.example.test", "--client", "193.0.6.139", "-o", "name")...)
	run(t, "", here("events")...).want(t, exitDone, "latch-release", "latches/"+latch, "it has caught up")
	w.shows("an operator released trip 1: region eu-west of www.example.test may serve again")
	w.ends()

	r := run(t, "", here("health", "replay", "--service", "www.example.test", "--fall", "3", "--recovery", "1ms", "--draw")...)
	r.want(t, exitDone, "www.example.test, health check port: ", "by 3 agents in ", "eu-1 port@127.0.41.1", "asked for      2     3  majority", "nothing happened to 1 target", "probe-eu-west")
	r.matches(t, `(?m)^eu-1 port@127\.0\.41\.1 +configured +[1-9]`, `(?m)^  probe-us-east .*█`)
	run(t, "", here("health", "replay", "--service", "www.example.test", "--endpoint", "eu1")...).want(t, exitFailed, `service "www.example.test" has no endpoint "eu1" (did you mean "eu-1"?)`)
}
