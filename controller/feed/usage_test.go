package feed

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func report(r *pb.UsageReport) *pb.SubscribeRequest {
	return &pb.SubscribeRequest{Message: &pb.SubscribeRequest_Usage{Usage: r}}
}

// reports has a nameserver answer queries until its stream ends. What answer
// returns is sent, nil for nothing.
func (n *subscription) reports(answer func(*pb.UsageQuery) *pb.SubscribeRequest) {
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			m, err := n.stream.Recv()
			if err != nil {
				return
			}
			if q := m.GetUsageQuery(); q != nil {
				if a := answer(q); a != nil {
					n.send(a)
				}
			}
		}
	})
	n.t.Cleanup(func() { n.cancel(); reading.Wait() })
}

// Whoever answers in time is in, everybody else is left out, and delays nobody
// for longer than that.
func TestUsage(t *testing.T) {
	s := start(t, false)
	scope := &pb.OverrideScope{Region: "eu-west", Service: "www.example.test"}
	if got := s.Usage(t.Context(), scope); len(got) != 0 {
		t.Errorf("without nameservers: %v", got)
	}
	var mu sync.Mutex
	var scopes []*pb.OverrideScope
	for i, name := range []string{"ns-1", "ns-2"} {
		s.subscribe(&pb.NameserverHello{Nameserver: name}).reports(func(q *pb.UsageQuery) *pb.SubscribeRequest {
			mu.Lock()
			defer mu.Unlock()
			scopes = append(scopes, q.GetScope())
			return report(&pb.UsageReport{Id: q.GetId(), Endpoints: uint32(i + 1), CachedMillis: 1000})
		})
	}
	eventually(t, "both", func() bool { return len(s.Nameservers()) == 2 })
	eventually(t, "both to be in time", func() bool {
		got := s.Usage(t.Context(), scope)
		return len(got) == 2 && got["ns-1"].GetEndpoints() == 1 && got["ns-2"].GetEndpoints() == 2
	})
	mu.Lock()
	if !proto.Equal(scopes[0], scope) {
		t.Errorf("they were asked for %v", scopes)
	}
	mu.Unlock()

	// One of an older version is silent, one cites another query, one reads
	// nothing, and one leaves when it is asked.
	s.subscribe(&pb.NameserverHello{Nameserver: "old"}).reports(func(*pb.UsageQuery) *pb.SubscribeRequest { return nil })
	s.subscribe(&pb.NameserverHello{Nameserver: "wrong"}).reports(func(q *pb.UsageQuery) *pb.SubscribeRequest {
		return report(&pb.UsageReport{Id: q.GetId() + 1})
	})
	s.subscribe(&pb.NameserverHello{Nameserver: "stuck"})
	leaver := s.subscribe(&pb.NameserverHello{Nameserver: "leaver"})
	leaver.reports(func(*pb.UsageQuery) *pb.SubscribeRequest { leaver.cancel(); return nil })
	eventually(t, "all", func() bool { return len(s.Nameservers()) == 6 })
	names := func(got map[string]*pb.UsageReport) (list []string) {
		for n := range got {
			list = append(list, n)
		}
		slices.Sort(list)
		return list
	}
	eventually(t, "those that answer", func() bool {
		got := names(s.Usage(t.Context(), scope))
		if slices.ContainsFunc(got, func(n string) bool { return n != "ns-1" && n != "ns-2" }) {
			t.Errorf("answers of %v", got)
		}
		return len(got) == 2
	})
	s.mu.Lock()
	for name, sub := range s.subs {
		if len(sub.asked) != 0 {
			t.Errorf("%s: %d queries are waited for that nobody waits for", name, len(sub.asked))
		}
	}
	s.mu.Unlock()
	// Nobody has more than so many unanswered.
	for i := range 2 * maxQueries {
		id, _, asked := s.ask(scope)
		defer s.forgo(id, asked)
		if i >= maxQueries && slices.ContainsFunc(asked, func(sub *subscriber) bool { return sub.name == "old" }) {
			t.Errorf("the silent one is asked %d times", i+1)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := s.Usage(ctx, scope); len(got) != 0 {
		t.Errorf("for nobody: %v", got)
	}
}

// When all have said something, or have left, nobody is waited for: many ask at
// once, and more than are allowed to.
func TestUsageTogether(t *testing.T) {
	s := start(t, false)
	s.subscribe(&pb.NameserverHello{Nameserver: "ns-1"}).reports(func(q *pb.UsageQuery) *pb.SubscribeRequest {
		return report(&pb.UsageReport{Id: q.GetId()})
	})
	eventually(t, "it", func() bool { return len(s.Nameservers()) == 1 })
	var asking sync.WaitGroup
	var mu sync.Mutex
	answers := 0
	for range 4 * usageBurst {
		asking.Go(func() {
			n := len(s.Usage(t.Context(), &pb.OverrideScope{Region: "eu"}))
			mu.Lock()
			defer mu.Unlock()
			answers += n
		})
	}
	asking.Wait()
	if answers == 0 {
		t.Error("no answer")
	}
	if list := s.Nameservers(); !list[0].Connected {
		t.Error("it was cut off for answering")
	}
}

// What nobody asked for is counted like all that a nameserver sends.
func TestUsageUnasked(t *testing.T) {
	s := start(t, false)
	ns := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	for range 4 * messageBurst {
		ns.send(report(&pb.UsageReport{Id: 7}))
	}
	for end := time.Now().Add(time.Minute); ; {
		_, err := ns.stream.Recv()
		if err == nil && time.Now().Before(end) {
			continue
		}
		if errors.Is(err, io.EOF) || status.Code(err) != codes.ResourceExhausted {
			t.Errorf("it ended with %v", err)
		}
		return
	}
}
