// Package tokenfile is the tokens of people in a file: whom each names, what it
// lets him do, until when, and the SHA-256 by which it is known. It may import
// cmd/internal/tlsfiles, regions/identity, the YAML and metrics libraries and
// grpc's peer; its data come from the file, which is read again when it changes,
// and from the calls that it is asked about.
//
// A token is for people only, and travels over TLS only. Whoever shows both a
// certificate and a token is refused: who of the two it would be, were a guess,
// and a program that holds a token would be two. New contents that are bad in
// any way are refused as a whole, and those in use stay. A token that is taken back
// or expires opens nothing more; a stream that it has opened ends with its
// connection, after half an hour at the most.
package tokenfile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// holds is what the file holds, for errors.
const holds = "tokens"

// Options say which file, and what to do with it.
type Options struct {
	// Path is the file; only its owner may be able to get at it.
	Path string
	// TrustDomain is that of the installation, which every identity has.
	TrustDomain string
	// Poll is how often the file is looked at; default 5 s.
	Poll       time.Duration
	Now        func() time.Time // nil: time.Now
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

func (o *Options) validate() error {
	var errs []error
	if o.Path == "" {
		errs = append(errs, errors.New("no file of tokens"))
	}
	if err := identity.CheckTrustDomain(o.TrustDomain); err != nil {
		errs = append(errs, err)
	}
	if o.Log == nil {
		errs = append(errs, errors.New("no logger"))
	}
	if o.Poll < 0 {
		errs = append(errs, fmt.Errorf("the file is looked at every %v: want more than 0s", o.Poll))
	}
	if o.Poll == 0 {
		o.Poll = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return errors.Join(errs...)
}

// Tokens are the tokens in use. Safe for concurrent use.
type Tokens struct {
	o       Options
	metrics *metrics
	// current is what calls are held against.
	current atomic.Pointer[table]
	// noisy limits the log of refused attempts.
	noisy *rate.Limiter

	mu      sync.Mutex  // holds loads apart; below, what they know
	seen    os.FileInfo // at the last attempt; nil: it could not be read
	refused string      // why that was refused, or empty
	told    map[identity.Digest]told
}

// told is what the log was last told about a token.
type told struct {
	state identity.State
	at    time.Time
}

// Open reads the file.
func Open(o Options) (*Tokens, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	data, info, err := tlsfiles.ReadSecret(o.Path, holds)
	if err != nil {
		return nil, err
	}
	t, err := o.load(data)
	if err != nil {
		return nil, err
	}
	f := &Tokens{o: o, seen: info, noisy: rate.NewLimiter(rate.Every(10*time.Second), 5), told: map[identity.Digest]told{}}
	if f.metrics, err = newMetrics(o.Registerer, f); err != nil {
		return nil, err
	}
	f.current.Store(t)
	f.remind(o.Now())
	return f, nil
}

// InUse are the tokens that count, as certificates are shown. One that has
// expired stands in nobody's way.
func (f *Tokens) InUse(now time.Time) []tlsfiles.InUse {
	var out []tlsfiles.InUse
	for _, e := range f.current.Load().order {
		state, _ := e.standing(now)
		if state == identity.Expired {
			continue
		}
		out = append(out, tlsfiles.InUse{Use: "tokens", What: "token", Subject: e.id.String(), Until: e.until, State: state})
	}
	return out
}

// Reload reads the file now. Nil means that what it holds is in use; an error
// says why it is not, and what was in use before stays.
func (f *Tokens) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, info, err := tlsfiles.ReadSecret(f.o.Path, holds)
	f.seen = info
	var t *table
	if err == nil {
		if f.current.Load().same(data) {
			f.accept()
			return nil
		}
		t, err = f.o.load(data)
	}
	if err != nil {
		f.refuse(err)
		return fmt.Errorf("the new file of tokens is refused, the old tokens stay in use: %w", err)
	}
	f.current.Store(t)
	f.accept()
	f.metrics.reloads.WithLabelValues("ok").Inc()
	clear(f.told)
	f.o.Log.Info("new tokens in use", "file", f.o.Path, "tokens", len(t.order))
	return nil
}

func (f *Tokens) refuse(err error) {
	f.metrics.refused.Set(1)
	if err.Error() == f.refused {
		return
	}
	f.refused = err.Error()
	f.metrics.reloads.WithLabelValues("refused").Inc()
	f.o.Log.Error("the new file of tokens is refused; the old tokens stay in use", "file", f.o.Path, "err", strings.ReplaceAll(f.refused, "\n", "; "))
}

func (f *Tokens) accept() {
	f.refused = ""
	f.metrics.refused.Set(0)
}

// Run looks at the file until ctx ends, and warns of what will expire: when it
// begins to matter, and daily from then on.
func (f *Tokens) Run(ctx context.Context) error {
	t := time.NewTicker(f.o.Poll)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if !f.unchanged() {
			_ = f.Reload() // it has told the log
		}
		f.remind(f.o.Now())
	}
}

// unchanged tells whether the file is as it was when it was taken. One that was
// written just now may be written again within the granularity of its time.
func (f *Tokens) unchanged() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.o.Path)
	return err == nil && f.refused == "" && f.seen != nil && os.SameFile(info, f.seen) && info.Size() == f.seen.Size() &&
		info.ModTime().Equal(f.seen.ModTime()) && info.Mode() == f.seen.Mode() && time.Since(info.ModTime()) >= 2*time.Second
}

const remindAfter = 24 * time.Hour

// remind warns of tokens that expire.
func (f *Tokens) remind(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.current.Load().order {
		state, remaining := e.standing(now)
		last := f.told[e.digest]
		// A clock that went back makes no reminder overdue for years.
		if since := now.Sub(last.at); state == last.state && since >= 0 && since < remindAfter {
			continue
		}
		f.told[e.digest] = told{state, now}
		attrs := []any{"file", f.o.Path, "token", e.id.String(), "until", e.until.UTC()}
		switch state {
		case identity.Warn:
			f.o.Log.Warn("token expires soon: make a new one", append(attrs, "remaining", remaining.Round(time.Second).String())...)
		case identity.Expired:
			f.o.Log.Warn("token has expired: take it out of the file", attrs...)
		case identity.Early:
			f.o.Log.Error("token is not valid yet: is a clock wrong?", attrs...)
		}
	}
}
