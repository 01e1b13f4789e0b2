package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
	"time"
)

// certificate makes a self-signed certificate with the URIs.
func certificate(t *testing.T, ca bool, uris ...string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e9, 0), IsCA: ca, BasicConstraintsValid: true,
	}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.URIs = append(tmpl.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestFromCertificate(t *testing.T) {
	const uri = "spiffe://fairlead/operator/al/service/WILDCARD.a.test"
	id, err := FromCertificate(certificate(t, false, uri))
	if err != nil || id.URI() != uri {
		t.Errorf("%v, %v", id, err)
	}
	for _, c := range []struct {
		cert *x509.Certificate
		say  string
	}{
		{nil, "no certificate"},
		{certificate(t, false), "has 0 URIs"},
		{certificate(t, false, uri, "spiffe://fairlead/admin/al"), "has 2 URIs"},
		{certificate(t, false, uri, uri), "has 2 URIs"},
		{certificate(t, true, uri), "is a CA's"},
		{certificate(t, false, "https://example.test/"), "want spiffe://"},
		{certificate(t, false, "spiffe://fairlead/controller/c?q"), "holds '?'"},
		{certificate(t, false, "spiffe://fairlead/controller/%63"), "holds '%'"},
	} {
		if id, err := FromCertificate(c.cert); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%v, %v: want %q", id, err, c.say)
		}
	}
}

func TestExpiry(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		life, age time.Duration
		want      State
	}{
		{90 * day, -time.Second, Early},
		{90 * day, 0, Fresh},
		{90 * day, 76*day - time.Second, Fresh},
		{90 * day, 76 * day, Warn}, // 14 days
		{90 * day, 90 * day, Warn}, // its last second
		{90 * day, 90*day + 1, Expired},
		{30 * day, 20*day - time.Second, Fresh},
		{30 * day, 20 * day, Warn}, // a third
		{time.Hour, 39 * time.Minute, Fresh},
		{time.Hour, 40 * time.Minute, Warn},
		{3650 * day, 3000 * day, Fresh},
	} {
		cert := &x509.Certificate{NotBefore: start, NotAfter: start.Add(c.life)}
		state, remaining := Expiry(cert, start.Add(c.age))
		if state != c.want || remaining != c.life-c.age {
			t.Errorf("life %v, age %v: %v, %v", c.life, c.age, state, remaining)
		}
	}
}
