package feed

import (
	"context"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// usageWait is how long nameservers have to report what they answered.
	usageWait = 500 * time.Millisecond
	// maxQueries bounds the queries that one nameserver has not answered.
	maxQueries = 8
	// usageRate and usageBurst bound how often nameservers are asked, whoever wants
	// to know.
	usageRate, usageBurst = 20, 40
)

// usage is what a nameserver said; nil: it left.
type usage struct {
	nameserver string
	report     *pb.UsageReport
}

// Usage asks every connected nameserver what it answered with the endpoints in a
// scope. Those that do not answer within 500 ms are left out, as are those of
// versions that do not know the question.
func (s *Server) Usage(ctx context.Context, scope *pb.OverrideScope) map[string]*pb.UsageReport {
	ctx, cancel := context.WithTimeout(ctx, usageWait)
	defer cancel()
	if s.queries.Wait(ctx) != nil {
		return nil
	}
	reports := map[string]*pb.UsageReport{}
	id, answers, asked := s.ask(scope)
	defer s.forgo(id, asked)
	for range asked {
		select {
		case <-ctx.Done():
			return reports
		case <-s.stopped:
			return reports
		case u := <-answers:
			if u.report != nil {
				reports[u.nameserver] = u.report
			}
		}
	}
	return reports
}

// ask asks every nameserver that has not left too many queries unanswered.
func (s *Server) ask(scope *pb.OverrideScope) (id uint64, answers <-chan usage, asked []*subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastQuery++
	q := &pb.UsageQuery{Id: s.lastQuery, Scope: scope}
	c := make(chan usage, len(s.subs)) // nobody waits to put an answer there
	for _, sub := range s.subs {
		if !sub.connected || len(sub.asked) >= maxQueries {
			continue
		}
		select {
		case sub.queries <- q:
			sub.asked[q.GetId()] = c
			asked = append(asked, sub)
		default: // it does not take what it is sent
		}
	}
	return q.GetId(), c, asked
}

func (s *Server) forgo(id uint64, asked []*subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range asked {
		delete(sub.asked, id)
	}
}

// answered takes a nameserver's report; false if nobody waits for it.
func (s *Server) answered(sub *subscriber, r *pb.UsageReport) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, waits := sub.asked[r.GetId()]
	if waits {
		delete(sub.asked, r.GetId())
		c <- usage{sub.name, r}
	}
	return waits
}

// answersNoMore tells those who wait. mu is held.
func (sub *subscriber) answersNoMore() {
	for id, c := range sub.asked {
		delete(sub.asked, id)
		c <- usage{sub.name, nil}
	}
}

func usageQuery(q *pb.UsageQuery) *pb.SubscribeResponse {
	return &pb.SubscribeResponse{Message: &pb.SubscribeResponse_UsageQuery{UsageQuery: q}}
}
