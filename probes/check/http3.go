package check

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// The bounds of a QUIC connection: what a target can make it hold. An HTTP/3
// server opens three streams at most, and none again (RFC 9114 section 6.2).
const (
	quicWindow  = 2 * maxText
	quicStreams = 8
)

// hop3 speaks HTTP/3 (RFC 9114).
func (c *httpCheck) hop3(a *attempt, r *request) (redirect, bool) {
	socket := a.connect("udp", r.addr, r.port)
	if socket == nil {
		return redirect{}, false
	}
	defer socket.Close()
	start := time.Now()
	transport := &quic.Transport{Conn: packets{socket}}
	defer transport.Close()
	config := r.tls.config(r.name, http3.NextProtoH3)
	config.MinVersion = tls.VersionTLS13 // RFC 9001 section 4.2
	conn, err := transport.Dial(a.ctx, socket.RemoteAddr(), config, &quic.Config{
		HandshakeIdleTimeout: 2 * a.timeout, MaxIdleTimeout: 2 * a.timeout, // the context ends before
		InitialStreamReceiveWindow: maxText, MaxStreamReceiveWindow: quicWindow,
		InitialConnectionReceiveWindow: quicWindow, MaxConnectionReceiveWindow: quicWindow,
		MaxIncomingStreams: -1, MaxIncomingUniStreams: quicStreams, RequireStreamCreditRelease: true,
	})
	a.out.Phases.TLS += time.Since(start)
	if err != nil {
		a.fail(quicCause(a, socket, err), "in the QUIC handshake", "QUIC handshake failed")
		return redirect{}, false
	}
	defer func() { _ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") }()
	sent := time.Now()
	client := (&http3.Transport{DisableCompression: true, MaxResponseHeaderBytes: maxHeader}).NewClientConn(conn)
	resp, err := client.RoundTrip(c.request23(a.ctx, r))
	if err != nil {
		return c.noResponse(a, quicCause(a, socket, err))
	}
	defer resp.Body.Close()
	a.out.Phases.FirstByte += time.Since(sent)
	s := scratches.Get().(*scratch)
	defer s.release()
	return c.judge(a, resp, s)
}

// quicCause finds what lies behind an error: the socket's own, or an alert of TLS
// that came as a code (RFC 9001 section 4.8).
func quicCause(a *attempt, socket *conn, err error) error {
	var transport *quic.TransportError
	switch cause := socket.cause(); {
	case errors.As(err, &transport) && transport.Remote && transport.ErrorCode.IsCryptoError():
		return tls.AlertError(transport.ErrorCode - 0x100)
	case cause != nil && a.ctx.Err() == nil && !errors.Is(cause, os.ErrDeadlineExceeded):
		return cause
	}
	return err
}

// packets makes a connected UDP socket what QUIC wants. Connected, the kernel
// takes packets from the target only and says when its port is closed; and there
// is no way to another address that a server might prefer (RFC 9000 section 9.6).
type packets struct{ *conn }

func (p packets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.Read(b)
	return n, p.RemoteAddr(), err
}

func (p packets) WriteTo(b []byte, _ net.Addr) (int, error) { return p.Write(b) }

// The socket buffers are left as they are: a check receives little.
func (packets) SetReadBuffer(int) error  { return nil }
func (packets) SetWriteBuffer(int) error { return nil }
