package feed

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// A nameserver that floods is cut off, the others are not; and what one sends
// who takes all at once what it may send is no flood.
func TestFlood(t *testing.T) {
	s := start(t, false)
	s.judges(1, 5)
	s.agent().says(true, up, 0, 5)
	other := s.subscribe(&pb.NameserverHello{Nameserver: "other"})
	flooder := s.subscribe(&pb.NameserverHello{Nameserver: "flooder"})
	word := &pb.SubscribeRequest{Message: &pb.SubscribeRequest_Following{Following: &pb.Following{Following: true}}}
	for range messageBurst {
		other.send(word)
	}
	// As fast as the stream takes them, until it ends.
	go func() {
		for range 1_000_000 {
			if flooder.stream.Send(word) != nil {
				return
			}
		}
	}()
	var err error
	for err == nil {
		_, err = flooder.stream.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("it ended with %v", err)
	}
	if n := testutil.ToFloat64(s.throttled); n != 1 {
		t.Errorf("%g streams counted, want 1", n)
	}
	other.until(func() bool { return other.count(regions.Healthy) == 5 })
	other.beat = nil
	other.until(func() bool { return other.beat != nil })
}
