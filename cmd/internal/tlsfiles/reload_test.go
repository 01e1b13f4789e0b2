package tlsfiles

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles/authority"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

const soon = 10 * time.Millisecond

// put writes a pair as a renewal does, key first.
func put(t *testing.T, o Options, p authority.Pair) {
	t.Helper()
	write(t, o.KeyFile, p.KeyPEM, 0o600)
	write(t, o.CertFile, p.CertificatePEM, 0o644)
}

func TestLeafRotatesWhileRunning(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "fairlead", now)
	serverOptions := place(t, issue(t, ca, "controller/c1", day, now), caPEM(t, ca))
	clientOptions := place(t, issue(t, ca, "agent/eu/a1", day, now), caPEM(t, ca))
	serverOptions.Poll, clientOptions.Poll = soon, soon
	server, client := open(t, serverOptions), open(t, clientOptions)
	running(t, server)
	running(t, client)
	addr := serve(t, server.Server())
	kept := dial(t, addr, client.Client(wantController))
	defer kept.Close()
	for range 3 {
		if _, err := callOn(kept); err != nil {
			t.Fatalf("a connection from before: %v", err)
		}
		p, q := issue(t, ca, "controller/c1", day, now), issue(t, ca, "agent/eu/a1", day, now)
		put(t, serverOptions, p)
		put(t, clientOptions, q)
		until(t, "both are in use", func() bool {
			return server.Certificate().Equal(p.Certificate) && client.Certificate().Equal(q.Certificate)
		})
		state, err := call(t, addr, client.Client(wantController))
		if err != nil || !state.PeerCertificates[0].Equal(p.Certificate) {
			t.Fatalf("%v", err)
		}
	}
}

// The three steps of docs: both CAs in every bundle, new certificates, the old
// CA goes. At no step is a connection refused; after the last, the old CA's
// certificates are.
func TestCARotatesWhileRunning(t *testing.T) {
	now := time.Now()
	old, next := newCA(t, "fairlead", now), newCA(t, "fairlead", now)
	paths := []string{"controller/c1", "agent/eu/a1"}
	var options []Options
	var files []*Files
	for _, path := range paths {
		o := place(t, issue(t, old, path, day, now), caPEM(t, old))
		options, files = append(options, o), append(files, open(t, o))
	}
	stray := open(t, place(t, issue(t, old, "agent/eu/a2", day, now), caPEM(t, old, next)))
	addr := serve(t, files[0].Server())
	works := func(step string) {
		t.Helper()
		if _, err := call(t, addr, files[1].Client(wantController)); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	works("before")
	for _, step := range []struct {
		name string
		do   func(i int)
	}{
		{"both CAs", func(i int) { write(t, options[i].CAFile, caPEM(t, old, next), 0o644) }},
		{"new certificate", func(i int) { put(t, options[i], issue(t, next, paths[i], day, now)) }},
		{"new CA only", func(i int) { write(t, options[i].CAFile, caPEM(t, next), 0o644) }},
	} {
		for i := range files {
			if step.name == "new CA only" && i == 0 {
				if _, err := call(t, addr, stray.Client(wantController)); err != nil {
					t.Fatalf("the old CA still counts: %v", err)
				}
			}
			step.do(i)
			if err := files[i].Reload(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			works(step.name)
		}
	}
	_, err := call(t, addr, stray.Client(wantController))
	check(t, err, refusedAlert("unknown certificate authority"))
}

func TestBadFilesAreRefused(t *testing.T) {
	k := newClock()
	ca, foreign := newCA(t, "fairlead", k.now()), newCA(t, "fairlead", k.now())
	old := issue(t, ca, "controller/c1", 90*day, k.now())
	next := issue(t, ca, "controller/c1", 90*day, k.now())
	brief := issue(t, ca, "controller/c1", time.Hour, k.now())
	for name, c := range map[string]struct {
		spoil func(o Options)
		mend  func(o Options)
		say   string
	}{
		"new key, old certificate": {
			func(o Options) { write(t, o.KeyFile, next.KeyPEM, 0o600) },
			func(o Options) { write(t, o.CertFile, next.CertificatePEM, 0o644) }, "issued together",
		},
		"new certificate, old key": {
			func(o Options) { write(t, o.CertFile, next.CertificatePEM, 0o644) },
			func(o Options) { write(t, o.KeyFile, next.KeyPEM, 0o600) }, "issued together",
		},
		"torn in place": {
			func(o Options) { os.WriteFile(o.CertFile, next.CertificatePEM[:200], 0o644) },
			func(o Options) { put(t, o, next) }, "cut off or damaged",
		},
		"gone": {
			func(o Options) { os.Remove(o.CertFile) },
			func(o Options) { put(t, o, next) }, "no such file",
		},
		"expired": {
			func(o Options) { put(t, o, brief) },
			func(o Options) { put(t, o, next) }, "expired at",
		},
		"foreign CA": {
			func(o Options) { put(t, o, issue(t, foreign, "controller/c1", 90*day, k.now())) },
			func(o Options) { put(t, o, next) }, "vouches for",
		},
		"own CA removed": {
			func(o Options) { write(t, o.CAFile, caPEM(t, foreign), 0o644) },
			func(o Options) { write(t, o.CAFile, caPEM(t, ca), 0o644); put(t, o, next) }, "vouches for",
		},
		"someone else's": {
			func(o Options) { put(t, o, issue(t, ca, "controller/c2", 90*day, k.now())) },
			func(o Options) { put(t, o, next) }, "this process is controller c1",
		},
		"key for all to read": {
			func(o Options) { os.Chmod(o.KeyFile, 0o644) },
			func(o Options) { put(t, o, next) }, "chmod 600",
		},
	} {
		t.Run(name, func(t *testing.T) {
			j, reg := &journal{}, prometheus.NewRegistry()
			o := k.options(place(t, old, caPEM(t, ca)))
			o.Log, o.Registerer = j.log(), reg
			f := open(t, o)
			agent := open(t, k.options(place(t, issue(t, ca, "agent/eu/a1", 90*day, k.now()), caPEM(t, ca))))
			addr := serve(t, f.Server())
			k.advance(2 * time.Hour)
			c.spoil(o)
			for range 3 {
				if err := f.Reload(); err == nil || !strings.Contains(err.Error(), c.say) {
					t.Fatalf("%v: want %q", err, c.say)
				}
			}
			state, err := call(t, addr, agent.Client(wantController))
			if err != nil || !state.PeerCertificates[0].Equal(old.Certificate) {
				t.Fatalf("the old one is not in use: %v", err)
			}
			if n := j.count("new TLS files refused"); n != 1 {
				t.Errorf("told %d times: %s", n, j)
			}
			const counter = "fairlead_tls_reloads_total"
			if r, g := value(t, reg, counter, "result=refused"), value(t, reg, "fairlead_tls_files_refused"); r != 1 || g != 1 {
				t.Errorf("refused %v times, gauge %v", r, g)
			}
			c.mend(o)
			if err := f.Reload(); err != nil {
				t.Fatal(err)
			}
			state, err = call(t, addr, agent.Client(wantController))
			if err != nil || !state.PeerCertificates[0].Equal(next.Certificate) {
				t.Fatalf("the new one is not in use: %v", err)
			}
			if ok, g := value(t, reg, counter, "result=ok"), value(t, reg, "fairlead_tls_files_refused"); ok != 1 || g != 0 {
				t.Errorf("taken %v times, gauge %v", ok, g)
			}
		})
	}
}

// The poll notices each sort of change, and a pair that is half there is no
// reason to lose the old one.
func TestPollNotices(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "fairlead", now)
	p := issue(t, ca, "controller/c1", day, now)
	o := place(t, p, caPEM(t, ca))
	j := &journal{}
	o.Log, o.Poll = j.log(), soon
	// As a secret is mounted: the files are links through one that moves.
	dir := t.TempDir()
	first, second := filepath.Dir(o.CertFile), t.TempDir()
	if err := os.Symlink(first, filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []*string{&o.CertFile, &o.KeyFile, &o.CAFile} {
		name := filepath.Base(*path)
		if err := os.Symlink(filepath.Join("data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		*path = filepath.Join(dir, name)
	}
	f := open(t, o)
	running(t, f)
	q := issue(t, ca, "controller/c1", day, now)
	write(t, filepath.Join(first, "x.key"), q.KeyPEM, 0o600)
	until(t, "half a pair is refused", func() bool { return j.count("refused") == 1 })
	if !f.Certificate().Equal(p.Certificate) {
		t.Fatal("half a pair in use")
	}
	write(t, filepath.Join(first, "x.crt"), q.CertificatePEM, 0o644)
	until(t, "the pair is in use", func() bool { return f.Certificate().Equal(q.Certificate) })

	r := issue(t, ca, "controller/c1", day, now)
	write(t, filepath.Join(second, "x.key"), r.KeyPEM, 0o600)
	write(t, filepath.Join(second, "x.crt"), r.CertificatePEM, 0o644)
	write(t, filepath.Join(second, "ca.crt"), caPEM(t, ca), 0o644)
	if err := os.Symlink(second, filepath.Join(dir, "data.new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "data.new"), filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	until(t, "the other directory is in use", func() bool { return f.Certificate().Equal(r.Certificate) })

	// In place: the same file, and its content as long as before or not.
	s := issue(t, ca, "controller/c1", day, now)
	for path, data := range map[string][]byte{o.KeyFile: s.KeyPEM, o.CertFile: s.CertificatePEM} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "what was written in place is in use", func() bool { return f.Certificate().Equal(s.Certificate) })
}

// Warnings come with the last third or 14 days, daily from then on, and at
// once when the state changes.
func TestReminders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		now := time.Now()
		ca := newCA(t, "fairlead", now)
		o := place(t, issue(t, ca, "nameserver/eu/ns1", 60*day, now), caPEM(t, ca))
		o.Log, o.Poll = j.log(), time.Hour
		f := open(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		for _, c := range []struct {
			until         time.Duration
			warns, errors int
		}{
			{45 * day, 0, 0},
			{46*day + 2*time.Hour, 1, 0},
			{47*day + 2*time.Hour, 2, 0},
			{60*day - time.Hour, 14, 0},
			{60*day + 2*time.Hour, 15, 1},
			{63*day + 2*time.Hour, 15, 4},
		} {
			time.Sleep(c.until - time.Since(now))
			synctest.Wait()
			if w, e := j.count("expires soon"), j.count("has expired"); w != c.warns || e != c.errors {
				t.Errorf("after %v: %d warnings, %d errors, want %d, %d", c.until, w, e, c.warns, c.errors)
			}
		}
		// A renewed one is good at once, and silent.
		put(t, o, issue(t, ca, "nameserver/eu/ns1", 60*day, time.Now()))
		time.Sleep(2 * day)
		synctest.Wait()
		if w, e := j.count("expires soon"), j.count("has expired"); w != 15 || e != 4 {
			t.Errorf("renewed: %d warnings, %d errors", w, e)
		}
		if state, _ := identity.Expiry(f.Certificate(), time.Now()); state != identity.Fresh {
			t.Errorf("%v", state)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// No input, however damaged, makes more than an error.
func FuzzFiles(f *testing.F) {
	now := time.Now()
	ca, err := authority.New("fairlead", day, now)
	if err != nil {
		f.Fatal(err)
	}
	cert, key, err := ca.PEM()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][]byte{cert, key, append(bytes.Clone(cert), cert...), cert[:200], []byte("-----BEGIN X-----\n-----END X-----\n"), nil} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := parseCertificates("f", data, false)
		if (err == nil) != (len(certs) > 0) {
			t.Fatalf("%d certificates, %v", len(certs), err)
		}
		if k, err := parseKey("f", data); (err == nil) != (k != nil) {
			t.Fatalf("%v, %v", k, err)
		}
	})
}
