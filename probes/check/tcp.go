package check

import (
	"context"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// tcpCheck passes when a connection is established in time.
type tcpCheck struct{ dialer }

func newTCP(spec *pb.HealthCheckSpec, probe *pb.TcpProbe, o Options) (Check, error) {
	d, err := newDialer(spec, probe.GetPort(), o)
	if err != nil {
		return nil, err
	}
	return &tcpCheck{d}, nil
}

// Probe implements Check.
func (c *tcpCheck) Probe(ctx context.Context, target string) Outcome {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, _, out := c.connect(ctx, target)
	if conn == nil {
		return out
	}
	conn.Close()
	out.Result, out.Reason = Passed, "connected"
	return out
}
