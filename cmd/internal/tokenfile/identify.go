package tokenfile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Why an attempt was refused, in the label of the metric.
const (
	unknown   = "unknown"
	expired   = "expired"
	malformed = "malformed"
	plaintext = "plaintext"
	ambiguous = "ambiguous"
)

// Identify makes one who says who calls of one who knows certificates: by the
// token where the call has one, by the certificate otherwise.
func (f *Tokens) Identify(byCertificate func(context.Context) (identity.Identity, error)) func(context.Context) (identity.Identity, error) {
	return func(ctx context.Context) (identity.Identity, error) {
		tokens := bearers(ctx)
		certificate := shownCertificate(ctx)
		switch {
		case len(tokens) == 0 && certificate:
			return byCertificate(ctx)
		case len(tokens) == 0:
			return identity.Identity{}, errors.New("the caller has shown neither a certificate nor a token: want a certificate of this installation, as `fairlead pki issue` makes, or a token, as `fairlead pki token` makes")
		}
		id, why, err := f.lookUp(ctx, tokens, certificate)
		if err != nil {
			f.attempt(ctx, why, err)
			return identity.Identity{}, err
		}
		return id, nil
	}
}

// skew is how long before it was made a token is taken: the clock of whoever made it
// may be ahead of this one. Certificates are dated back for that.
const skew = 5 * time.Minute

// lookUp is whose token it is. No error shows any of it.
func (f *Tokens) lookUp(ctx context.Context, tokens []string, certificate bool) (id identity.Identity, why string, err error) {
	switch {
	case !overTLS(ctx):
		return id, plaintext, errors.New("the token came without TLS, where others can read it: take it back and make a new one; tokens are taken over TLS only")
	case certificate:
		return id, ambiguous, errors.New("the call has a certificate and a token, and says twice who calls: want one of them")
	case len(tokens) > 1:
		return id, ambiguous, errors.New("the call has more than one token: want one")
	}
	digest, err := identity.TokenDigest(tokens[0])
	if err != nil {
		return id, malformed, fmt.Errorf("the token is none: %w", err)
	}
	// Looked up by its SHA-256: how long that takes tells nothing of a token.
	t, ok := f.current.Load().byDigest[digest]
	if !ok {
		return id, unknown, errors.New("no such token is known here: it was taken back, or is of another installation")
	}
	now := f.o.Now()
	switch state, _ := t.standing(now); {
	case state == identity.Expired:
		return id, expired, fmt.Errorf("the token of %s expired at %s: ask for a new one, as `fairlead pki token` makes", t.id, t.until.UTC().Format(time.RFC3339))
	case state == identity.Early && t.from.Sub(now) > skew:
		return id, expired, fmt.Errorf("the token of %s is valid from %s only: is a clock wrong?", t.id, t.from.UTC().Format(time.RFC3339))
	}
	return t.id, "", nil
}

// attempt counts a refusal, and tells the log of some.
func (f *Tokens) attempt(ctx context.Context, why string, err error) {
	f.metrics.attempts.WithLabelValues(why).Inc()
	if !f.noisy.Allow() {
		return
	}
	from := ""
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		from = p.Addr.String()
	}
	f.o.Log.Warn("token refused", "peer", from, "err", err)
}

// bearers are the tokens of a call (RFC 6750 section 2.1). Other schemes are
// somebody else's.
func bearers(ctx context.Context) (tokens []string) {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, v := range md.Get("authorization") {
		scheme, token, _ := strings.Cut(v, " ")
		if strings.EqualFold(scheme, "bearer") {
			tokens = append(tokens, strings.TrimSpace(token))
		}
	}
	return tokens
}

// tlsOf is the TLS connection that a call came over.
func tlsOf(ctx context.Context) (credentials.TLSInfo, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return credentials.TLSInfo{}, false
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	return info, ok && info.State.HandshakeComplete
}

func overTLS(ctx context.Context) bool { _, ok := tlsOf(ctx); return ok }

func shownCertificate(ctx context.Context) bool {
	info, ok := tlsOf(ctx)
	return ok && len(info.State.PeerCertificates) > 0
}
