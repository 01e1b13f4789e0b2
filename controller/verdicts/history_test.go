package verdicts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// answers sends a history on a stream.
func (s *speaker) answers(id uint64, last bool, targets ...string) {
	r := &pb.HistoryReply{Id: id, Last: last}
	for _, t := range targets {
		r.Histories = append(r.Histories, &pb.ObservationHistory{Target: t})
	}
	s.send(&pb.ReportRequest{Message: &pb.ReportRequest_History{History: r}})
}

// asked takes the question that a stream has got.
func (s *speaker) asked() *pb.HistoryQuery {
	s.c.t.Helper()
	synctest.Wait()
	select {
	case q := <-s.queries:
		return q
	default:
		s.c.t.Fatalf("%s was not asked", s.name)
		return nil
	}
}

// question is one that is under way.
type question struct {
	parts   []string
	missing []string
	err     error
	done    chan struct{}
}

func (c *court) ask(take func(HistoryPart) error, targets ...string) *question {
	q := &question{done: make(chan struct{})}
	go func() {
		defer close(q.done)
		q.missing, q.err = c.History(c.t.Context(), targets, time.Minute, func(p HistoryPart) error {
			for _, h := range p.Histories {
				q.parts = append(q.parts, fmt.Sprintf("%s/%s/%t %s", p.Agent, p.Region, p.Registered, h.GetTarget()))
			}
			if take != nil {
				return take(p)
			}
			return nil
		})
	}()
	synctest.Wait()
	return q
}

func TestHistory(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, three, "t", "u")
		a, b, g := c.connect("a1", "a"), c.connect("b1", "b"), c.connect("g", "z")
		q := c.ask(nil, "t", "u")
		id := a.asked()
		if !slices.Equal(id.GetTargets(), []string{"t", "u"}) || id.GetMaxAgeMillis() != 60_000 {
			t.Errorf("asked %v", id)
		}
		if b.asked().GetId() != id.GetId() || g.asked().GetId() != id.GetId() {
			t.Error("asked under different numbers")
		}
		a.answers(id.GetId()+1, true, "x") // of nobody's question
		a.answers(id.GetId(), false, "t")
		g.answers(id.GetId(), true, "t")
		a.answers(id.GetId(), true, "u")
		a.answers(id.GetId(), true, "u") // once too often
		select {
		case <-q.done:
			t.Error("it does not wait for b1")
		default:
		}
		b.cancel()
		<-q.done
		if q.err != nil {
			t.Fatal(q.err)
		}
		slices.Sort(q.parts)
		if got, want := strings.Join(q.parts, ", "), "a1/a/true t, a1/a/true u, g/z/false t"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got, want := strings.Join(q.missing, ", "), "b1: its stream ended, c1: not connected"; got != want {
			t.Errorf("missing: %s, want %s", got, want)
		}
		if !a.open() {
			t.Error("answering ends the stream")
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, three[:1], "t")
		a := c.connect("a1", "a")
		a.says("full t=H")
		if _, err := c.History(t.Context(), make([]string, MaxHistoryTargets+1), 0, nil); status.Code(err) != codes.InvalidArgument {
			t.Errorf("too many targets: %v", err)
		}
		// So many at once, and no more.
		var under []*question
		for range maxInquiries {
			under = append(under, c.ask(nil, "t"))
		}
		if _, err := c.History(t.Context(), []string{"t"}, 0, nil); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("one more: %v", err)
		}
		// An agent that does not answer: heartbeats go on, and it is named.
		c.pass(historyWait, a)
		for _, q := range under {
			<-q.done
			if got, want := strings.Join(q.missing, ", "), "a1: no answer within 10s"; got != want || q.err != nil {
				t.Errorf("%s, %v; want %s", got, q.err, want)
			}
		}
		for range maxInquiries {
			a.asked()
		}
		// One that answers without end.
		q := c.ask(nil, "t")
		id := a.asked().GetId()
		long := strings.Repeat("x", 3<<20)
		for range maxHistoryBytes/len(long) + 1 {
			a.answers(id, false, long)
			c.pass(250*time.Millisecond, a)
		}
		<-q.done
		if len(q.missing) != 1 || !strings.Contains(q.missing[0], "it answers more than 32 MiB") {
			t.Errorf("missing: %v", q.missing)
		}
		// Whoever takes it may have enough.
		enough := errors.New("enough")
		q = c.ask(func(HistoryPart) error { return enough }, "t")
		a.answers(a.asked().GetId(), false, "t")
		<-q.done
		if !errors.Is(q.err, enough) || len(q.parts) != 1 {
			t.Errorf("%v after %d parts", q.err, len(q.parts))
		}
		c.want("t", "H/H")
	})
}
