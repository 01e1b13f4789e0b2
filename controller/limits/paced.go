package limits

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// paced is a stream whose messages come no faster than a bucket fills. A
// message is handed on at once; what it costs delays the next one, which
// meanwhile waits in the stream's flow control and takes no memory of ours.
type paced struct {
	grpc.ServerStream
	bucket  *rate.Limiter
	limited prometheus.Counter
	next    time.Time // when the next message may come; of the receiver alone
}

// RecvMsg implements grpc.ServerStream.
func (p *paced) RecvMsg(m any) error {
	if wait := time.Until(p.next); wait > 0 {
		p.limited.Inc()
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-p.Context().Done():
			return status.FromContextError(p.Context().Err()).Err()
		}
	}
	if err := p.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	now := time.Now()
	p.next = now.Add(p.bucket.ReserveN(now, p.cost(m)).DelayFrom(now))
	return nil
}

// cost is what a message takes from the bucket.
func (p *paced) cost(m any) int {
	n := 1
	if msg, ok := m.(proto.Message); ok {
		n += proto.Size(msg) / MessageUnit
	}
	return min(n, p.bucket.Burst()) // more could never be taken
}
