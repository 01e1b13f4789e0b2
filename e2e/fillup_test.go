package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// etcdQuota is small enough to be filled in a moment.
const etcdQuota = 24 << 20

// call asks a member of etcd through its JSON gateway, as operators may who
// have no etcdctl.
func (c *cluster) call(member int, method, body string) (answer map[string]any, err error) {
	client := *c.etcdMetrics
	client.Timeout = 15 * time.Second
	resp, err := client.Post("https://"+c.at(member, etcdPort)+"/v3/"+method, "application/json", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(text))
	}
	return answer, json.Unmarshal(text, &answer)
}

func (c *cluster) mustCall(member int, method, body string) map[string]any {
	c.t.Helper()
	answer, err := c.call(member, method, body)
	if err != nil {
		c.t.Fatalf("etcd-%d: %s: %v", member+1, method, err)
	}
	return answer
}

// revision is etcd's, as a member says.
func (c *cluster) revision(member int) int64 {
	c.t.Helper()
	header, _ := c.mustCall(member, "maintenance/status", "{}")["header"].(map[string]any)
	text, _ := header["revision"].(string)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		c.t.Fatalf("etcd's revision: %v", err)
	}
	return n
}

// compact forgets all that is not current, and makes the files small.
func (c *cluster) compact() {
	c.t.Helper()
	// "physical": wait until it is done. Nothing need have changed since the last.
	if _, err := c.call(0, "kv/compaction", fmt.Sprintf(`{"revision": "%d", "physical": true}`, c.revision(0))); err != nil && !strings.Contains(err.Error(), "has been compacted") {
		c.t.Fatalf("etcd's compaction: %v", err)
	}
	for i := range c.etcd {
		c.mustCall(i, "maintenance/defragment", "{}")
	}
}

// compactEtcd compacts and defragments, as operators do by a timer.
func compactEtcd(c *cluster, f *fault) {
	const down = 0
	s, here := c.sample(down, c.nameservers...), c.host(down)
	failed := c.fails(down, true)
	c.compact()
	there := s.leave(here)
	f.splits = c.splits(s, down, failed, there)
	c.compact()
	drained := c.away(down)
	tries, took := c.writes(1, "region", "drain", clusterRegions[drained].name, "--reason", "after the compaction", "--wait", "20s")
	c.writes(1, "region", "undrain", clusterRegions[drained].name, "--reason", "after the compaction", "--wait", "20s")
	c.fails(down, false)
	s.until("the failback", here)
	// A controller that starts now reads what is left.
	c.killed(c.controllers[1])()
	c.settled()
	asked := s.asked()
	s.stop()
	if p := s.of[0].path(); p[0] != here || p[len(p)-1] != here || slices.Contains(p, silence) {
		c.t.Errorf("%s said %v", s.of[0].ns.name, p)
	}
	f.saw("failed over; a drain was served after %v (tries: %d); a controller started after it is well; %d questions, all answered", took.Round(10*time.Millisecond), tries, asked)
}

// fillEtcd writes into etcd, as another user of it may, until it takes no more.
func fillEtcd(c *cluster, f *fault) {
	const down = 0
	s, here := c.sample(down, c.nameservers...), c.host(down)
	junk := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("fairlead"), 1<<17)) // 1 MiB
	full, why := 0, error(nil)
	c.t.Cleanup(func() { c.emptyEtcd() })
	for why == nil && full < 2*etcdQuota>>20 {
		_, why = c.call(0, "kv/put", fmt.Sprintf(`{"key": %q, "value": %q}`, base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "junk/%d", full)), junk))
		full++
	}
	if why == nil || !strings.Contains(why.Error(), "space") {
		c.t.Fatalf("etcd is not full after %d MiB: %v", full, why)
	}

	failed := c.fails(down, true)
	there := s.leave(here)
	f.splits = c.splits(s, down, failed, there)
	drained := c.away(down)
	began := time.Now()
	for _, args := range [][]string{
		{"region", "drain", clusterRegions[drained].name, "--reason", "cannot be"},
		{"apply", "-f", write(c.t, "changed.yaml", strings.ReplaceAll(c.configuration(), "ttl: 5s", "ttl: 6s"))},
	} {
		code, out, err := runTry(c.tls(admin, append(args, "--controller", c.controller(1))...)...)
		if code != 1 || err != nil || !strings.Contains(out, "space") {
			c.t.Errorf("fairlead %s while etcd is full: exit %d, want 1 and a word on space (%v):\n%s", args[0], code, err, out)
		}
	}
	refused := time.Since(began)
	c.emptyEtcd()
	tries, took := c.writes(1, "region", "drain", clusterRegions[drained].name, "--reason", "there is space", "--wait", "20s")
	c.writes(1, "region", "undrain", clusterRegions[drained].name, "--reason", "there is space", "--wait", "20s")
	c.fails(down, false)
	s.until("the failback", here)
	asked := s.asked()
	s.stop()
	for _, o := range s.of {
		if slices.Contains(o.path(), silence) {
			c.t.Errorf("%s said %v", o.ns.name, o.path())
		}
	}
	f.saw("failed over; a drain and an apply were refused within %v, naming the space; compacted, defragmented and the alarm off, a drain was served after %v (tries: %d); %d questions, all answered",
		refused.Round(10*time.Millisecond), took.Round(10*time.Millisecond), tries, asked)
}

// emptyEtcd does what etcd's documentation says: delete, compact, defragment,
// disarm.
func (c *cluster) emptyEtcd() {
	c.t.Helper()
	c.mustCall(0, "kv/deleterange", fmt.Sprintf(`{"key": %q, "range_end": %q}`, base64.StdEncoding.EncodeToString([]byte("junk/")), base64.StdEncoding.EncodeToString([]byte("junk0"))))
	c.compact()
	alarms, _ := c.mustCall(0, "maintenance/alarm", `{"action": "GET"}`)["alarms"].([]any)
	for _, a := range alarms {
		text, err := json.Marshal(a)
		if err != nil {
			c.t.Fatal(err)
		}
		c.mustCall(0, "maintenance/alarm", `{"action": "DEACTIVATE", `+string(text[1:]))
	}
}

// fullDisk gives a nameserver and a controller disks that are full.
func fullDisk(c *cluster, f *fault) {
	const full, down = 1, 0
	ns, controller := c.nameservers[full], c.controllers[full]
	const generations, verdicts = "generation-*.snapshot", "health.table"
	var dirs []string
	for _, n := range []*node{ns, controller} {
		n.kill()
		dir := filepath.Join(c.dir, n.name)
		unmount := smallDisk(c.t, dir)
		defer func() { // to the disk that it had before
			n.kill()
			unmount()
			n.start()
		}()
		n.start()
		dirs = append(dirs, dir)
	}
	c.settled()
	for _, dir := range dirs {
		c.fill(dir)
	}
	s, here := c.sample(down, c.nameservers...), c.host(down)
	began := time.Now()
	late := c.withRecord("late", "192.0.2.99")
	saying := func(n *node, what string) {
		c.t.Helper()
		eventually(c.t, settleLimit, n.name+" to say: "+what, func() bool {
			_, ok := n.find(func(r record) bool { return r.at.After(began) && strings.HasPrefix(r.msg, what) })
			return ok
		})
	}
	saying(ns, "generation not saved")
	saying(controller, "generation not saved")
	if got := c.askAt(full, "late.example.test", clusterRegions[down].client); got != "192.0.2.99" {
		c.t.Errorf("%s does not serve what it could not save: %q", ns.name, got)
	}
	failed := c.fails(down, true)
	there := s.leave(here)
	f.splits = c.splits(s, down, failed, there)
	saying(ns, "verdict table not saved")
	if !c.ready(full, nameserverHTTP) || !c.ready(full, controllerHTTP) {
		c.t.Errorf("%s or %s withdrew because its disk is full", ns.name, controller.name)
	}

	// Started again on the full disk, it gets what it lacks from a controller.
	ns.kill()
	ns.start()
	eventually(c.t, settleLimit, ns.name+" to serve again", func() bool {
		return c.askQuietly(full, "late.example.test", clusterRegions[down].client) == "192.0.2.99" &&
			c.askQuietly(full, steered, clusterRegions[down].client) == there
	})
	freed := time.Now()
	for _, dir := range dirs {
		if err := os.Remove(filepath.Join(dir, "junk")); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, dir := range dirs {
		eventually(c.t, settleLimit, "the generation to be in "+dir, func() bool { return savedSince(dir, generations, freed) })
	}
	saved := time.Since(freed)
	late()
	c.fails(down, false)
	s.until("the failback", here)
	eventually(c.t, settleLimit, "the verdicts to be on disk", func() bool { return savedSince(dirs[0], verdicts, freed) })
	s.stop()
	f.saw("served a new generation and failed over without saving either, ready throughout; started on the full disk it was served by a controller; both saved the generation %v after there was space", saved.Round(100*time.Millisecond))
}

// savedSince tells whether a file was written after a time.
func savedSince(dir, pattern string, since time.Time) bool {
	names, _ := filepath.Glob(filepath.Join(dir, pattern))
	return slices.ContainsFunc(names, func(n string) bool {
		info, err := os.Stat(n)
		return err == nil && info.ModTime().After(since)
	})
}

// fill takes all that is left of a disk.
func (c *cluster) fill(dir string) {
	c.t.Helper()
	file, err := os.Create(filepath.Join(dir, "junk"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer file.Close()
	for size := 64 << 10; size > 0; {
		if _, err := file.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// withRecord adds a record to the zone, and returns a way to remove it.
func (c *cluster) withRecord(name, address string) (without func()) {
	c.t.Helper()
	apply := func(text string) {
		c.t.Helper()
		c.run(0, "apply", "-f", write(c.t, "changed.yaml", text), "--wait", "20s", "--controller", c.controller(0))
	}
	before := c.configuration()
	apply(strings.Replace(before, "    mail     A ", fmt.Sprintf("    %s     A      %s\n    mail     A ", name, address), 1))
	return func() { apply(before) }
}

// askQuietly is askAt where no answer may come.
func (c *cluster) askQuietly(ns int, name, client string) string {
	out, err := digAt(c.host(ns), nameserverDNS, "+short", "+subnet="+client, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// cutSnapshots starts a nameserver that reaches nobody from snapshots that are
// cut, at 20 offsets.
func cutSnapshots(c *cluster, f *fault) {
	const offsets = 20
	const i, port = 2, nameserverDNS + 1000
	ns := c.nameservers[i]
	dir := filepath.Join(c.dir, ns.name)
	saved := time.Now()
	without := c.withRecord("late", "192.0.2.99")
	eventually(c.t, settleLimit, "the generation to be on disk", func() bool { return savedSince(dir, "generation-*.snapshot", saved) })
	names, err := filepath.Glob(filepath.Join(dir, "generation-*.snapshot"))
	if err != nil || len(names) < 2 {
		c.t.Fatalf("%v, %v: want two generations at least", names, err)
	}
	slices.Sort(names)
	names = names[len(names)-2:]
	older, newest := c.readFile(names[0]), c.readFile(names[1])
	answers := func(dir string) (p *process, ask func(name string) string) {
		p = startIn(c.t, c.shape.world, i, "fairlead-authdns", c.tls(ns.name, "--name", ns.name, "--region", clusterRegions[i].name, "--log-format", "json",
			"--dns", c.at(i, port), "--grpc", c.at(i, nameserverGRPC+1000), "--http", c.at(i, nameserverHTTP+1000),
			"--controllers", c.at(i, 9), "--snapshot-dir", dir)...)
		eventually(c.t, settleLimit, "a nameserver that reaches nobody to start", func() bool {
			return slices.ContainsFunc(p.log.all(), func(r record) bool { return r.msg == "nameserver started" })
		})
		return p, func(name string) string {
			out, err := digAt(c.host(i), port, "+short", "+subnet="+clusterRegions[i].client, name)
			if err != nil {
				return err.Error()
			}
			return strings.TrimSpace(out)
		}
	}
	torn := func(p *process) bool {
		return slices.ContainsFunc(p.log.all(), func(r record) bool { return r.msg == "snapshot on disk refused" })
	}
	place := func(dir string, name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), data, 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	for n := range offsets {
		at := len(newest) * n / offsets
		dir := c.t.TempDir()
		place(dir, names[0], older)
		place(dir, names[1], newest[:at])
		p, ask := answers(dir)
		if got := ask(steered); got != c.host(i) {
			c.t.Errorf("cut at %d of %d: answers %q, want %s from the generation before", at, len(newest), got, c.host(i))
		}
		if got := ask("late.example.test"); got != "" {
			c.t.Errorf("cut at %d of %d: answers %q from what is torn", at, len(newest), got)
		}
		if !torn(p) {
			c.t.Errorf("cut at %d of %d: the log does not say that it is refused", at, len(newest))
		}
		p.kill()
	}
	// The whole one, to know that the cuts were what made the difference; and
	// nothing but a torn one, whose zones it must not claim to have.
	whole := c.t.TempDir()
	place(whole, names[0], older)
	place(whole, names[1], newest)
	p, ask := answers(whole)
	if got := ask("late.example.test"); got != "192.0.2.99" || torn(p) {
		c.t.Errorf("from the whole snapshot: %q, refused: %v", got, torn(p))
	}
	p.kill()
	alone := c.t.TempDir()
	place(alone, names[1], newest[:len(newest)/2])
	p, _ = answers(alone)
	out, err := digAt(c.host(i), port, steered)
	if err != nil || strings.Contains(out, "NXDOMAIN") || strings.Contains(out, "NOERROR") || !torn(p) {
		c.t.Errorf("from nothing but a torn snapshot (%v):\n%s", err, out)
	}
	if c.ready(i, nameserverHTTP+1000) {
		c.t.Errorf("a nameserver with nothing but a torn snapshot calls itself ready")
	}
	p.kill()
	without()
	f.saw("%d cuts of %d bytes: refused, said so, and answered from the generation before each time; from nothing but a torn one it refuses and is not ready", offsets, len(newest))
}

func (c *cluster) readFile(name string) []byte {
	c.t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}
