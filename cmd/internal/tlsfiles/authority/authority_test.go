package authority

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

const day = 24 * time.Hour

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := New("fairlead", 365*day, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestIssue(t *testing.T) {
	ca := newCA(t)
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, c := range []struct {
		uri   string
		hosts []string
		usage []x509.ExtKeyUsage
	}{
		{"spiffe://fairlead/agent/eu/a1", nil, both},
		{"spiffe://fairlead/nameserver/eu/ns1", []string{"ns1.example.test"}, both},
		{"spiffe://fairlead/controller/c1", []string{"c1.example.test", "*.example.test", "192.0.2.1", "2001:db8::1"}, both},
		{"spiffe://fairlead/etcd/e1", []string{"localhost", "127.0.0.1"}, both},
		{"spiffe://fairlead/operator/alice/zone/a.test/service/WILDCARD.b.test/region/eu", nil, both[:1]},
		{"spiffe://fairlead/admin/root", nil, both[:1]},
	} {
		id, err := identity.Parse(c.uri)
		if err != nil {
			t.Fatal(err)
		}
		want := Request{Identity: id, Hosts: c.hosts, Life: 90 * day}
		p, err := ca.Issue(want, now)
		if err != nil {
			t.Fatal(err)
		}
		cert := p.Certificate
		got, err := RequestFor(cert)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", c.uri, d)
		}
		if !slices.Equal(cert.ExtKeyUsage, c.usage) || cert.KeyUsage != x509.KeyUsageDigitalSignature || cert.IsCA || !cert.BasicConstraintsValid {
			t.Errorf("%s: %+v", c.uri, cert)
		}
		if cert.SerialNumber.BitLen() < 64 {
			t.Errorf("%s: serial number %v can be guessed", c.uri, cert.SerialNumber)
		}
		pool := x509.NewCertPool()
		pool.AddCert(ca.Certificate())
		for _, usage := range c.usage {
			if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s: %v", c.uri, err)
			}
		}
		block, _ := pem.Decode(p.KeyPEM)
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.(crypto.Signer).Public()) || !ca.Signed(cert) {
			t.Errorf("%s: key and certificate differ", c.uri)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	ca := newCA(t)
	id := func(uri string) identity.Identity {
		id, err := identity.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	controller, etcd := id("spiffe://fairlead/controller/c1"), id("spiffe://fairlead/etcd/e1")
	for _, c := range []struct {
		r   Request
		at  time.Time
		say string
	}{
		{Request{Identity: identity.Identity{TrustDomain: "fairlead", Role: identity.Agent, Name: "a1"}, Life: day}, now, "has no region"},
		{Request{Identity: id("spiffe://elsewhere/controller/c1"), Life: day}, now, `want "fairlead", for which the CA signs`},
		{Request{Identity: etcd, Life: day}, now, "etcd e1 has no hosts"},
		{Request{Identity: id("spiffe://fairlead/admin/root"), Hosts: []string{"a.test"}, Life: day}, now, "people serve nothing"},
		{Request{Identity: controller, Life: 0}, now, "want more than no time"},
		{Request{Identity: controller, Life: 366 * day}, now, "want 365 days at most"},
		{Request{Identity: controller, Life: day}, now.Add(366 * day), "expired on 2027-11-01: make a new one"},
		{Request{Identity: controller, Life: day}, now.Add(-day), "is the clock right"},
		{Request{Identity: controller, Life: day, Hosts: []string{"a b"}}, now, `host "a b"`},
		{Request{Identity: controller, Life: day, Hosts: []string{"a.test:1"}}, now, "without a port"},
		{Request{Identity: controller, Life: day, Hosts: []string{"192.0.2.300"}}, now, "host"},
		{Request{Identity: controller, Life: day, Hosts: []string{"*.test"}}, now, "host"},
		{Request{Identity: controller, Life: day, Hosts: []string{"fe80::1%eth0"}}, now, "host"},
		{Request{Identity: controller, Life: day, Hosts: []string{""}}, now, "host"},
		{Request{Identity: controller, Life: day, Hosts: []string{"-a.test"}}, now, "host"},
	} {
		if p, err := ca.Issue(c.r, c.at); err == nil || !strings.Contains(err.Error(), c.say) || p.KeyPEM != nil {
			t.Errorf("%+v: %v: want %q", c.r, err, c.say)
		}
	}
}

func TestLoad(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	leaf, err := ca.Issue(Request{Identity: identity.Identity{TrustDomain: "fairlead", Role: identity.Controller, Name: "c1"}, Life: day}, now)
	if err != nil {
		t.Fatal(err)
	}
	// A bundle: the one that the key is of counts.
	got, err := Load([]*x509.Certificate{other.cert, leaf.Certificate, ca.cert}, ca.key)
	if err != nil || !got.cert.Equal(ca.cert) || got.TrustDomain() != "fairlead" || got.Signed(other.cert) || !got.Signed(leaf.Certificate) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := Load([]*x509.Certificate{other.cert}, ca.key); err == nil || !strings.Contains(err.Error(), "the key is that of no certificate") {
		t.Error(err)
	}
	block, _ := pem.Decode(leaf.KeyPEM)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load([]*x509.Certificate{leaf.Certificate}, key.(crypto.Signer)); err == nil || !strings.Contains(err.Error(), "is no CA's") {
		t.Error(err)
	}
	// A CA that names no trust domain.
	tmpl := *ca.cert
	tmpl.URIs = nil
	bare, err := sign(&tmpl, &tmpl, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load([]*x509.Certificate{bare}, ca.key); err == nil || !strings.Contains(err.Error(), "does not name its trust domain") {
		t.Error(err)
	}
	for _, domain := range []string{"", "Fairlead", "a:1"} {
		if _, err := New(domain, day, now); err == nil {
			t.Errorf("trust domain %q", domain)
		}
	}
	if _, err := New("fairlead", 0, now); err == nil {
		t.Error("a CA for no time")
	}
}
