// Package tlsfiles is mutual TLS 1.3 from files: a certificate, its key and a
// bundle of CAs, each read again when it changes. It may import grpc's
// credentials, regions/identity and the metrics library; its data come from
// the three files and from nowhere else.
//
// Who may connect is decided by two things: the peer's certificate is signed by
// a CA of the bundle, and the identity in it is one that the caller expects.
// Host names count for nothing between Fairlead's own programs, so that
// addresses can change without new certificates; ClientTLS checks them, for
// etcd and others.
//
// Every handshake uses the newest good files and the time of now. There is no
// session resumption: a peer whose certificate has expired, or whose CA left
// the bundle, gets no new connection. Connections that exist go on; servers
// bound their age (grpc's MaxConnectionAge).
//
// New files that are bad in any way are refused, with an error in the log and a
// metric, and those in use stay. An own certificate that has expired is no
// reason not to start: a nameserver must go on answering. Its handshakes fail by
// themselves, since the peers refuse it, and the log says why.
package tlsfiles

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Options say which files, and what to do with them.
type Options struct {
	// CertFile holds the certificate and, behind it, intermediate ones.
	// KeyFile may be the same file; only its owner may be able to read it.
	CertFile, KeyFile string
	// CAFile holds the CAs that peers may be certified by. Several make the
	// rotation of a CA possible: first both are in every bundle, then the
	// certificates change, then the old CA goes.
	CAFile string
	// Use labels metrics and log, when a program has several; default fairlead.
	Use string
	// Expect checks the program's own identity; nil: any.
	Expect func(identity.Identity) error
	// Plain: the own certificate needs no identity, as one that etcd's
	// operators issue. Only ClientTLS works then.
	Plain bool
	// Poll is how often the files are looked at; default 5 s.
	Poll time.Duration
	// Now is the clock for certificates; nil: time.Now.
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

func (o *Options) validate() error {
	var errs []error
	for _, f := range []struct{ what, path string }{{"certificate", o.CertFile}, {"key", o.KeyFile}, {"CA", o.CAFile}} {
		if f.path == "" {
			errs = append(errs, fmt.Errorf("no %s file: TLS needs certificate, key and CA, all three", f.what))
		}
	}
	if o.Poll < 0 {
		errs = append(errs, fmt.Errorf("files looked at every %v: want more than 0s", o.Poll))
	}
	if o.Log == nil {
		errs = append(errs, errors.New("no logger"))
	}
	if o.Use == "" {
		o.Use = "fairlead"
	}
	if o.Poll == 0 {
		o.Poll = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return errors.Join(errs...)
}

// Files is the TLS of a program. Safe for concurrent use.
type Files struct {
	o       Options
	metrics *metrics
	// current is what handshakes use.
	current atomic.Pointer[material]
	// noisy limits the log of refused handshakes.
	noisy *rate.Limiter

	mu      sync.Mutex // holds loads apart; below, what they know
	seen    stamps     // of the files at the last attempt
	refused string     // why that was refused, or empty
	told    map[string]told
}

// Open reads the files. It fails when they are no pair, when none of the CAs
// signed the certificate, when others can read the key; but not when the
// certificate has expired.
func Open(o Options) (*Files, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	f := &Files{o: o, noisy: rate.NewLimiter(rate.Every(10*time.Second), 5), told: map[string]told{}}
	raw, err := o.read()
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	m, err := o.load(raw, o.Now())
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	if f.metrics, err = newMetrics(o.Registerer, o.Use); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	f.seen = raw.stamps
	f.use(m)
	if m.untimely != nil {
		o.Log.Error("own certificate is outside its time; peers will refuse it until it is renewed", "use", o.Use, "file", o.CertFile, "err", m.untimely)
	}
	f.remind(o.Now())
	return f, nil
}

// use makes material the current one.
func (f *Files) use(m *material) {
	f.current.Store(m)
	f.metrics.show(m)
}

// Identity is the program's own; the zero value under Plain.
func (f *Files) Identity() identity.Identity { return f.current.Load().id }

// Certificate is the program's own.
func (f *Files) Certificate() *x509.Certificate { return f.current.Load().leaf }

// InUse is a certificate in use, and how it stands in time.
type InUse struct {
	Use, What string // what it is for, as Options say; certificate or ca
	Subject   string
	Until     time.Time
	State     identity.State
}

// InUse returns the program's own certificate and the CA that vouches for it.
func (f *Files) InUse(now time.Time) []InUse {
	m := f.current.Load()
	var out []InUse
	for _, c := range []struct {
		what string
		cert *x509.Certificate
	}{{"certificate", m.leaf}, {"ca", m.issuer}} {
		state, _ := identity.Expiry(c.cert, now)
		out = append(out, InUse{Use: f.o.Use, What: c.what, Subject: c.cert.Subject.String(), Until: c.cert.NotAfter, State: state})
	}
	return out
}

// Reload reads the files now. Nil means that what they hold is in use; an
// error says why it is not, and what was in use before stays.
func (f *Files) Reload() error { return f.reload(true) }

// Run looks at the files until ctx ends, and warns of what will expire: when it
// begins to matter, and daily from then on.
func (f *Files) Run(ctx context.Context) error {
	t := time.NewTicker(f.o.Poll)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		_ = f.reload(false) // it has told the log
		f.remind(f.o.Now())
	}
}
