package cli

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/controller"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// startController runs a real controller over a real etcd and returns its
// address and a way to stop its etcd.
func startController(t *testing.T) (addr string, stopStore func()) {
	t.Helper()
	etcd, err := embedded.Start(t.Context(), embedded.Options{UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	stopStore = func() {
		if err := etcd.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stopStore)
	etcdClient, err := store.Dial(store.DialOptions{Endpoints: etcd.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcdClient.Close() })
	st, err := store.New(store.Options{Client: etcdClient, RequestTimeout: time.Second, ReadInterval: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	db, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	s, err := controller.New(controller.Options{Name: "c1", Version: "v0.0.0-test", Store: st, Listener: l, Geo: db, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), stopStore
}

// eventually runs a command until its output holds a text: reads come from the
// generation that is published, a moment after a write.
func eventually(t *testing.T, text string, args ...string) result {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		r := run(t, "", args...)
		if strings.Contains(r.out+r.err, text) || time.Now().After(deadline) {
			r.want(t, r.code, text)
			return r
		}
	}
}

// An operator's day, from nothing to a drained region, at a real controller.
func TestOperator(t *testing.T) {
	addr, stopStore := startController(t)
	t.Setenv("FAIRLEAD_CONTROLLER", addr)
	conf := filepath.Join(t.TempDir(), "conf.yaml")
	writeFile(t, conf, allKindsYAML)

	eventually(t, "nothing is configured: begin with `fairlead apply -f FILE`", "get", "services").want(t, exitFailed)
	run(t, "", "status").want(t, exitDone, "no generation yet", "nothing is configured")

	// Wrong references are the controller's to find; their place is in the file.
	writeFile(t, conf, strings.Replace(allKindsYAML, "{name: us-1, region: us-east, addresses: [198.51.100.20]}", "{name: us-1, region: us-aest, addresses: [198.51.100.20]}", 1))
	bad := run(t, "", "apply", "-f", conf)
	bad.want(t, exitFailed, `services "*.apps.example.test" spec.endpoints[0].region: no region "us-aest" (did you mean "us-east"?)`, "fairlead: 1 error; nothing was changed")
	if !strings.HasPrefix(bad.err, conf+":") {
		t.Errorf("the error has no place: %s", bad.err)
	}

	writeFile(t, conf, allKindsYAML)
	run(t, "", "diff", "-f", conf).want(t, exitDone, "+ services/www.example.test\n", "would create 12, update 0, delete 0, leave 0 unchanged; no generation yet")
	run(t, "", "apply", "-f", conf, "--reason", "begin").want(t, exitDone, "+ regions/eu-west\n", "12 created, 0 updated, 0 deleted, 0 unchanged; generation 1.")
	eventually(t, "services/www.example.test", "get", "services", "-o", "name")
	run(t, allKindsYAML, "apply", "-f", "-").want(t, exitDone, "0 created, 0 updated, 0 deleted, 12 unchanged; generation 1.")

	// What export prints is the same configuration.
	export := run(t, "", "export")
	export.want(t, exitDone)
	run(t, export.out, "diff", "-f", "-", "--prune").want(t, exitDone, "would create 0, update 0, delete 0, leave 12 unchanged")
	list := run(t, "", "get", "all", "-o", "json")
	list.want(t, exitDone, `"etag"`)
	run(t, list.out, "diff", "-f", "-", "--prune", "-o", "name").want(t, exitDone)

	// A stale etag is refused.
	one := run(t, "", "get", "service/www.example.test", "-o", "yaml")
	one.want(t, exitDone, "etag: ")
	edited := strings.Replace(one.out, "ttl: 30s", "ttl: 10s", 1)
	run(t, edited, "diff", "-f", "-").want(t, exitDone, "~ services/www.example.test\n    spec:\n  -   ttl: 30s\n  +   ttl: 10s\n")
	run(t, edited, "apply", "-f", "-").want(t, exitDone, "1 updated")
	run(t, strings.Replace(one.out, "ttl: 30s", "ttl: 20s", 1), "apply", "-f", "-").want(t, exitFailed, "stdin:", "metadata.etag: was changed by somebody else")

	run(t, "", "delete", "region", "us-east", "--reason", "x").want(t, exitFailed, "regions/us-east is in use, nothing was changed")
	run(t, "", "delete", "healthcheck/port", "--reason", "unused").want(t, exitDone, "- healthchecks/port\n1 deleted; generation 1.")
	eventually(t, `no HealthCheck "port"`, "get", "healthcheck", "port")

	run(t, "", "explain", "www.example.test", "--client", "193.0.6.139").want(t, exitDone,
		"www.example.test A, asked for by 193.0.6.139", ": NL, EU", "Ranked by  distance; policy nearest", "eu-west/eu-1", "Answer     192.0.2.10, 192.0.2.11", "As controller/c1 sees it: generation 1.")
	run(t, "", "explain", "www.example.test", "--client", "193.0.6.0/24", "--type", "aaaa", "-o", "name").want(t, exitDone, "2001:db8::10\n")
	run(t, "", "explain", "txt.example.test", "--client", "193.0.6.139").want(t, exitFailed, "is answered from static records")
	run(t, "", "explain", "www.example.test", "--client", "nowhere").want(t, exitFailed, `client: "nowhere" is neither an address nor a prefix`)
	run(t, "", "explain", "www.example.test", "--client", "193.0.6.139", "--nameserver", "ns-9").want(t, exitFailed, `no Nameserver "ns-9"`)

	// Nobody can confirm: ns-1 is registered and not there.
	r := run(t, "", "region", "drain", "eu-west", "--reason", "fibre cut", "--author", "alice", "--expire-after", "2h", "--wait", "10ms")
	r.want(t, exitNotConverged, "region eu-west is drained; generation 1.", "fibre cut", "not converged: after 10ms", "is not served by ns-1")
	run(t, "", "region", "drain", "eu-west", "--reason", "another", "--expire-after", "1h").want(t, exitDone, "region eu-west was drained already, since ", "; that drain stays", "fibre cut")
	run(t, "", "region", "drain", "eu-wst", "--reason", "x").want(t, exitFailed, `no region "eu-wst" (did you mean "eu-west"?)`)
	run(t, "", "region", "drain", "us-east", "--availability-zone", "q", "--reason", "x").want(t, exitFailed, `no availability zone "q"`)
	run(t, "", "region", "drain", "eu-west", "--service", "www.example.test", "--reason", "narrow").want(t, exitDone, "region eu-west, service www.example.test is drained")
	eventually(t, "narrow", "override", "list")
	eventually(t, "198.51.100.10", "explain", "www.example.test", "--client", "193.0.6.139", "-o", "name")
	run(t, "", "status").want(t, exitDone, "controller c1 (v0.0.0-test): generation 1.", "3/3  drained", "; 2 with healthy but drained ones", "probe-eu", "not connected", "fibre cut")
	run(t, "", "describe", "region", "eu-west").want(t, exitDone, "kind: Region", "3/3  drained", "fibre cut")
	run(t, "", "describe", "service", "www.example.test").want(t, exitDone, "kind: Service", "us-east", "2001:db8::10", "drain of region eu-west by alice: fibre cut")
	run(t, "", "describe", "svc", "*.apps.example.test").want(t, exitDone, "192.0.2.20")
	run(t, "", "describe", "ns/ns-1").want(t, exitDone, "kind: Nameserver", "not connected")
	run(t, "", "__complete", "region", "drain", "").want(t, exitDone, "eu-west\nus-east\n")

	// The other region is the last: the rules refuse it, and force passes them.
	run(t, "", "region", "drain", "us-east", "--reason", "x", "--dry-run").want(t, exitFailed, "min-regions", "us-east", "IN SERVICE")
	run(t, "", "region", "drain", "us-east", "--reason", "x").want(t, exitFailed, "min-regions", "would pass: ", "fairlead region drain us-east --reason x --force\n", "the safety rules refuse it (min-regions")
	run(t, "", "endpoint", "force-down", "www.example.test/us-1", "--reason", "disk", "--force").want(t, exitDone, "service www.example.test, endpoint us-1 is forced down, past the safety rules by force")
	eventually(t, "force-down", "override", "list")
	run(t, "", "endpoint", "release", "www.example.test/us-1", "--reason", "new disk").want(t, exitDone, "endpoint us-1 is no longer forced")
	run(t, "", "region", "drain", "us-east", "--reason", "switches", "--start", "+1h", "--end", "+2h", "--force").want(t, exitDone, "region us-east will be drained at ", "(in 1h)")
	scheduled := strings.Fields(eventually(t, "us-east", "__complete", "override", "end", "").out)
	run(t, "", "override", "list").want(t, exitDone, "SCHEDULED", "switches")
	for _, word := range scheduled {
		if strings.Contains(word, "-") && len(word) > 10 { // an id; those of the drains of eu-west stay
			run(t, "", "override", "end", word, "--reason", "not tonight", "--etag", "stale").want(t, exitFailed, "etag")
		}
	}
	run(t, "", "override", "end", "none", "--reason", "x").want(t, exitFailed, "there is no override none; nothing was changed")
	run(t, "", "region", "undrain", "us-east", "--reason", "not tonight").want(t, exitDone, "region us-east is no longer drained")
	run(t, "", "override", "end", "bg-none", "--reason", "x").want(t, exitFailed, `break-glass record "bg-none"`)
	run(t, "", "events", "--result", "refused", "-o", "wide").want(t, exitDone, "refused", "min-regions: ", "asked for: drain of region us-east")
	run(t, "", "events", "--actor", "alice", "--action", "override", "--since", "1h", "-o", "name").want(t, exitDone)
	run(t, "", "events", "--since", "2099-01-01T00:00:00Z").want(t, exitDone, "no events")
	run(t, "", "explain", "www.example.test", "--client", "193.0.6.139", "--type", "AAAA").want(t, exitDone,
		"The same through dig, from where it may ask: dig @127.0.0.1 -p 8053 +tcp CH TXT _aaaa.www.example.test.explain.fairlead. +subnet=193.0.6.139")

	run(t, "", "region", "undrain", "eu-west", "--reason", "mended", "-o", "name").want(t, exitDone, "overrides/")
	run(t, "", "region", "undrain", "eu-west", "--reason", "mended").want(t, exitDone, "region eu-west had no drain; nothing was changed")
	run(t, "", "region", "undrain", "eu-west", "--service", "www.example.test", "--reason", "mended").want(t, exitDone, "region eu-west, service www.example.test is no longer drained")
	eventually(t, "no overrides; generation 1.", "override", "list")

	// --prune deletes the rest; a configuration without anything is not one.
	first := strings.Join(strings.SplitAfter(allKindsYAML, "---\n")[:2], "")
	run(t, first, "diff", "-f", "-", "--prune").want(t, exitDone, "- zones/example.test\n", "would create 0, update 0, delete 9, leave 2 unchanged")
	run(t, "", "apply", "-f", "-", "--prune").want(t, exitFailed, "no resources in -")

	// Apply, as `fairlead dev` calls it.
	if err := Apply(t.Context(), addr, []string{conf}, nil); err != nil {
		t.Error(err)
	}
	if err := Apply(t.Context(), addr, nil, []byte(allKindsYAML)); err != nil {
		t.Error(err)
	}
	if err := Apply(t.Context(), addr, nil, []byte("kind: Region\n")); err == nil || !strings.Contains(err.Error(), "stdin:1: ") {
		t.Errorf("Apply of a wrong text: %v", err)
	}

	// Without etcd nothing changes, and reads go on.
	stopStore()
	run(t, allKindsYAML, "apply", "-f", "-", "--timeout", "5s").want(t, exitFailed, "nothing was written; etcd does not answer")
	run(t, "", "get", "service", "www.example.test").want(t, exitDone, "example.test")
	if r := eventually(t, "ETCD DOES NOT ANSWER", "status"); !strings.HasPrefix(r.out, "ETCD DOES NOT ANSWER") {
		t.Errorf("the first line is not loud:\n%s", r.out)
	}
}

// History at a real controller: what was, going back, and who did it, while
// somebody watches.
func TestOperatorHistory(t *testing.T) {
	addr, _ := startController(t)
	t.Setenv("FAIRLEAD_CONTROLLER", addr)
	run(t, "", "config", "history").want(t, exitDone, "no generation yet")
	run(t, allKindsYAML, "apply", "-f", "-", "--reason", "begin").want(t, exitDone, "12 created")
	first := strings.TrimSpace(eventually(t, "1.", "config", "history", "-o", "name").out)
	w := startWatch(t, "--initial")
	w.shows("generation " + first)
	w.shows("nameserver ns-1 of region eu-west is not connected")

	www := run(t, "", "get", "service/www.example.test", "-o", "yaml").out
	run(t, strings.Replace(www, "ttl: 30s", "ttl: 10s", 1), "apply", "-f", "-", "--reason", "faster").want(t, exitDone, "1 updated")
	w.shows("the configuration changed")
	run(t, "", "region", "drain", "us-east", "--reason", "fibre cut", "--author", "alice").want(t, exitDone)
	w.shows("+ drain of region us-east by alice (fibre cut)")
	run(t, "", "config", "history").want(t, exitDone, "GENERATION  AGE", "apply", "begin", "faster", "fibre cut")
	run(t, "", "config", "diff", first).want(t, exitDone, "~ services/www.example.test\n    spec:\n  -   ttl: 30s\n  +   ttl: 10s\n", "from generation "+first+" to the current one: 0 created, 1 updated, 0 deleted, 11 unchanged\n")
	run(t, "", "config", "diff", "1.1", first).want(t, exitFailed, "1.1")
	run(t, "", "config", "rollback", first, "--dry-run").want(t, exitDone, "+   ttl: 30s", "would go back to the configuration of generation "+first)
	run(t, "", "config", "rollback", first, "--reason", "too fast").want(t, exitDone, "went back to the configuration of generation "+first+": 0 created, 1 updated, 0 deleted; generation 1.")
	// The drain stays, and there is nothing left to go back to.
	eventually(t, "ttl: 30s", "get", "service/www.example.test", "-o", "yaml")
	run(t, "", "override", "list").want(t, exitDone, "fibre cut")
	run(t, "", "config", "rollback", first, "--reason", "again").want(t, exitDone, "is that of generation "+first+" already; nothing changes")
	run(t, "", "events").want(t, exitDone, "anonymous", "rollback", "too fast", "fibre cut", "begin")
	r := run(t, "", "events", "-o", "json", "--limit", "2")
	r.want(t, exitDone, "too fast", "fibre cut")
	if strings.Count(r.out, "\n") != 2 {
		t.Errorf("want two lines:\n%s", r.out)
	}
	run(t, "", "__complete", "config", "rollback", "").want(t, exitDone, first+"\tbegin")
	w.ends()
}

// The resources of the tests are those of every kind.
func TestAllKinds(t *testing.T) {
	have := map[string]bool{}
	for _, r := range parse(t, allKindsYAML) {
		have[config.Kind(r)] = true
	}
	for _, kind := range config.Kinds() {
		if !have[kind] {
			t.Errorf("no %s", kind)
		}
		if _, ok := kindTitles[kind]; !ok {
			t.Errorf("%s has no columns", kind)
		}
	}
}
