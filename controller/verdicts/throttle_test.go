package verdicts

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func manyOpinions(n int) *pb.ReportRequest {
	up := &pb.OpinionUpdate{}
	for i := range n {
		up.Opinions = append(up.Opinions, &pb.Opinion{Target: fmt.Sprint("t", i), Status: pb.HealthStatus_HEALTH_STATUS_UNHEALTHY})
	}
	return &pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: up}}
}

// An agent that floods is cut off with an error that says for how long; what
// another one says meanwhile has its effect at once.
func TestFlood(t *testing.T) {
	for name, flood := range map[string]func() *pb.ReportRequest{
		"of messages": func() *pb.ReportRequest { return &pb.ReportRequest{} },
		"of opinions": func() *pb.ReportRequest { return manyOpinions(5000) },
	} {
		t.Run(name, func(t *testing.T) {
			inCourt(t, Options{}, func(t *testing.T, c *court) {
				c.plan(1, three, "t", "u")
				a, b, f := c.connect("a1", "a"), c.connect("b1", "b"), c.connect("c1", "c")
				a.says("full t=H u=H")
				b.says("full t=H u=H")
				f.says("full t=H u=H")
				c.want("t", "H/H")
				msg := flood()
				began := time.Now()
				for n := 0; f.open() && n < 20_000; n++ {
					if err := f.stream.Send(msg); err != nil {
						break
					}
					if n%500 == 0 {
						word := []string{"U", "H"}[n/500%2]
						a.says("t=" + word)
						b.says("t=" + word)
						c.want("t", word+"/"+word)
					}
				}
				if waited := time.Since(began); waited > time.Second {
					t.Errorf("the others' opinions took %s", waited)
				}
				err := f.cut()
				if status.Code(err) != codes.ResourceExhausted {
					t.Fatalf("it ended with %v", err)
				}
				retry := time.Duration(0)
				for _, d := range status.Convert(err).Details() {
					if r, ok := d.(*errdetails.RetryInfo); ok {
						retry = r.GetRetryDelay().AsDuration()
					}
				}
				if retry <= 0 {
					t.Errorf("no RetryInfo in %v", err)
				}
				if n := counted(t, c.registry, "fairlead_controller_agents_throttled_total", ""); n != 1 {
					t.Errorf("%g counted, want 1", n)
				}
				// A new stream at once is no way around it; after the pause it is heard.
				again := c.connect("c1", "c")
				if name == "of messages" {
					if err := again.cut(); status.Code(err) != codes.ResourceExhausted {
						t.Errorf("a new stream: %v", err)
					}
					again = nil
				}
				c.pass(retry, a, b)
				if again == nil {
					again = c.connect("c1", "c")
				}
				again.says("full t=U u=U")
				c.pass(time.Second, a, b, again)
				if !again.open() {
					t.Error("it is not heard again")
				}
			})
		})
	}
}

// cut is what the stream ended with.
func (s *speaker) cut() error {
	synctest.Wait()
	select {
	case err := <-s.ended:
		return err
	default:
		return errors.New("it is open")
	}
}

// What an honest agent may have to send is allowed: everything anew, several
// times, and each of many changes by itself.
func TestAllowance(t *testing.T) {
	th := newThrottle()
	th.targets.Store(10_000)
	now := time.Now()
	a := th.of("a1", now)
	for range 5 { // connections that break at once
		if err := th.of("a1", now).take(now, 1, 10_000); err != nil {
			t.Fatal(err)
		}
	}
	for range 20_000 { // every target falls and recovers, told one by one
		if err := a.take(now, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 3600 { // an hour of heartbeats and of reasons that change
		now = now.Add(time.Second)
		if err := a.take(now, 8, 10_000); err != nil {
			t.Fatal(err)
		}
	}
	// The largest update that is taken at all fits, whatever the plan is.
	fresh := th.of("b1", now)
	th.targets.Store(0)
	if err := fresh.take(now, 1, MaxOpinions); err != nil {
		t.Fatal(err)
	}
	// Names that come and go leave no trace.
	for i := range 3 * maxAllowances {
		now = now.Add(time.Second)
		_ = th.of(fmt.Sprint("x", i), now).take(now, 1, 0)
	}
	if n := len(th.by); n > maxAllowances {
		t.Errorf("%d allowances are kept", n)
	}
	// Sustained, too much is too much.
	busy := th.of("busy", now)
	for range 100 {
		for range 2 * messageRate {
			if err := busy.take(now, 1, 0); err != nil {
				return
			}
		}
		now = now.Add(time.Second)
	}
	t.Error("twice the rate was allowed for 100 seconds")
}
