package embedded_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/fairlead-dns/fairlead/controller/store/embedded"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// When etcd panics over a damaged log, what it opened before stays
		// open. A server that leaked would show by much else.
		goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/storage/wal.(*filePipeline).run"),
		goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/storage/backend.(*backend).run"),
	)
}

func start(t *testing.T, o embedded.Options) *embedded.Server {
	t.Helper()
	o.UnsafeNoFsync = true
	s, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func dial(t *testing.T, endpoints []string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c *clientv3.Client, key string) string {
	t.Helper()
	resp, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

func TestTemporary(t *testing.T) {
	s := start(t, embedded.Options{})
	c := dial(t, s.Endpoints())
	put(t, c, "a", "1")
	if got := get(t, c, "a"); got != "1" {
		t.Errorf("a is %q", got)
	}
	check(t, s.Close())
	check(t, s.Close()) // once more does no harm
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", s.Dir(), err)
	}
	if err := <-s.Err(); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

// Close does not wait for clients that watch, and they see etcd stop: they
// wait for it to come back.
func TestCloseWithWatch(t *testing.T) {
	s := start(t, embedded.Options{})
	c := dial(t, s.Endpoints())
	ctx, cancel := context.WithCancel(t.Context())
	w := c.Watch(ctx, "a", clientv3.WithCreatedNotify())
	<-w
	check(t, s.Close())
	select {
	case resp, ok := <-w:
		t.Errorf("the watch ended: %v %v %v", resp, ok, resp.Err())
	case <-time.After(100 * time.Millisecond):
	}
	cancel()
	for range w {
	}
}

// Data outlive the server, whatever its port and name.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "etcd")
	for i := range 3 {
		s := start(t, embedded.Options{Dir: dir, Name: "n" + strconv.Itoa(i)})
		c := dial(t, s.Endpoints())
		for j := range i {
			if got := get(t, c, strconv.Itoa(j)); got != "v" {
				t.Errorf("start %d: key %d is %q", i, j, got)
			}
		}
		put(t, c, strconv.Itoa(i), "v")
		check(t, s.Close())
	}
	if _, err := os.Stat(filepath.Join(dir, "member", "snap", "db")); err != nil {
		t.Errorf("no database in etcd's layout: %v", err)
	}
}

func TestDirInUse(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.Options{Dir: dir})
	_, err := embedded.Start(t.Context(), embedded.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), dir+": data directory is in use by process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("error is %v", err)
	}
	put(t, dial(t, s.Endpoints()), "a", "1") // undisturbed
	check(t, s.Close())

	// An etcd that knows nothing of our lock file.
	db, err := os.Open(filepath.Join(dir, "member", "snap", "db"))
	if err != nil {
		t.Fatal(err)
	}
	check(t, syscall.Flock(int(db.Fd()), syscall.LOCK_EX))
	_, err = embedded.Start(t.Context(), embedded.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use by another etcd") {
		t.Errorf("error is %v", err)
	}
	check(t, db.Close())
	start(t, embedded.Options{Dir: dir})
}

func TestUnusableDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	if _, err := embedded.Start(t.Context(), embedded.Options{Dir: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file for a directory: %v", err)
	}

	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "member", "snap"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "member", "snap", "db"), bytes.Repeat([]byte("junk"), 5000), 0o600))
	if _, err := embedded.Start(t.Context(), embedded.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "db is damaged") {
		t.Errorf("a damaged database: %v", err)
	}
}

// etcd would exit upon some damages of its log, and panic upon others; Start
// returns.
func TestDamagedWAL(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"overwritten": func(b []byte) []byte { copy(b[64:], bytes.Repeat([]byte{0xff}, 200)); return b },
		"bit flipped": func(b []byte) []byte { b[200] ^= 1; return b },
		"empty":       func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			check(t, start(t, embedded.Options{Dir: dir}).Close())
			wals, err := filepath.Glob(filepath.Join(dir, "member", "wal", "0*.wal"))
			if err != nil || len(wals) != 1 {
				t.Fatal(wals, err)
			}
			b, err := os.ReadFile(wals[0])
			check(t, err)
			check(t, os.WriteFile(wals[0], damage(b), 0o600))
			_, err = embedded.Start(t.Context(), embedded.Options{Dir: dir})
			if err == nil || !strings.Contains(err.Error(), dir) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// etcd's warnings reach the log, at debug level, under constant keys; its chat
// does not.
func TestLog(t *testing.T) {
	var logged bytes.Buffer
	s := start(t, embedded.Options{Log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	check(t, s.Close())
	got := logged.String()
	if !strings.Contains(got, `level=DEBUG msg="embedded etcd" message="Running http and grpc server on single port.`) {
		t.Errorf("no warning in %q", got)
	}
	if strings.Contains(got, "starting an etcd server") {
		t.Errorf("chat in %q", got)
	}
}

func TestListen(t *testing.T) {
	taken := start(t, embedded.Options{}).Endpoints()[0]
	if _, err := embedded.Start(t.Context(), embedded.Options{Listen: netip.MustParseAddrPort(taken)}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a port that is taken: %v", err)
	}
	s := start(t, embedded.Options{Listen: netip.MustParseAddrPort("127.0.0.2:0")})
	if ep := s.Endpoints()[0]; !strings.HasPrefix(ep, "127.0.0.2:") || strings.HasSuffix(ep, ":0") {
		t.Errorf("endpoint %s", ep)
	}
}

func TestOptionsValidate(t *testing.T) {
	for _, tc := range []struct {
		o    embedded.Options
		want string
	}{
		{embedded.Options{Name: "a=b"}, `name "a=b"`},
		{embedded.Options{Listen: netip.MustParseAddrPort("192.0.2.1:2379")}, "listen 192.0.2.1:2379 is no loopback"},
		{embedded.Options{Listen: netip.MustParseAddrPort("0.0.0.0:2379")}, "no loopback"},
		{embedded.Options{TickMs: 100, ElectionMs: 400}, "election timeout 400 ms with ticks of 100 ms"},
		{embedded.Options{ElectionMs: 60_000}, "50000 ms at most"},
	} {
		if _, err := embedded.Start(t.Context(), tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.o, err, tc.want)
		}
	}
	if _, err := embedded.StartCluster(t.Context(), embedded.ClusterOptions{Members: 8}); err == nil {
		t.Error("a cluster of 8 started")
	}
}

func TestCluster(t *testing.T) {
	c, err := embedded.StartCluster(t.Context(), embedded.ClusterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, c.Close()) })
	client := dial(t, c.Endpoints())
	put(t, client, "a", "1")

	// One member may go.
	leader := c.Leader()
	if leader < 0 {
		t.Fatal("no leader")
	}
	check(t, c.Stop(leader))
	if got := get(t, client, "a"); got != "1" {
		t.Errorf("a is %q", got)
	}
	if err := c.Restart(t.Context(), (leader+1)%3); err == nil {
		t.Error("a running member was started again")
	}
	// With a second one the quorum goes, and a start that makes none says so.
	other := (leader + 1) % 3
	check(t, c.Stop(other, (leader+2)%3))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	if err := c.Restart(ctx, other); err == nil || !strings.Contains(err.Error(), "no leader elected") {
		t.Errorf("one of three: %v", err)
	}
	cancel()
	check(t, c.Restart(t.Context(), leader, other))
	put(t, client, "a", "2")
	check(t, c.Restart(t.Context(), (leader+2)%3))

	// The isolated member has no leader; healed it follows.
	c.Isolate(other)
	lone := dial(t, c.Endpoints()[other:other+1])
	ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
	if _, err := lone.Get(ctx, "a"); err == nil {
		t.Error("an isolated member served a linearizable read")
	}
	cancel()
	c.Heal(other)
	if got := get(t, lone, "a"); got != "2" {
		t.Errorf("a is %q", got)
	}
	check(t, c.Close())
}
