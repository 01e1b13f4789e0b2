package e2e

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// issue makes the CAs and a certificate for everybody, with the tool that
// operators use. etcd has a CA of its own: it trusts all of its certificates.
func (c *cluster) issue() {
	c.pki, c.etcdPKI = filepath.Join(c.dir, "pki"), filepath.Join(c.dir, "etcd-pki")
	for _, dir := range []string{c.pki, c.etcdPKI} {
		run(c.t, 0, "pki", "init", "--dir", dir)
	}
	for i := range c.shape.controllers {
		name := fmt.Sprintf("controller-%d", i+1)
		c.issueOne(c.pki, "controller", name, "--host", c.host(i))
		c.issueOne(c.etcdPKI, "controller", name)
	}
	for i := range c.shape.nameservers {
		c.issueOne(c.pki, "nameserver", fmt.Sprintf("ns-%d", i+1), "--region", clusterRegions[i].name, "--host", c.host(i))
	}
	for i, r := range clusterRegions {
		c.issueOne(c.pki, "agent", "probe-"+r.name, "--region", r.name, "--host", c.host(i))
	}
	for i := range c.shape.etcd {
		// etcd also checks where its peers connect from: on loopback, from 127.0.0.1.
		c.issueOne(c.etcdPKI, "etcd", fmt.Sprintf("etcd-%d", i+1), "--host", c.host(i), "--host", "127.0.0.1")
	}
	c.issueOne(c.pki, "admin", admin)
	if c.shape.tokens {
		for _, role := range []string{"viewer", "operator", "admin"} {
			c.token(role, "token-"+role)
		}
	}
	c.https = client(c.t, filepath.Join(c.pki, "ca.crt"), "")
	c.etcdMetrics = client(c.t, filepath.Join(c.etcdPKI, "ca.crt"), filepath.Join(c.etcdPKI, "controller-1"))
}

func (c *cluster) issueOne(dir, role, name string, more ...string) {
	c.t.Helper()
	run(c.t, 0, append([]string{"pki", "issue", role, name, "--dir", dir, "--out", filepath.Join(dir, name)}, more...)...)
}

// tokensFile is what the controllers know the tokens from.
const tokensFile = "tokens.yaml"

// token makes a token for a person and lets the controllers know.
func (c *cluster) token(role, name string, more ...string) {
	c.t.Helper()
	run(c.t, 0, append([]string{"pki", "token", name, "--role", role, "--out", filepath.Join(c.pki, name+".token"), "--file", filepath.Join(c.pki, tokensFile)}, more...)...)
}

// tls adds the flags of a certificate to others.
func (c *cluster) tls(name string, args ...string) []string {
	return append(args, tlsFlags(filepath.Join(c.pki, name), filepath.Join(c.pki, "ca.crt"))...)
}

func tlsFlags(prefix, ca string) []string {
	return []string{"--tls-cert", prefix + ".crt", "--tls-key", prefix + ".key", "--tls-ca", ca}
}

// clientTLS trusts a CA, with a certificate or without.
func clientTLS(t *testing.T, ca, prefix string) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(text)
	if prefix != "" {
		pair, err := tls.LoadX509KeyPair(prefix+".crt", prefix+".key")
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// client is an HTTP client that trusts a CA, with a certificate or without.
func client(t *testing.T, ca, prefix string) *http.Client {
	t.Helper()
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: clientTLS(t, ca, prefix), DisableKeepAlives: true}}
}

// expire writes a certificate anew, one that has expired a minute ago.
func expire(t *testing.T, dir, name string) {
	t.Helper()
	expireIn(t, dir, name, -time.Minute)
}

// expireIn writes a certificate anew, one that expires soon. It has begun with
// its CA, a few minutes before that was made.
func expireIn(t *testing.T, dir, name string, remains time.Duration) {
	t.Helper()
	ca, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name+".crt")
	pair, err := tls.LoadX509KeyPair(path, filepath.Join(dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	old := *pair.Leaf
	old.NotBefore, old.NotAfter = ca.Leaf.NotBefore, time.Now().Add(remains)
	der, err := x509.CreateCertificate(rand.Reader, &old, ca.Leaf, old.PublicKey, ca.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
}
