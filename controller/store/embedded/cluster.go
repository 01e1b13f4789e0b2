package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"golang.org/x/sync/errgroup"
)

// ClusterOptions say how a test cluster runs.
type ClusterOptions struct {
	// Members is their number; by default 3.
	Members int
	// TickMs and ElectionMs are by default 20 and 200.
	TickMs, ElectionMs uint
	// Freezable: members can be frozen and muted; clients reach them through
	// the process's own proxies.
	Freezable bool
	// Log as in Options.
	Log *slog.Logger
}

// Cluster is a set of members on loopback for tests: without fsync, in a
// temporary directory. Each member keeps its ports and its data when it is
// stopped and restarted.
type Cluster struct {
	dir     string
	options []Options
	members []member
	doors   []*door // if members can be frozen

	mu      sync.Mutex
	servers []*Server // nil: stopped
}

// StartCluster starts all members and waits until all serve.
func StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	if o.Members == 0 {
		o.Members = 3
	}
	if o.Members < 1 || o.Members > 7 {
		return nil, fmt.Errorf("embedded etcd: a cluster of %d members: want 1 to 7", o.Members)
	}
	if o.TickMs == 0 {
		o.TickMs = 20
	}
	// Another process may take a port between its choice and its use.
	for attempt := 0; ; attempt++ {
		c, err := startCluster(ctx, o)
		if err == nil || attempt == 3 || !errors.Is(err, syscall.EADDRINUSE) {
			return c, err
		}
	}
}

func startCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "fairlead-etcd-cluster-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, servers: make([]*Server, o.Members)}
	var names []string
	for i := range o.Members {
		client, err1 := freePort()
		peer, err2 := freePort()
		if err := errors.Join(err1, err2); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		name := "m" + strconv.Itoa(i)
		c.options = append(c.options, Options{
			Dir: filepath.Join(dir, name), Name: name, Listen: client,
			TickMs: o.TickMs, ElectionMs: o.ElectionMs, UnsafeNoFsync: true, Log: o.Log,
		}.withDefaults())
		m := member{clientURL: "http://" + client.String(), peerURL: "http://" + peer.String(), peerAddr: peer.String()}
		c.members = append(c.members, m)
		names = append(names, name+"="+m.peerURL)
		if o.Freezable {
			d, err := openDoor(client.String())
			if err != nil {
				return nil, errors.Join(err, c.Close())
			}
			c.doors = append(c.doors, d)
		}
	}
	for i := range c.members {
		c.members[i].cluster = strings.Join(names, ",")
	}
	all := make([]int, o.Members)
	for i := range all {
		all[i] = i
	}
	if err := c.Restart(ctx, all...); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// given holds the ports that clusters of this process have or had: a port whose
// member is stopped looks free.
var given sync.Map

// freePort finds a port of 127.0.0.1 that nobody listens on, below those that
// systems hand out, so that no outgoing connection takes it while its member
// is stopped.
func freePort() (netip.AddrPort, error) {
	err := errors.New("all were given away")
	for range 100 {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(15_000+rand.IntN(15_000)))
		if _, taken := given.LoadOrStore(a, true); taken {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", a.String()); err == nil {
			return a, l.Close()
		}
	}
	return netip.AddrPort{}, fmt.Errorf("embedded etcd: no free port on loopback: %w", err)
}

// Endpoints returns where clients reach the members, stopped ones too.
func (c *Cluster) Endpoints() []string {
	var eps []string
	for i, o := range c.options {
		if c.doors != nil {
			eps = append(eps, c.doors[i].listener.Addr().String())
			continue
		}
		eps = append(eps, o.Listen.String())
	}
	return eps
}

// Leader returns the index of the member that leads, or -1.
func (c *Cluster) Leader() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.servers {
		if s != nil && s.etcd.Server.Leader() == s.etcd.Server.MemberID() {
			return i
		}
	}
	return -1
}

// Stop stops members, without handing leadership over, as if they had crashed
// after their last write. Those that are stopped already stay so.
func (c *Cluster) Stop(members ...int) error {
	var g errgroup.Group
	for _, i := range members {
		c.mu.Lock()
		s := c.servers[i]
		c.servers[i] = nil
		c.mu.Unlock()
		if s != nil {
			g.Go(s.Close)
		}
	}
	return g.Wait()
}

// Restart starts stopped members together, on their ports and data, and waits
// until all of them serve: with those that run they must make a quorum.
func (c *Cluster) Restart(ctx context.Context, members ...int) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, i := range members {
		g.Go(func() error {
			c.mu.Lock()
			running := c.servers[i] != nil
			c.mu.Unlock()
			if running {
				return fmt.Errorf("embedded etcd: member %d runs already", i)
			}
			s, err := start(ctx, c.options[i], c.members[i])
			if err != nil {
				return err
			}
			c.mu.Lock()
			c.servers[i] = s
			c.mu.Unlock()
			return nil
		})
	}
	return g.Wait()
}

// Isolate cuts a running member off from its peers, while its clients still
// reach it.
func (c *Cluster) Isolate(member int) { c.eachPair(member, (*etcdserver.EtcdServer).CutPeer) }

// Heal undoes Isolate.
func (c *Cluster) Heal(member int) { c.eachPair(member, (*etcdserver.EtcdServer).MendPeer) }

func (c *Cluster) eachPair(member int, do func(*etcdserver.EtcdServer, types.ID)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.servers {
		if i == member || s == nil || c.servers[member] == nil {
			continue
		}
		a, b := s.etcd.Server, c.servers[member].etcd.Server
		do(a, b.MemberID())
		do(b, a.MemberID())
	}
}

// Close stops all members and removes their data.
func (c *Cluster) Close() error {
	all := make([]int, len(c.servers))
	for i := range all {
		all[i] = i
	}
	return errors.Join(c.closeDoors(), c.Stop(all...), os.RemoveAll(c.dir))
}
