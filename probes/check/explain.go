package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// What the target did, in words, and what only the agent's host did.
var (
	evidence = []struct {
		err  error
		text string
	}{
		{syscall.ECONNREFUSED, "connection refused"},
		{syscall.ECONNRESET, "connection reset"},
		{syscall.ECONNABORTED, "connection aborted"},
		{syscall.EPIPE, "connection reset"},
		{syscall.EHOSTUNREACH, "no route to host"},
		{syscall.ENETUNREACH, "network unreachable"},
		{syscall.ETIMEDOUT, "connection timed out"},
		{errTooMuch, "the target sends more than a check reads"},
		{io.ErrUnexpectedEOF, "connection closed without a response"},
		{io.EOF, "connection closed without a response"},
	}
	ownFaults = []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM, syscall.EAFNOSUPPORT,
	}
)

// explain puts an error into stable words: no address, no port, no timing but
// the specification's own, and no text of the target's.
func (d *dialer) explain(ctx context.Context, err error, doing, otherwise string) (Result, string) {
	for _, own := range ownFaults {
		if errors.Is(err, own) {
			return Abstained, "this agent cannot check: " + own.Error()
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return Abstained, "check cancelled"
	}
	// What the certificate or the handshake says stands, also when time has run
	// out meanwhile.
	if text := explainTLS(err); text != "" {
		return Failed, text
	}
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return Failed, "timeout after " + d.timeout.String() + " " + doing
	}
	for _, e := range evidence {
		if errors.Is(err, e.err) {
			return Failed, e.text
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return Failed, errno.Error()
	}
	return Failed, otherwise
}

// explainTLS puts an error of a TLS handshake into words; "": it is none.
func explainTLS(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var short shortValidity
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var op *net.OpError
	switch {
	case errors.As(err, &short):
		return short.Error()
	case errors.As(err, &unknown):
		return "certificate signed by an unknown authority"
	case errors.As(err, &name):
		return "certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if c := invalid.Cert; c != nil && time.Now().Before(c.NotBefore) {
			return "certificate is not valid yet"
		}
		return "certificate has expired"
	case errors.As(err, &verification):
		return "certificate is not valid"
	case errors.As(err, &record):
		return "the target does not speak TLS"
	case errors.As(err, &alert): // QUIC's, from either side
		return "TLS handshake failed: " + strings.TrimPrefix(alert.Error(), "tls: ")
	case errors.As(err, &op) && op.Op == "remote error": // the same over TCP
		return "TLS refused by the target: " + strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}
