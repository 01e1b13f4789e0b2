// Package embedded runs etcd inside the process: one member for
// `fairlead dev`, or a small cluster whose members can be stopped and
// restarted, for tests. It links etcd's server, so only cmd/fairlead and tests
// import it; it knows nothing of what Fairlead stores. Its data are a
// directory in etcd's own layout (etcdutl can read it) and a lock file.
//
// etcd's server registers its metrics with Prometheus's default registry.
// Whoever serves metrics beside it should use a registry of their own.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// Server is one running etcd member.
type Server struct {
	etcd     *embed.Etcd
	gate     *gate
	peers    *peerServer // nil for a lone member
	lock     *dirLock
	dir      string
	tempDir  string // removed at Close; empty if the caller gave a directory
	endpoint string
	close    sync.Once
	closing  atomic.Bool
	closeErr error
}

// Start starts a member and waits until it serves, or until ctx ends. With an
// empty Dir, the data live in a temporary directory that Close removes. A Dir
// that was used before is taken up again, on whatever port.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	// A single member speaks to no peer: it listens for none, and the peer
	// URL, which etcd insists on and persists, is the same fiction every time,
	// so that a restart elsewhere meets no mismatch.
	m := member{
		clientURL: "http://" + o.Listen.String(),
		peerURL:   "http://127.0.0.1:1",
	}
	m.cluster = o.Name + "=" + m.peerURL
	return start(ctx, o, m)
}

// member is where a member is found and whom it starts with.
type member struct {
	clientURL string
	peerURL   string
	peerAddr  string // where it listens for peers; empty: nowhere
	cluster   string // name=peerURL,…
}

func start(ctx context.Context, o Options, m member) (_ *Server, err error) {
	s := &Server{dir: o.Dir, gate: newGate()}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "fairlead-etcd-"); err != nil {
			return nil, fmt.Errorf("embedded etcd: %w", err)
		}
		s.tempDir = s.dir
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("embedded etcd in %s: %w", s.dir, errors.Join(err, s.Close()))
		}
	}()
	if err = os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	// etcd would wait on its database's file lock for ever, and silently.
	if s.lock, err = lockDir(s.dir); err != nil {
		return nil, err
	}
	cfg, err := o.config(s.dir, m, &s.closing)
	if err != nil {
		return nil, err
	}
	cfg.GRPCAdditionalServerOptions = []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(s.gate.unary),
		grpc.ChainStreamInterceptor(s.gate.stream),
	}
	if s.etcd, err = startEtcd(cfg); err != nil {
		return nil, err
	}
	if m.peerAddr != "" {
		if s.peers, err = servePeers(m.peerAddr, s.etcd.Server); err != nil {
			return nil, err
		}
	}
	s.endpoint = s.etcd.Clients[0].Addr().String()
	select {
	case <-s.etcd.Server.ReadyNotify():
		return s, nil
	case <-s.etcd.Server.StopNotify():
		return nil, errors.New("stopped while it started")
	case err := <-s.etcd.Err():
		return nil, fmt.Errorf("failed while it started: %w", err)
	case <-ctx.Done():
		return nil, fmt.Errorf("not ready (no leader elected): %w", context.Cause(ctx))
	}
}

// startEtcd turns etcd's ways of reporting a damaged data directory, a fatal
// log line or a panic, into an error. What etcd had opened by then stays open
// until the process ends.
func startEtcd(cfg *embed.Config) (e *embed.Etcd, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, err = nil, fmt.Errorf("etcd gave up: %v", r)
		}
	}()
	return embed.StartEtcd(cfg)
}

// config writes o and m as etcd's configuration.
func (o Options) config(dir string, m member, closing *atomic.Bool) (*embed.Config, error) {
	clientURL, err := url.Parse(m.clientURL)
	if err != nil {
		return nil, err
	}
	peerURL, err := url.Parse(m.peerURL)
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Name = o.Name
	cfg.Dir = dir
	cfg.InitialCluster = m.cluster
	cfg.InitialClusterToken = "fairlead-embedded"
	cfg.ListenClientUrls = []url.URL{*clientURL}
	cfg.AdvertiseClientUrls = []url.URL{*clientURL}
	cfg.AdvertisePeerUrls = []url.URL{*peerURL}
	cfg.ListenPeerUrls = nil // peerServer serves them, if there are any
	cfg.TickMs = o.TickMs
	cfg.ElectionMs = o.ElectionMs
	cfg.UnsafeNoFsync = o.UnsafeNoFsync
	cfg.EnableGRPCGateway = false
	cfg.BcryptCost = 4 // the least; what a password here protects is on loopback
	// Revisions beyond the last thousand serve nobody: what Fairlead keeps of
	// the past, it keeps under keys of its own.
	cfg.AutoCompactionMode = embed.CompactorModeRevision
	cfg.AutoCompactionRetention = "1000"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newLogger(o.Log, closing))
	return cfg, nil
}

// Endpoints returns where clients reach the member.
func (s *Server) Endpoints() []string { return []string{s.endpoint} }

// Dir returns the data directory.
func (s *Server) Dir() string { return s.dir }

// Err delivers an error if the member fails while it runs, and is closed when
// the member has been closed.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// Close stops the member, ends the requests and watches that it still serves,
// and returns when all of it has stopped.
func (s *Server) Close() error {
	s.close.Do(func() {
		s.closing.Store(true)
		s.gate.shut()
		if s.etcd != nil {
			// Without this, Close would first hand leadership over, for which
			// a lone member has nobody and one that simulates a crash has no
			// time, and it would wait for ever if the member is not ready.
			s.etcd.Server.HardStop()
			s.etcd.Close()
		}
		if s.peers != nil {
			s.peers.close()
		}
		if s.lock != nil {
			s.closeErr = s.lock.release()
		}
		if s.tempDir != "" {
			s.closeErr = errors.Join(s.closeErr, os.RemoveAll(filepath.Clean(s.tempDir)))
		}
	})
	return s.closeErr
}
