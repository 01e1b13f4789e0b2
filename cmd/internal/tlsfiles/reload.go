package tlsfiles

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// reload takes new files into use. Unforced, it does nothing while they are as
// they were when they were taken; refused ones are tried each time, since time
// and other files may make them good, and told of once.
func (f *Files) reload(force bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.o.Now()
	if !force && f.refused == "" && f.seen.equal(f.o.stat()) && f.seen.settled(time.Now()) {
		return nil
	}
	raw, err := f.o.read()
	f.seen = raw.stamps
	var m *material
	if err == nil {
		if old := f.current.Load(); raw.digest() == old.digest {
			f.accept()
			return nil
		}
		m, err = f.o.load(raw, now)
	}
	if err == nil {
		err = f.fits(m)
	}
	if err != nil {
		f.refuse(err)
		return fmt.Errorf("tls: new files refused, the old stay in use: %w", err)
	}
	f.use(m)
	f.accept()
	f.metrics.reloads.WithLabelValues("ok").Inc()
	clear(f.told)
	f.o.Log.Info("new TLS files in use", "use", f.o.Use, "file", f.o.CertFile, "identity", m.id.String(), "expires", m.leaf.NotAfter.UTC(), "ca", m.issuer.Subject.String())
	return nil
}

// fits checks what is asked of new files only: valid now, and the same holder.
func (f *Files) fits(m *material) error {
	old := f.current.Load()
	if m.untimely != nil {
		return fmt.Errorf("%s: %w", f.o.CertFile, m.untimely)
	}
	if !m.id.Equal(old.id) {
		return fmt.Errorf("%s: the certificate is of %s (%s) and this process is %s (%s): want one of the same identity, or a restart",
			f.o.CertFile, m.id, m.id.URI(), old.id, old.id.URI())
	}
	return nil
}

func (f *Files) refuse(err error) {
	f.metrics.refused.Set(1)
	if err.Error() == f.refused {
		return
	}
	f.refused = err.Error()
	f.metrics.reloads.WithLabelValues("refused").Inc()
	f.o.Log.Error("new TLS files refused; the old stay in use", "use", f.o.Use, "err", err)
}

// accept notes that what the files hold is in use.
func (f *Files) accept() {
	f.refused = ""
	f.metrics.refused.Set(0)
}

// told is what the log was last told about a certificate.
type told struct {
	state identity.State
	at    time.Time
}

const remindAfter = 24 * time.Hour

// remind warns of the own certificate and of the CA behind it.
func (f *Files) remind(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.current.Load()
	f.remindOf("certificate", f.o.CertFile, m.leaf, now)
	f.remindOf("ca", f.o.CAFile, m.issuer, now)
}

func (f *Files) remindOf(what, path string, cert *x509.Certificate, now time.Time) {
	state, remaining := identity.Expiry(cert, now)
	last := f.told[what]
	// A clock that went back makes no reminder overdue for years.
	if since := now.Sub(last.at); state == last.state && since >= 0 && since < remindAfter {
		return
	}
	f.told[what] = told{state, now}
	attrs := []any{"use", f.o.Use, "what", what, "file", path, "subject", cert.Subject.String(), "from", cert.NotBefore.UTC(), "until", cert.NotAfter.UTC()}
	switch state {
	case identity.Warn:
		f.o.Log.Warn("certificate expires soon: renew it", append(attrs, "remaining", remaining.Round(time.Second).String())...)
	case identity.Expired:
		f.o.Log.Error("certificate has expired: control connections fail until it is renewed", attrs...)
	case identity.Early:
		f.o.Log.Error("certificate is not valid yet: is a clock wrong?", attrs...)
	}
}

// errPlain is what Server and Client say under Options.Plain.
var errPlain = errors.New("these TLS files were opened without an identity: they serve ClientTLS only")
