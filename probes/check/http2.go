package check

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// over2 makes clients for connections that were made before. It keeps none, has
// no limit in common between checks, and bounds what one target can make it hold.
var over2 = func() *http.Transport {
	carried := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return ctx.Value(carriedConn{}).(net.Conn), nil
	}
	t := &http.Transport{
		DialContext: carried, DialTLSContext: carried, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: maxText, MaxReceiveBufferPerConnection: 2 * maxText, MaxReadFrameSize: 16 << 10,
			MaxDecoderHeaderTableSize: 4 << 10, MaxEncoderHeaderTableSize: 4 << 10,
		},
		Protocols: &http.Protocols{},
	}
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}()

// carriedConn is the key of a context's connection.
type carriedConn struct{}

// hop2 speaks HTTP/2 on a connection: after ALPN over TLS, else by prior
// knowledge (RFC 9113 section 3.3).
func (c *httpCheck) hop2(a *attempt, r *request, conn net.Conn) (redirect, bool) {
	sent := time.Now()
	req := c.request23(a.ctx, r)
	client, err := over2.NewClientConn(context.WithValue(a.ctx, carriedConn{}, conn), req.URL.Scheme, conn.RemoteAddr().String())
	if err != nil {
		return c.noResponse(a, err)
	}
	defer client.Close()
	resp, err := client.RoundTrip(req)
	if err != nil {
		return c.noResponse(a, err)
	}
	defer resp.Body.Close()
	a.out.Phases.FirstByte += time.Since(sent)
	s := scratches.Get().(*scratch)
	defer s.release()
	return c.judge(a, resp, s)
}

// request23 is a request as HTTP/2 and HTTP/3 send it.
func (c *httpCheck) request23(ctx context.Context, r *request) *http.Request {
	req := &http.Request{Method: r.method, URL: r.url(), Host: r.authority, Header: http.Header{"User-Agent": {c.agent}}}
	if !r.foreign {
		for name, values := range c.header {
			req.Header[name] = values
		}
	}
	if r.body != "" {
		req.Body, req.ContentLength = http.NoBody, int64(len(r.body))
		req.Body = readCloser{strings.NewReader(r.body)}
	}
	return req.WithContext(ctx)
}

// readCloser is a body that needs no closing.
type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
