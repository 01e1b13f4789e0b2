package tokenfile

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
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
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// bench is a file of tokens and what is heard of it.
type bench struct {
	t    *testing.T
	path string
	now  atomic.Int64
	reg  *prometheus.Registry

	mu  sync.Mutex
	log bytes.Buffer
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, path: filepath.Join(t.TempDir(), "tokens.yaml"), reg: prometheus.NewPedanticRegistry()}
	b.now.Store(start.UnixNano())
	return b
}

func (b *bench) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.log.Write(p) }
func (b *bench) logged() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.log.String() }

// write writes the file as others see it change: with a new time.
func (b *bench) write(text string) {
	b.t.Helper()
	// Whole, as the file may be looked at meanwhile: half of it would be refused too.
	if err := errors.Join(os.WriteFile(b.path+".new", []byte(text), 0o600), os.Rename(b.path+".new", b.path)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) options() Options {
	return Options{
		Path: b.path, TrustDomain: "fairlead", Poll: 5 * time.Millisecond, Registerer: b.reg,
		Now: func() time.Time { return time.Unix(0, b.now.Load()) },
		Log: slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func (b *bench) open() *Tokens {
	b.t.Helper()
	f, err := Open(b.options())
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// made makes a token and its entry.
func made(t *testing.T, role, name string, edit ...func(*Entry)) (token, text string) {
	t.Helper()
	token, err := identity.NewToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d, err := identity.TokenDigest(token)
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{Name: name, Role: role, SHA256: hex.EncodeToString(d[:]), Created: start, Expires: start.Add(30 * day)}
	for _, f := range edit {
		f(&e)
	}
	if text, err = e.Text(); err != nil {
		t.Fatal(err)
	}
	return token, text
}

// a call over TLS, without a certificate or with one, and what it brings.
func call(certificate bool, authorization ...string) context.Context {
	state := tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	if certificate {
		state.PeerCertificates = []*x509.Certificate{{}}
	}
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}, AuthInfo: credentials.TLSInfo{State: state}})
	md := metadata.MD{}
	md.Append("authorization", authorization...)
	return metadata.NewIncomingContext(ctx, md)
}

func TestIdentify(t *testing.T) {
	b := newBench(t)
	alice, aliceText := made(t, "operator", "alice", func(e *Entry) { e.Regions = []string{"us-east", "eu-west"} })
	bob, bobText := made(t, "viewer", "bob", func(e *Entry) { e.Expires = start.Add(day) })
	later, laterText := made(t, "viewer", "later", func(e *Entry) { e.Created = start.Add(29 * day) })
	other, _ := made(t, "admin", "mallory")
	b.write("tokens:\n" + aliceText + bobText + laterText)
	f := b.open()
	byCertificate := identity.Identity{TrustDomain: "fairlead", Role: identity.Admin, Name: "root"}
	identify := f.Identify(func(context.Context) (identity.Identity, error) { return byCertificate, nil })

	for _, bearer := range []string{"Bearer " + alice, "bearer  " + alice + " "} {
		id, err := identify(call(false, bearer))
		if err != nil || id.URI() != "spiffe://fairlead/operator/alice/region/eu-west/region/us-east" || !id.Token {
			t.Errorf("%v, %v", id, err)
		}
	}
	// Made by a clock that is ahead a little.
	b.now.Store(start.Add(29*day - skew).UnixNano())
	if id, err := identify(call(false, "Bearer "+later)); err != nil || id.Name != "later" {
		t.Errorf("%v, %v", id, err)
	}
	b.now.Store(start.UnixNano())
	for _, ctx := range []context.Context{call(true), call(true, "Basic YTpi")} {
		if id, err := identify(ctx); err != nil || !id.Equal(byCertificate) || id.Token {
			t.Errorf("by certificate: %v, %v", id, err)
		}
	}
	plain := metadata.NewIncomingContext(peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{}}),
		metadata.Pairs("authorization", "Bearer "+alice))
	b.now.Store(start.Add(2 * day).UnixNano())
	for name, c := range map[string]struct {
		ctx context.Context
		say string
		why string
	}{
		"nothing":            {call(false), "neither a certificate nor a token", ""},
		"another scheme":     {call(false, "Basic "+alice), "neither a certificate nor a token", ""},
		"both":               {call(true, "Bearer "+alice), "a certificate and a token", ambiguous},
		"two tokens":         {call(false, "Bearer "+alice, "Bearer "+bob), "more than one token", ambiguous},
		"plain text":         {plain, "without TLS", plaintext},
		"expired":            {call(false, "Bearer "+bob), "the token of viewer bob expired at 2026-11-02T12:00:00Z", expired},
		"not yet":            {call(false, "Bearer "+later), "valid from 2026-11-30T12:00:00Z only", expired},
		"of nobody":          {call(false, "Bearer "+other), "no such token is known here", unknown},
		"mistyped":           {call(false, "Bearer "+alice[:len(alice)-1]+"_"), "its checksum is wrong", malformed},
		"no token":           {call(false, "Bearer x"), "does not begin with flt_", malformed},
		"empty":              {call(false, "Bearer "), "does not begin with flt_", malformed},
		"the digest of one":  {call(false, "Bearer "+fmt.Sprintf("%x", f.current.Load().order[0].digest)), "does not begin with flt_", malformed},
		"a forged call's id": {call(false, "Bearer flt_"+strings.Repeat("0", 49)), "its checksum is wrong", malformed},
	} {
		before := 0.0
		if c.why != "" {
			before = testutil.ToFloat64(f.metrics.attempts.WithLabelValues(c.why))
		}
		id, err := identify(c.ctx)
		if err == nil || id.Role != identity.None || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, %v: want %q", name, id, err, c.say)
			continue
		}
		for _, secret := range []string{alice, bob, other, alice[8:30]} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v shows a token", name, err)
			}
		}
		if c.why != "" && testutil.ToFloat64(f.metrics.attempts.WithLabelValues(c.why)) != before+1 {
			t.Errorf("%s: not counted as %s", name, c.why)
		}
	}
	log := b.logged()
	if n := strings.Count(log, "token refused"); n == 0 || n > 5 || !strings.Contains(log, "192.0.2.7:4711") {
		t.Errorf("%d of the refusals are logged: %s", n, log)
	}
	for _, secret := range []string{alice, bob, other, later} {
		if strings.Contains(log, secret[4:20]) {
			t.Errorf("a token is in the log: %s", log)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	token, good := made(t, "operator", "alice")
	sum := good[strings.Index(good, "sha256: ")+8:][:64]
	entry := func(fields string) string { return "tokens:\n- {" + fields + "}\n" }
	rest := "sha256: " + sum + ", expires: 2027-01-01T00:00:00Z"
	for name, c := range map[string]struct{ text, say string }{
		"no YAML":           {"tokens: [", "is no YAML"},
		"another file":      {"contexts: {}\n", "wrong type"},
		"two documents":     {"tokens:\n---\ntokens:\n", "one YAML document"},
		"no list":           {"tokens: alice\n", "wrong type"},
		"a text":            {"tokens: [alice]\n", "want a token: name, role"},
		"unknown field":     {entry("name: a, rol: viewer, " + rest), `no such field "rol"`},
		"no role":           {entry("name: a, " + rest), "role: no role"},
		"a program":         {entry("name: a, role: agent, " + rest), "tokens are for people"},
		"controller":        {entry("name: a, role: controller, " + rest), "tokens are for people"},
		"no name":           {entry("role: viewer, " + rest), `name "" is empty`},
		"bad scope":         {entry("name: a, role: viewer, regions: [EU], " + rest), "one DNS label"},
		"no digest":         {entry("name: a, role: viewer, expires: 2027-01-01T00:00:00Z"), "64 hexadecimal digits"},
		"short digest":      {entry("name: a, role: viewer, sha256: abcd, expires: 2027-01-01T00:00:00Z"), "64 hexadecimal digits"},
		"no expiry":         {entry("name: a, role: viewer, sha256: " + sum), "expires: missing"},
		"expiry of no time": {entry("name: a, role: viewer, sha256: " + sum + ", expires: soon"), "wrong type"},
		"ends before":       {entry("name: a, role: viewer, created: 2027-01-02T00:00:00Z, " + rest), "after it was created"},
		"the token itself":  {entry("name: a, role: viewer, sha256: " + token + ", expires: 2027-01-01T00:00:00Z"), "a token itself is here"},
		"token as name":     {entry("name: " + token + ", role: viewer, " + rest), "a token itself is here"},
		"twice":             {"tokens:\n" + good + good, "another token has the same"},
		"empty":             {"", "is empty"},
		"many":              {"tokens:\n" + strings.Repeat("- {}\n", maxTokens+1), "1001 tokens, at most 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.write(c.text)
			_, err := Open(b.options())
			if err == nil || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), b.path) {
				t.Fatalf("%v: want %q and the path", err, c.say)
			}
			if strings.Contains(err.Error(), token[4:20]) || strings.Contains(b.logged(), token[4:20]) {
				t.Errorf("%v shows the token", err)
			}
		})
	}
	// All mistakes at once, each with its line.
	b := newBench(t)
	b.write("tokens:\n- {name: a, role: agent}\n- {name: b, role: viewer, regions: [E, F]}\n")
	_, err := Open(b.options())
	for _, want := range []string{":2: role", ":2: sha256", ":2: expires", ":3: scope: region \"E\"", ":3: scope: region \"F\"", ":3: sha256", ":3: expires"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
	// Others can read it, or it is none.
	b.write("tokens:\n" + good)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660} {
		if err := os.Chmod(b.path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(b.options()); err == nil || !strings.Contains(err.Error(), "run chmod 600 "+b.path) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	o := b.options()
	if o.Path = b.path + "-not-there"; true {
		if _, err := Open(o); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	if _, err := Open(Options{Poll: -1}); err == nil || !strings.Contains(err.Error(), "no file of tokens") || !strings.Contains(err.Error(), "trust domain") {
		t.Error(err)
	}
}

// until waits for what must come about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("in vain waited for: %s", what)
}

// The file is read again while it is in use: a token that is added counts, one
// that is taken out does not, and a bad file changes nothing and is told of.
func TestReload(t *testing.T) {
	b := newBench(t)
	alice, aliceText := made(t, "operator", "alice")
	bob, bobText := made(t, "viewer", "bob")
	b.write("tokens:\n" + aliceText)
	f := b.open()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	identify := f.Identify(nil)
	known := func(token string) bool { _, err := identify(call(false, "Bearer "+token)); return err == nil }
	if !known(alice) || known(bob) {
		t.Fatal("at the start")
	}
	b.write("tokens:\n" + aliceText + bobText)
	until(t, "the new token", func() bool { return known(bob) })
	b.write("tokens:\n" + bobText + "- {}\n")
	until(t, "the refusal", func() bool { return testutil.ToFloat64(f.metrics.refused) == 1 })
	if !known(alice) || !known(bob) {
		t.Error("a bad file changed something")
	}
	if err := f.Reload(); err == nil || !strings.Contains(err.Error(), "the old tokens stay in use") {
		t.Error(err)
	}
	if n := strings.Count(b.logged(), "the new file of tokens is refused"); n != 1 {
		t.Errorf("told %d times: %s", n, b.logged())
	}
	b.write("tokens:\n" + bobText)
	until(t, "the token that was taken back", func() bool { return !known(alice) })
	if !known(bob) || testutil.ToFloat64(f.metrics.refused) != 0 {
		t.Error("the good file is not in use")
	}
	// One that others can read is refused, as at the start.
	if err := os.Chmod(b.path, 0o644); err != nil {
		t.Fatal(err)
	}
	until(t, "the mode", func() bool { return testutil.ToFloat64(f.metrics.refused) == 1 })
	if err := os.Remove(b.path); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err == nil || !known(bob) {
		t.Errorf("%v: a file that is gone changed something", err)
	}
}

// Warnings come before the end, in the log, in a metric and in the status.
func TestExpiryIsToldBefore(t *testing.T) {
	b := newBench(t)
	_, text := made(t, "operator", "alice")
	b.write("tokens:\n" + text)
	f := b.open()
	state := func() identity.State { return f.InUse(f.o.Now())[0].State }
	next := func() float64 {
		families, err := b.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range families {
			if m.GetName() == "fairlead_tokens_expiry_timestamp_seconds" {
				return m.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return -1
	}
	end := start.Add(30 * day)
	if state() != identity.Fresh || next() != float64(end.Unix()) || b.logged() != "" {
		t.Errorf("%v, %v, %s", state(), next(), b.logged())
	}
	b.now.Store(start.Add(20 * day).UnixNano()) // the last third
	f.remind(f.o.Now())
	f.remind(f.o.Now())
	if n := strings.Count(b.logged(), `msg="token expires soon: make a new one"`); n != 1 || state() != identity.Warn {
		t.Errorf("%v, told %d times: %s", state(), n, b.logged())
	}
	b.now.Store(end.Add(time.Second).UnixNano())
	f.remind(f.o.Now())
	if !strings.Contains(b.logged(), "token has expired") || len(f.InUse(f.o.Now())) != 0 || next() != 0 {
		t.Errorf("%v, %v, %s", f.InUse(f.o.Now()), next(), b.logged())
	}
	if !strings.Contains(b.logged(), "operator alice") {
		t.Errorf("whose it is, is not told: %s", b.logged())
	}
}

func TestSecrets(t *testing.T) {
	token, _ := made(t, "operator", "alice")
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path); err != nil || got != token {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "holds a token and has mode 0640") {
		t.Error(err)
	}
	short := path + "-short"
	if err := os.WriteFile(short, []byte(token[:50]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(short); err == nil || !strings.Contains(err.Error(), "holds no token") || strings.Contains(err.Error(), token[4:20]) {
		t.Error(err)
	}
	b := Bearer(token)
	if text := fmt.Sprintf("%v %+v %#v %s", b, b, b, b); strings.Contains(text, token) || !b.RequireTransportSecurity() {
		t.Error(text)
	}
	if md, err := b.GetRequestMetadata(t.Context()); err != nil || md["authorization"] != "Bearer "+token {
		t.Errorf("%v, %v", md, err)
	}
}

// No file crashes it, and what it takes is people with an end.
func FuzzFile(f *testing.F) {
	f.Add([]byte("tokens:\n- {name: a, role: viewer, sha256: 00, expires: 2027-01-01T00:00:00Z}\n"))
	f.Add([]byte("tokens: &a [*a]\n"))
	f.Add([]byte("- &a {<<: *a}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := (&Options{Path: "f", TrustDomain: "fairlead"}).load(data)
		if err != nil {
			return
		}
		for _, tok := range table.order {
			if !tok.id.Role.Person() || !tok.id.Token || tok.until.IsZero() || tok.id.Validate() != nil || tok.id.TrustDomain == "" {
				t.Fatalf("%+v", tok)
			}
		}
	})
}
