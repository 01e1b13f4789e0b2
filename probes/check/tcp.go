package check

import (
	"context"
	"net"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// tcpCheck passes when a connection is established in time.
type tcpCheck struct {
	dialer dialer
	port   uint16
}

func newTCP(spec *pb.TcpProbe, o Options) (Check, error) {
	if err := checkPort(spec.GetPort()); err != nil {
		return nil, err
	}
	return &tcpCheck{dialer: dialer{o.Guard, net.DefaultResolver}, port: uint16(spec.GetPort())}, nil
}

func (c *tcpCheck) Probe(ctx context.Context, target string) Outcome {
	conn, _, out := c.dialer.connect(ctx, target, c.port)
	if conn == nil {
		if out.Reason == "" {
			out.Reason = "connection failed"
		}
		return out
	}
	conn.Close()
	out.Result, out.Reason = Passed, "connected"
	return out
}
