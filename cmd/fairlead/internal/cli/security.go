package cli

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// security is how connections are secured. The zero value is plain text to
// this machine.
type security struct {
	files *tlsfiles.Files // nil: plain text
	// token goes to the controllers in place of a certificate; nil: there is none.
	token *bearer
	// cert and ca are the paths of files, to be named in errors.
	cert, ca string
	// anywhere lets plain text leave this machine.
	anywhere bool
	now      func() time.Time
}

// secure makes the security that the settings ask for, once, and warns of a
// certificate that ends soon.
func (a *app) secure(s *settings) (security, error) {
	if a.security != nil {
		return *a.security, nil
	}
	out := security{cert: s.cert, ca: s.ca, anywhere: s.insecure, now: a.Now}
	given := s.cert != "" || s.key != "" || s.ca != ""
	if s.token != "" {
		var err error
		if out.token, err = readBearer(s, a.Now); err != nil {
			return out, err
		}
		given = s.cert != "" || s.key != ""
	}
	if given && !s.insecure {
		var missing []string
		for _, f := range []struct{ flag, path string }{{"--tls-cert", s.cert}, {"--tls-key", s.key}, {"--tls-ca", s.ca}} {
			if f.path == "" {
				missing = append(missing, f.flag)
			}
		}
		if len(missing) > 0 {
			return out, usagef("missing %s: TLS needs --tls-cert, --tls-key and --tls-ca, all three", strings.Join(missing, " and "))
		}
		var err error
		if out.files, err = openTLS(s.cert, s.key, s.ca, a.Now); err != nil {
			return out, fmt.Errorf("%s: %w", s.origin, err)
		}
		a.warnOfExpiry(s.cert, out.files.Certificate())
	}
	a.security = &out
	return out, nil
}

func openTLS(cert, key, ca string, now func() time.Time) (*tlsfiles.Files, error) {
	return tlsfiles.Open(tlsfiles.Options{CertFile: cert, KeyFile: key, CAFile: ca, Use: "cli", Now: now, Log: slog.New(slog.DiscardHandler)})
}

// warnOfExpiry says that a certificate has to be renewed, if so.
func (a *app) warnOfExpiry(path string, cert *x509.Certificate) {
	if text := expiry(cert, a.Now()); text != "" {
		fmt.Fprintf(a.Err, "warning: the certificate %s %s\n", clean(path), text)
	}
}

// expiry is what there is to say about the time of a certificate; empty:
// nothing.
func expiry(cert *x509.Certificate, now time.Time) string {
	switch state, left := identity.Expiry(cert, now); state {
	case identity.Warn:
		return "expires in " + human(left) + ": renew it, as with `fairlead pki renew`"
	case identity.Expired:
		return "expired " + human(-left) + " ago: renew it, as with `fairlead pki renew`"
	case identity.Early:
		return "is not valid yet: is a clock wrong?"
	}
	return ""
}

// roles are who answers at the addresses that a flag names.
var roles = map[string]identity.Role{flagController: identity.Controller, flagNameserver: identity.Nameserver, flagNameservers: identity.Nameserver}

// dial prepares a connection to a server that a flag names, which by its certificate
// is who is expected; nil: one of the flag's role.
func (s security) dial(flag, addr string, expect func(identity.Identity) error) (*grpc.ClientConn, error) {
	if expect == nil {
		expect = identity.OneOf(roles[flag])
	}
	switch {
	case s.token != nil && flag == flagController:
		creds, err := s.token.credentials(expect)
		if err != nil {
			return nil, err
		}
		return ops.Dial(addr, creds, grpc.WithPerRPCCredentials(s.token.token))
	case s.files != nil:
		return ops.Dial(addr, s.files.Client(expect))
	}
	return ops.Dial(addr, nil)
}

// secureNameservers is secure for nameservers, which know no tokens.
func (a *app) secureNameservers(s *settings) (security, error) {
	sec, err := a.secure(s)
	if err == nil && sec.token != nil && sec.files == nil {
		err = usagef("nameservers know no tokens: your certificate says who you are there; give --tls-cert, --tls-key and --tls-ca, or a context that has them")
	}
	return sec, err
}

// allow checks an address that a flag names.
func (s security) allow(flag, addr string) error {
	if s.files == nil && s.token == nil && !s.anywhere {
		err := ops.RequireLoopback(flag, addr)
		if _, _, bad := net.SplitHostPort(addr); err != nil && bad == nil {
			err = fmt.Errorf("%w: give --tls-cert, --tls-key and --tls-ca, or a context that has them (--insecure-plaintext does without, and whoever is on the way may read and change everything)", err)
		}
		return err
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("%s %q: want HOST:PORT", flag, addr)
	}
	return nil
}

// handshakes say what to do about failures on our side that hold a text.
var handshakes = []struct{ text, advice string }{
	{"signed by unknown authority", "want one issued by a CA in CA: is that the bundle of this installation?"},
	{" expired at ", "it has to be renewed there, as with `fairlead pki renew`"},
	{"is not who was expected", "does FLAG name the right port?"},
	{"of trust domain", "CERT is of another installation"},
}

// refusals say what a server means by its alert on our certificate (RFC 8446
// section 6.2).
var refusals = []struct{ alert, why string }{
	{"expired certificate", "it refuses our certificate CERT as expired: renew it, as with `fairlead pki renew`"},
	{"unknown certificate authority", "it refuses our certificate CERT, which none of its CAs has issued: is it of this installation?"},
	{"bad certificate", "it refuses our certificate CERT: want an identity of its trust domain (`fairlead pki show CERT`)"},
	{"certificate required", "it wants a certificate: give --tls-cert, --tls-key and --tls-ca"},
}

// handshake says what is wrong with securing a connection to an address that
// a flag names, or is empty. The message is about a connection that was made
// and then failed before it was of use.
func (s security) handshake(flag, message string) string {
	fill := strings.NewReplacer("CERT", s.cert, "CA in CA", "CA in "+s.ca, "FLAG", flag).Replace
	if failed, ok := strings.CutPrefix(message, "transport: authentication handshake failed: "); ok {
		if strings.Contains(failed, "does not look like a TLS handshake") {
			return "it speaks no TLS; --insecure-plaintext does without, as `fairlead dev` needs it"
		}
		for _, noise := range []string{"tls: failed to verify certificate: ", "x509: ", "tls: "} {
			failed = strings.ReplaceAll(failed, noise, "")
		}
		failed, _, _ = strings.Cut(failed, " (possibly because of ")
		for _, h := range handshakes {
			if strings.Contains(failed, h.text) {
				return failed + "; " + fill(h.advice)
			}
		}
		return failed
	}
	if _, alert, ok := strings.Cut(message, "remote error: tls: "); ok {
		for _, r := range refusals {
			if s.token != nil && flag == flagController {
				return "it takes no tokens: give --tls-cert, --tls-key and --tls-ca"
			}
			if alert == r.alert {
				return fill(r.why)
			}
		}
		return "it ends the TLS handshake: " + alert
	}
	switch {
	case strings.Contains(message, "HTTP/1.1"):
		return "it speaks HTTP, not gRPC"
	case s.token != nil && flag == flagController:
		return "it ends the connection after the handshake: it may take no tokens; --tls-cert and --tls-key are in place of one"
	case s.files == nil && !strings.Contains(message, "server preface"):
		return ""
	case s.files == nil:
		return "it does not speak gRPC without TLS: give --tls-cert, --tls-key and --tls-ca, or a context that has them"
	}
	// The alert was lost, or there was none.
	if state, _ := identity.Expiry(s.files.Certificate(), s.now()); state == identity.Expired || state == identity.Early {
		return fill("it ends the connection after the handshake: our certificate CERT is " + map[identity.State]string{identity.Expired: "expired", identity.Early: "not valid yet"}[state])
	}
	return fill("it ends the connection after the handshake: it may not take our certificate CERT")
}
