package tlsfiles

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

func TestOpenRefuses(t *testing.T) {
	now := time.Now()
	ca, other := newCA(t, "fairlead", now), newCA(t, "fairlead", now)
	p, q := issue(t, ca, "controller/c1", 90*day, now), issue(t, ca, "controller/c2", 90*day, now)
	put := func(path string, data []byte) { write(t, path, data, 0o600) }
	for name, c := range map[string]struct {
		spoil func(o *Options)
		say   string
	}{
		"no options":            {func(o *Options) { *o = Options{} }, "no certificate file"},
		"no certificate":        {func(o *Options) { os.Remove(o.CertFile) }, "no such file"},
		"no key":                {func(o *Options) { os.Remove(o.KeyFile) }, "no such file"},
		"no CA":                 {func(o *Options) { os.Remove(o.CAFile) }, "no such file"},
		"a directory":           {func(o *Options) { o.CAFile = filepath.Dir(o.CAFile) }, "no regular file"},
		"group reads the key":   {func(o *Options) { os.Chmod(o.KeyFile, 0o640) }, "mode 0640, so that others than its owner can get at it: run chmod 600"},
		"others write the key":  {func(o *Options) { os.Chmod(o.KeyFile, 0o602) }, "chmod 600"},
		"shared file is open":   {func(o *Options) { o.KeyFile = o.CertFile }, "chmod 600"},
		"empty":                 {func(o *Options) { put(o.CertFile, nil) }, "is empty"},
		"too large":             {func(o *Options) { put(o.CAFile, bytes.Repeat([]byte("x"), maxFile+1)) }, "more than 1048576 bytes"},
		"no PEM":                {func(o *Options) { put(o.CertFile, []byte("hello\n")) }, "holds no PEM block"},
		"torn certificate":      {func(o *Options) { put(o.CertFile, p.CertificatePEM[:300]) }, "cut off or damaged: 0 of its 1"},
		"torn bundle":           {func(o *Options) { b := caPEM(t, ca, other); put(o.CAFile, b[:len(b)-100]) }, "cut off or damaged: 1 of its 2"},
		"damaged bundle":        {func(o *Options) { put(o.CAFile, append([]byte("-----BEGIN CERTIFICATE-----\n*\n"), caPEM(t, ca)...)) }, "damaged"},
		"torn key":              {func(o *Options) { put(o.KeyFile, p.KeyPEM[:100]) }, "cut off or damaged"},
		"key of another":        {func(o *Options) { put(o.KeyFile, q.KeyPEM) }, "want the two that were issued together"},
		"two keys":              {func(o *Options) { put(o.KeyFile, append(p.KeyPEM, q.KeyPEM...)) }, "more than one private key"},
		"certificate for a key": {func(o *Options) { put(o.KeyFile, p.CertificatePEM) }, "holds no private key"},
		"encrypted key": {func(o *Options) {
			put(o.KeyFile, bytes.ReplaceAll(p.KeyPEM, []byte("PRIVATE"), []byte("ENCRYPTED PRIVATE")))
		}, "encrypted key"},
		"key of another sort":    {func(o *Options) { put(o.KeyFile, bytes.ReplaceAll(p.KeyPEM, []byte("PRIVATE"), []byte("RSA PRIVATE"))) }, "no private key that can be read"},
		"key among the CAs":      {func(o *Options) { put(o.CAFile, append(caPEM(t, ca), p.KeyPEM...)) }, "holds a private key: want certificates only"},
		"key by the certificate": {func(o *Options) { put(o.CertFile, append(p.KeyPEM, p.CertificatePEM...)) }, "holds a private key"},
		"leaf for a CA":          {func(o *Options) { put(o.CAFile, append(caPEM(t, ca), p.CertificatePEM...)) }, `certificate 2, "CN=c1", is no CA's`},
		"too many CAs":           {func(o *Options) { put(o.CAFile, bytes.Repeat(caPEM(t, ca), maxCertificates+1)) }, "more than 128 certificates"},
		"not a certificate": {func(o *Options) {
			put(o.CAFile, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
		}, "certificate 1: x509"},
		"a request": {func(o *Options) {
			put(o.CAFile, bytes.ReplaceAll(p.CertificatePEM, []byte("CERTIFICATE"), []byte("CERTIFICATE REQUEST")))
		}, "want CERTIFICATE"},
		"foreign CA":            {func(o *Options) { put(o.CAFile, caPEM(t, other)) }, "vouches for"},
		"CA as own certificate": {func(o *Options) { cert, key, _ := ca.PEM(); put(o.CertFile, cert); put(o.KeyFile, key) }, "is a CA's"},
		"someone else":          {func(o *Options) { o.Expect = identity.Exactly(identity.Controller, "", "c9") }, "it is controller c1: want controller c9"},
		"another role":          {func(o *Options) { o.Expect = identity.OneOf(identity.Agent) }, "want the role agent"},
	} {
		t.Run(name, func(t *testing.T) {
			o := place(t, p, caPEM(t, ca))
			c.spoil(&o)
			_, err := Open(o)
			if err == nil || !strings.Contains(err.Error(), c.say) {
				t.Fatalf("%v: want %q", err, c.say)
			}
			for _, line := range bytes.Split(p.KeyPEM, []byte("\n"))[1:3] {
				if strings.Contains(err.Error(), string(line)) {
					t.Errorf("the error shows the key: %v", err)
				}
			}
		})
	}
}

func TestOpenSaysAllAtOnce(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "fairlead", now)
	o := place(t, issue(t, ca, "controller/c1", day, now), []byte("x"))
	os.Chmod(o.KeyFile, 0o644)
	os.Remove(o.CertFile)
	_, err := Open(o)
	for _, say := range []string{"chmod 600", "no such file"} {
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%v: does not say %q", err, say)
		}
	}
}

// Certificate and key may share a file, with text between the blocks.
func TestOpenTakesOneFile(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "fairlead", now)
	p := issue(t, ca, "agent/eu/a1", 90*day, now)
	o := place(t, p, append([]byte("# the CA of 2026\n"), caPEM(t, ca)...))
	write(t, o.CertFile, append(append(p.KeyPEM, "the certificate:\n"...), p.CertificatePEM...), 0o600)
	o.KeyFile = o.CertFile
	f := open(t, o)
	if got := f.Identity(); got.Name != "a1" || !f.Certificate().Equal(p.Certificate) {
		t.Errorf("%v", got)
	}
}

// A nameserver whose certificate has expired must start and answer.
func TestOpenTakesWhatIsOutsideItsTime(t *testing.T) {
	for name, c := range map[string]struct {
		shift time.Duration
		say   string
	}{
		"expired":    {91 * day, "has expired: control connections fail"},
		"early":      {-2 * day, "not valid yet: is a clock wrong"},
		"CA expired": {400 * day, "has expired: control connections fail"},
	} {
		t.Run(name, func(t *testing.T) {
			k, j := newClock(), &journal{}
			ca := newCA(t, "fairlead", k.now())
			o := k.options(place(t, issue(t, ca, "nameserver/eu/ns1", 90*day, k.now()), caPEM(t, ca)))
			o.Log = j.log()
			k.advance(c.shift)
			f := open(t, o)
			if f.Identity().Name != "ns1" || j.count("outside its time") != 1 || j.count(c.say) == 0 {
				t.Errorf("%s", j)
			}
			// Looking again changes nothing, and is nothing to tell.
			before := j.String()
			if err := f.Reload(); err != nil || j.String() != before {
				t.Errorf("%v, %s", err, j)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "fairlead", now)
	reg := prometheus.NewPedanticRegistry()
	p := issue(t, ca, "controller/c1", 90*day, now)
	for _, use := range []string{"", "etcd"} { // two sets in one process
		o := place(t, p, caPEM(t, ca))
		o.Use, o.Registerer = use, reg
		open(t, o)
	}
	for _, use := range []string{"use=fairlead", "use=etcd"} {
		const name = "fairlead_tls_certificate_expiry_timestamp_seconds"
		if got, want := value(t, reg, name, use, "file=certificate"), float64(p.Certificate.NotAfter.Unix()); got != want {
			t.Errorf("%s: certificate %v, want %v", use, got, want)
		}
		if got, want := value(t, reg, name, use, "file=ca"), float64(ca.Certificate().NotAfter.Unix()); got != want {
			t.Errorf("%s: ca %v, want %v", use, got, want)
		}
		if got := value(t, reg, "fairlead_tls_files_refused", use); got != 0 {
			t.Errorf("%s: %v", use, got)
		}
	}
	o := place(t, p, caPEM(t, ca))
	o.Registerer = reg
	if _, err := Open(o); err == nil {
		t.Error("the same set twice")
	}
}
