package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A world gives each region of a cluster a network of its own: a namespace
// with one address, joined to the others by a bridge. The test itself is
// outside of all regions, where the clients are. A path between two of them
// can be cut, in one direction too, or lose some of its packets.
//
// The test runs in namespaces of its own for that (network, mounts and
// processes), so whatever it makes or mounts is gone when it has ended, however
// it ends, and nothing of the machine is touched.
type world struct {
	t      *testing.T
	number int
	lossy  map[path]int
	// shut says by region what else does not get in, in nft's words.
	shut map[int]string
}

// path is the way from one region to another, in one direction.
type path struct{ from, to int }

// outside is no region: where the clients and operators are.
const outside = -1

const (
	// faultsWanted asks for the fault suite, soakWanted says for how long faults
	// are injected in random order and soakSeed in which order.
	faultsWanted = "FAIRLEAD_E2E_FAULTS"
	soakWanted   = "FAIRLEAD_E2E_SOAK"
	soakSeed     = "FAIRLEAD_E2E_SEED"
	// inside is set in the process that has the namespaces, and names the
	// directory of the programs.
	inside = "FAIRLEAD_E2E_INSIDE"
)

// isolated runs the test again, alone and in namespaces of its own, and
// returns whether this is that run. It skips where that is not possible, and
// says why.
func isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	skip := func(format string, args ...any) {
		t.Helper()
		why := fmt.Sprintf(format, args...)
		fmt.Fprintf(os.Stderr, "\n%s SKIPPED, NO FAULT WAS INJECTED: %s\n\n", t.Name(), why)
		t.Skip(why)
	}
	if os.Geteuid() != 0 {
		skip("network namespaces want root")
	}
	for program, of := range map[string]string{"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(program); err != nil {
			skip("there is no %s (Debian: %s); make deps installs it", program, of)
		}
	}
	unshare := []string{"--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"}
	// All that is asked of the kernel, once, before the suite counts on it.
	const trial = `ip link set lo up && ip link add trial type bridge && ip link add dev trial0 type veth peer name trial1 &&
		mount -t tmpfs -o size=1m none /mnt &&
		nft 'table inet trial { chain in { type filter hook input priority 0; ip saddr 192.0.2.1 numgen random mod 100 < 30 drop; }; }'`
	if out, err := exec.Command("unshare", append(slices.Clone(unshare), "sh", "-ec", trial)...).CombinedOutput(); err != nil {
		skip("the kernel refuses namespaces, a bridge, a tmpfs or nft's rules: %v: %s", err, strings.TrimSpace(string(out)))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(unshare, self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1", "-test.timeout=0")
	if deadline, ok := t.Deadline(); ok {
		args[len(args)-1] = fmt.Sprintf("-test.timeout=%v", time.Until(deadline)-10*time.Second)
	}
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), inside+"="+programs)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // as it goes: it takes minutes
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		t.Fatalf("in namespaces of its own: %v; see above", err)
	}
	return false
}

// enter prepares the namespaces of the test itself. Those of regions are named
// in a directory of our own.
func enter(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(netns, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", netns, "tmpfs", 0, ""); err != nil {
		t.Fatalf("a directory for the names of namespaces: %v", err)
	}
	command(t, "", "ip", "link", "set", "lo", "up")
	// Twelve members of two installations on one disk: what they wait for is
	// memory instead, so that times are those of the programs.
	disk := t.TempDir()
	if err := syscall.Mount("none", disk, "tmpfs", 0, "size=3g,mode=700"); err != nil {
		t.Fatalf("a disk in memory: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	t.Setenv("TMPDIR", disk)
	t.Setenv("GOTMPDIR", disk) // which TempDir prefers
}

const netns = "/run/netns"

// newWorld makes the network of a cluster; numbers tell several apart.
func newWorld(t *testing.T, number int) *world {
	t.Helper()
	w := &world{t: t, number: number, lossy: map[path]int{}, shut: map[int]string{}}
	bridge := fmt.Sprintf("world%d", number)
	command(t, "", "ip", "link", "add", bridge, "type", "bridge")
	command(t, "", "ip", "address", "add", w.net()+".254/24", "dev", bridge)
	command(t, "", "ip", "link", "set", bridge, "up")
	for i := range clusterRegions {
		ns, port := w.namespace(i), fmt.Sprintf("w%dr%d", number, i)
		command(t, "", "ip", "netns", "add", ns)
		command(t, "", "ip", "-n", ns, "link", "set", "lo", "up")
		command(t, "", "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns)
		command(t, "", "ip", "link", "set", port, "master", bridge, "up")
		command(t, "", "ip", "-n", ns, "address", "add", w.address(i)+"/24", "dev", "eth0")
		command(t, "", "ip", "-n", ns, "link", "set", "eth0", "up")
	}
	return w
}

// net is the first three bytes of all addresses.
func (w *world) net() string { return fmt.Sprintf("10.80.%d", w.number) }

func (w *world) address(region int) string {
	if region == outside {
		return w.net() + ".254"
	}
	return fmt.Sprintf("%s.%d", w.net(), 10*(region+1))
}

func (w *world) namespace(region int) string {
	return fmt.Sprintf("w%d-%s", w.number, clusterRegions[region].name)
}

// in is a command as it runs in a region. nsenter gives way to it: a signal
// reaches the program.
func (w *world) in(region int, program string, args ...string) *exec.Cmd {
	if w == nil || region == outside {
		return exec.Command(program, args...)
	}
	return exec.Command("nsenter", append([]string{"--net=" + filepath.Join(netns, w.namespace(region)), program}, args...)...)
}

// lose makes paths lose a share of all packets.
func (w *world) lose(percent int, paths ...path) {
	w.t.Helper()
	for _, p := range paths {
		w.lossy[p] = percent
	}
	w.apply(paths...)
}

func (w *world) cut(paths ...path) { w.t.Helper(); w.lose(100, paths...) }

// blindfold lets no answer of a service into a region: its agent sees
// everything down, and nothing else there notices.
func (w *world) blindfold(region int) {
	w.t.Helper()
	w.shut[region] = fmt.Sprintf("tcp sport %d drop", servicePort)
	w.apply(path{to: region})
}

// deafen lets no other region reach a region's controller, and nothing else
// there notices.
func (w *world) deafen(region int) {
	w.t.Helper()
	in, _ := around(region, regionNumbers()...)
	var others []string
	for _, p := range in {
		others = append(others, w.address(p.from))
	}
	w.shut[region] = fmt.Sprintf("ip saddr { %s } tcp dport %d drop", strings.Join(others, ", "), controllerGRPC)
	w.apply(path{to: region})
}

// heal makes all paths whole.
func (w *world) heal() {
	w.t.Helper()
	var all []path
	for p := range w.lossy {
		all = append(all, p)
	}
	for region := range w.shut {
		all = append(all, path{to: region})
	}
	clear(w.lossy)
	clear(w.shut)
	w.apply(all...)
}

// apply drops packets where they arrive: a sender is told nothing, as it is
// when it drops its own.
func (w *world) apply(changed ...path) {
	w.t.Helper()
	at := map[int]bool{}
	for _, p := range changed {
		at[p.to] = true
	}
	for to := range at {
		table := fmt.Sprintf("inet world%d", w.number)
		var b strings.Builder
		fmt.Fprintf(&b, "table %s\ndelete table %s\ntable %s {\nchain in {\ntype filter hook input priority 0\n", table, table, table)
		if what, ok := w.shut[to]; ok {
			fmt.Fprintln(&b, what)
		}
		for p, percent := range w.lossy {
			if p.to == to {
				lot := ""
				if percent < 100 {
					lot = fmt.Sprintf("numgen random mod 100 < %d ", percent)
				}
				fmt.Fprintf(&b, "ip saddr %s %sdrop\n", w.address(p.from), lot)
			}
		}
		b.WriteString("}\n}\n")
		cmd := w.in(to, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(b.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			w.t.Fatalf("nft: %v\n%s%s", err, out, b.String())
		}
	}
}

// around are all paths between a region and other places, in both directions:
// those into the region and those out of it.
func around(region int, others ...int) (in, out []path) {
	for _, o := range others {
		if o != region {
			in, out = append(in, path{o, region}), append(out, path{region, o})
		}
	}
	return in, out
}

// everywhere is all regions and outside.
func everywhere() []int { return append(regionNumbers(), outside) }

func regionNumbers() []int {
	var all []int
	for i := range clusterRegions {
		all = append(all, i)
	}
	return all
}

// smallDisk mounts a disk of 1 MB on a directory, until the test ends.
func smallDisk(t *testing.T, dir string) (unmount func()) {
	t.Helper()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m,mode=700"); err != nil {
		t.Fatalf("a small disk on %s: %v", dir, err)
	}
	unmount = func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }
	t.Cleanup(unmount)
	return unmount
}

// command runs one that must succeed.
func command(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
