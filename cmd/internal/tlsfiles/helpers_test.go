package tlsfiles

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles/authority"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is what a test waits for something that must happen.
const patience = 10 * time.Second

const day = 24 * time.Hour

// clock is a clock that tests set.
type clock struct{ atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time            { return time.Unix(0, c.Load()) }
func (c *clock) advance(d time.Duration)   { c.Add(int64(d)) }
func (c *clock) options(o Options) Options { o.Now = c.now; return o }

// journal is a log that tests read.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) count(s string) int { return strings.Count(j.String(), s) }
func (j *journal) log() *slog.Logger  { return slog.New(slog.NewTextHandler(j, nil)) }

func newCA(t *testing.T, domain string, now time.Time) *authority.CA {
	t.Helper()
	ca, err := authority.New(domain, 365*day, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func caPEM(t *testing.T, cas ...*authority.CA) []byte {
	t.Helper()
	var out []byte
	for _, ca := range cas {
		cert, _, err := ca.PEM()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, cert...)
	}
	return out
}

// who parses the path of an identity in the CA's trust domain.
func who(t *testing.T, ca *authority.CA, path string) identity.Identity {
	t.Helper()
	id, err := identity.Parse("spiffe://" + ca.TrustDomain() + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func issue(t *testing.T, ca *authority.CA, path string, life time.Duration, now time.Time, hosts ...string) authority.Pair {
	t.Helper()
	p, err := ca.Issue(authority.Request{Identity: who(t, ca, path), Life: life, Hosts: hosts}, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// write replaces a file as renewals do: a new file takes the old one's name.
func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path+".new", mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// place writes a pair and a bundle into a new directory.
func place(t *testing.T, p authority.Pair, bundle []byte) Options {
	t.Helper()
	dir := t.TempDir()
	o := Options{
		CertFile: filepath.Join(dir, "x.crt"), KeyFile: filepath.Join(dir, "x.key"), CAFile: filepath.Join(dir, "ca.crt"),
		Log: slog.New(slog.DiscardHandler),
	}
	write(t, o.CertFile, p.CertificatePEM, 0o644)
	write(t, o.KeyFile, p.KeyPEM, 0o600)
	write(t, o.CAFile, bundle, 0o644)
	return o
}

func open(t *testing.T, o Options) *Files {
	t.Helper()
	f, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// serve runs a gRPC server with the health service, and returns its address.
func serve(t *testing.T, creds credentials.TransportCredentials) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(creds))
	healthpb.RegisterHealthServer(s, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// call makes one call over a new connection, and returns the server's
// certificate.
func call(t *testing.T, addr string, creds credentials.TransportCredentials) (*tls.ConnectionState, error) {
	t.Helper()
	conn := dial(t, addr, creds)
	defer conn.Close()
	return callOn(conn)
}

func dial(t *testing.T, addr string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func callOn(conn *grpc.ClientConn) (*tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var p peer.Peer
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&p)); err != nil {
		return nil, err
	}
	info := p.AuthInfo.(credentials.TLSInfo)
	return &info.State, nil
}

// running runs the poll until the test ends.
func running(t *testing.T, f *Files) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// until waits for something that must come true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// value is the value of a metric whose line begins with the name and labels.
func value(t *testing.T, g prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			have := map[string]bool{}
			for _, l := range m.GetLabel() {
				have[l.GetName()+"="+l.GetValue()] = true
			}
			for _, l := range labels {
				if !have[l] {
					continue next
				}
			}
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s %v", name, labels)
	return 0
}
