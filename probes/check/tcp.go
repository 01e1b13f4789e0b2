package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// tcpCheck passes when a connection is established in time and, where stated,
// what is expected comes back.
type tcpCheck struct {
	dialer
	tls   *trust // nil: without TLS
	send  []byte
	wants pattern
}

func newTCP(spec *pb.HealthCheckSpec, probe *pb.TcpProbe, o Options) (Check, error) {
	c := &tcpCheck{send: []byte(probe.GetSend())}
	var err error
	if c.dialer, err = newDialer(spec, probe.GetPort(), 0, o); err != nil {
		return nil, err
	}
	if len(c.send) > maxRequestBody {
		return nil, fmt.Errorf("%d bytes to send: want at most %d", len(c.send), maxRequestBody)
	}
	if c.wants, err = newPattern("expect", probe.GetExpect(), "expectMatches", probe.GetExpectMatches()); err != nil {
		return nil, err
	}
	if probe.GetTls() != nil {
		if c.tls, err = newTrust(probe.GetTls()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Probe implements Check.
func (c *tcpCheck) Probe(ctx context.Context, target string) Outcome {
	a, cancel := c.begin(ctx)
	defer cancel()
	addr, ok := a.locate(target)
	if !ok {
		return a.out
	}
	if c.tls == nil && len(c.send) == 0 && c.wants.empty() {
		if conn := a.dial("tcp", addr, c.port); conn != nil {
			conn.Close()
			a.end(Passed, "connected")
		}
		return a.out
	}
	held := a.connect("tcp", addr, c.port)
	if held == nil {
		return a.out
	}
	defer held.Close()
	conn := net.Conn(held)
	if c.tls != nil {
		secured := a.secure(held, c.tls, nameFor("", target, addr))
		if secured == nil {
			return a.out
		}
		conn = secured
	}
	if len(c.send) > 0 {
		if _, err := conn.Write(c.send); err != nil {
			return a.fail(err, "sending", "connection failed")
		}
	}
	if c.wants.empty() {
		return a.end(Passed, "connected")
	}
	return c.converse(a, conn)
}

// converse reads what comes back until it is what was expected.
func (c *tcpCheck) converse(a *attempt, conn net.Conn) Outcome {
	s := scratches.Get().(*scratch)
	defer s.release()
	start, text := time.Now(), s.room(maxText)[:0]
	for look := (search{pattern: &c.wants}); ; {
		n, err := conn.Read(text[len(text):maxText])
		if len(text) == 0 {
			a.out.Phases.FirstByte = time.Since(start)
		}
		text = text[:len(text)+n]
		ended := err != nil || len(text) == maxText
		found := look.found(text, ended)
		if ended || found {
			a.out.Phases.Body = time.Since(start) - a.out.Phases.FirstByte
		}
		switch {
		case found:
			return a.end(Passed, "answered as expected")
		case errors.Is(err, io.EOF) && len(text) > 0 || ended && err == nil:
			return a.end(Failed, "the answer is not as expected")
		case err != nil:
			return a.fail(err, "waiting for the expected answer", "connection failed")
		}
	}
}
