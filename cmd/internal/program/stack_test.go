package program_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/authdns"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/controller"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles/authority"
	"github.com/fairlead-dns/fairlead/cmd/internal/tokenfile"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// journal is a log that several write.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) { j.mu.Lock(); defer j.mu.Unlock(); return j.b.Write(p) }
func (j *journal) String() string              { j.mu.Lock(); defer j.mu.Unlock(); return j.b.String() }

// stack is an etcd, a controller and a nameserver, run as the programs run them,
// with a CA, and tokens for people.
type stack struct {
	t      *testing.T
	dir    string
	ca     *authority.CA
	log    journal
	tokens map[string]string // by role

	etcd                   *embedded.Server
	controller, nameserver *process
}

// process is a program that runs.
type process struct {
	program.Started
	stop func()
}

const domain = "fairlead"

func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{t: t, dir: t.TempDir(), tokens: map[string]string{}}
	s.ca = s.newCA("ca.crt")
	var err error
	if s.etcd, err = embedded.Start(t.Context(), embedded.Options{UnsafeNoFsync: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.etcd.Close() })
	s.issue("c1", "controller/c1", time.Hour)
	s.issue("ns1", "nameserver/eu-west/ns1", time.Hour)
	s.writeTokens("viewer", "operator", "admin")
	s.startController()
	s.startNameserver()
	return s
}

func (s *stack) at(name string) string { return filepath.Join(s.dir, name) }

func (s *stack) write(name string, data []byte) {
	s.t.Helper()
	if err := os.WriteFile(s.at(name), data, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// newCA makes a CA and writes its certificate.
func (s *stack) newCA(name string) *authority.CA {
	s.t.Helper()
	ca, err := authority.New(domain, 24*time.Hour, time.Now().Add(-12*time.Hour))
	if err != nil {
		s.t.Fatal(err)
	}
	s.writeCAs(name, ca)
	return ca
}

func (s *stack) writeCAs(name string, cas ...*authority.CA) {
	s.t.Helper()
	var all []byte
	for _, ca := range cas {
		cert, _, err := ca.PEM()
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, cert...)
	}
	s.write(name, all)
}

// issue writes a certificate that ends after a while, which may lie behind.
func (s *stack) issue(name, path string, left time.Duration) {
	s.t.Helper()
	s.issueBy(s.ca, name, path, left)
}

func (s *stack) issueBy(ca *authority.CA, name, path string, left time.Duration) {
	s.t.Helper()
	id, err := identity.Parse("spiffe://" + domain + "/" + path)
	if err != nil {
		s.t.Fatal(err)
	}
	at := time.Now()
	life := left
	if left <= 0 {
		at, life = at.Add(left-time.Hour), time.Hour
	}
	req := authority.Request{Identity: id, Life: life}
	if id.Role == identity.Etcd {
		req.Hosts = []string{"localhost"}
	}
	pair, err := ca.Issue(req, at)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(name+".key", pair.KeyPEM)
	s.write(name+".crt", pair.CertificatePEM)
}

func (s *stack) tls(name string) program.TLS {
	return program.TLS{Cert: s.at(name + ".crt"), Key: s.at(name + ".key"), CA: s.at("ca.crt")}
}

// writeTokens makes a token for each of the roles, of tess.
func (s *stack) writeTokens(roles ...string) {
	s.t.Helper()
	var file []byte
	for _, role := range roles {
		token, err := identity.NewToken(rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		digest, err := identity.TokenDigest(token)
		if err != nil {
			s.t.Fatal(err)
		}
		s.tokens[role] = token
		e := tokenfile.Entry{Name: "tess", Role: role, SHA256: hex.EncodeToString(digest[:]), Expires: time.Now().Add(time.Hour)}
		if file, err = tokenfile.Append("tokens.yaml", file, e); err != nil {
			s.t.Fatal(err)
		}
	}
	s.write("tokens.yaml", file)
}

func (s *stack) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start runs a program until the test ends or it is stopped.
func (s *stack) start(run func(context.Context, func(program.Started)) error) *process {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan program.Started, 1), make(chan error, 1)
	go func() { done <- run(ctx, func(st program.Started) { started <- st }) }()
	p := &process{}
	select {
	case p.Started = <-started:
	case err := <-done:
		cancel()
		s.t.Fatal(err)
	}
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(p.stop)
	return p
}

func (s *stack) startController() {
	s.t.Helper()
	o := controller.Options{
		Name: "c1", Etcd: s.etcd.Endpoints(), GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", StateDir: s.at("state"),
		TLS: s.tls("c1"), Tokens: s.at("tokens.yaml"), Log: s.logger(),
	}
	s.controller = s.start(func(ctx context.Context, started func(program.Started)) error {
		o.Started = started
		return o.Run(ctx)
	})
}

func (s *stack) startNameserver() {
	s.t.Helper()
	o := authdns.Options{
		Name: "ns1", Region: "eu-west", DNS: []string{"127.0.0.1:0"}, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0",
		Controllers: []string{s.controller.GRPC}, SnapshotDir: s.at("snapshots"), TLS: s.tls("ns1"), Log: s.logger(),
	}
	s.nameserver = s.start(func(ctx context.Context, started func(program.Started)) error {
		o.Started = started
		return o.Run(ctx)
	})
}

// files are a caller's, who has a certificate as the path of its URI says.
func (s *stack) files(path string) *tlsfiles.Files {
	s.t.Helper()
	name := strings.ReplaceAll(path, "/", "-")
	s.issue(name, path, time.Hour)
	return s.open(name, "ca.crt")
}

func (s *stack) open(name, ca string) *tlsfiles.Files {
	s.t.Helper()
	f, err := tlsfiles.Open(tlsfiles.Options{
		CertFile: s.at(name + ".crt"), KeyFile: s.at(name + ".key"), CAFile: s.at(ca), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// ours are the servers that clients here talk to.
var ours = identity.OneOf(identity.Controller, identity.Nameserver)

func (s *stack) dial(addr string, creds credentials.TransportCredentials, opts ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, append(opts, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// as connects with a certificate.
func (s *stack) as(addr, path string, opts ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	return s.dial(addr, s.files(path).Client(ours), opts...)
}

// anonymous connects without a certificate; with a token unless it is empty.
func (s *stack) anonymous(addr, token string) *grpc.ClientConn {
	s.t.Helper()
	creds, err := tlsfiles.WithoutCertificate(s.at("ca.crt"), ours, time.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	if token == "" {
		return s.dial(addr, creds)
	}
	return s.dial(addr, creds, grpc.WithPerRPCCredentials(tokenfile.Bearer(token)))
}

const sample = `
apiVersion: fairlead/v1
kind: Region
metadata: {name: eu-west}
spec: {latitude: 53.35, longitude: -6.26}
---
apiVersion: fairlead/v1
kind: Nameserver
metadata: {name: ns1}
spec: {region: eu-west}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec: {nameservers: [ns1.example.test], records: "ns1 A 192.0.2.53"}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: www.example.test}
spec: {zone: example.test, policy: nearest, endpoints: [{name: eu-1, region: eu-west, addresses: [192.0.2.10]}]}
`

// apply applies configuration and waits until the nameserver answers by it.
func (s *stack) apply() {
	s.t.Helper()
	docs, err := config.Parse("sample.yaml", []byte(sample))
	if err != nil {
		s.t.Fatal(err)
	}
	req := &pb.ApplyRequest{}
	for _, d := range docs {
		req.Resources = append(req.Resources, d.Resource)
	}
	if _, err := pb.NewCatalogServiceClient(s.as(s.controller.GRPC, "admin/root")).Apply(s.t.Context(), req); err != nil {
		s.t.Fatal(err)
	}
	s.eventually("an answer", func() bool { return s.answers() == nil })
}

// answers tells why the nameserver does not answer, or nil.
func (s *stack) answers() error {
	m := new(dns.Msg)
	m.SetQuestion("www.example.test.", dns.TypeA)
	c := dns.Client{Timeout: 5 * time.Second}
	resp, _, err := c.Exchange(m, s.nameserver.DNS[0])
	if err != nil {
		return err
	}
	if len(resp.Answer) != 1 || !strings.Contains(resp.Answer[0].String(), "192.0.2.10") {
		return errors.New(resp.String())
	}
	return nil
}

func (s *stack) eventually(what string, ok func() bool) {
	s.t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("in vain waited for: %s\n%s", what, s.log.String())
}
