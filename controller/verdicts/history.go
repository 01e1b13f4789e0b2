package verdicts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// Limits of questions about history.
const (
	// maxInquiries bounds the questions that are under way.
	maxInquiries = 4
	// MaxHistoryTargets bounds the targets of one question.
	MaxHistoryTargets = 1000
	// maxHistoryBytes bounds what one agent may answer to one, and maxWaitingBytes
	// what of all answers may wait to be taken.
	maxHistoryBytes = 32 << 20
	maxWaitingBytes = 64 << 20
	// historyWait is how long agents have to answer.
	historyWait = 10 * time.Second
)

// HistoryPart is one message's worth of what an agent recorded.
type HistoryPart struct {
	Agent, Region string
	Registered    bool
	Histories     []*pb.ObservationHistory
}

// inquiries are the questions under way.
type inquiries struct {
	mu   sync.Mutex
	last uint64
	open map[uint64]*inquiry
}

// inquiry is one question and what came of it so far. inquiries.mu guards it.
type inquiry struct {
	id      uint64
	asked   map[*session]*answer
	parts   []HistoryPart // that wait to be taken
	waiting int           // their bytes
	wake    chan struct{}
}

// answer is one agent's.
type answer struct {
	listed
	bytes int
	done  bool
	why   string // it is not complete
}

// listed is an agent as History finds it.
type listed struct {
	name, region string
	registered   bool
	session      *session // nil: not connected
}

// History asks all connected agents for what they recorded of some targets, no
// older than maxAge (0: all there is), and calls take with each part that comes,
// one after the other. It returns which registered agents were not heard to the
// end, each with why. An error of take ends it.
//
// INVALID_ARGUMENT: too many targets. RESOURCE_EXHAUSTED: too many questions are
// under way.
func (j *Judge) History(ctx context.Context, targets []string, maxAge time.Duration, take func(HistoryPart) error) (missing []string, err error) {
	if n := len(targets); n > MaxHistoryTargets {
		return nil, status.Errorf(codes.InvalidArgument, "%d targets: want at most %d", n, MaxHistoryTargets)
	}
	q := &inquiry{asked: map[*session]*answer{}, wake: make(chan struct{}, 1)}
	if !j.inquiries.begin(q) {
		return nil, status.Errorf(codes.ResourceExhausted, "%d questions about history are under way: try again in a while", maxInquiries)
	}
	defer j.inquiries.end(q)
	for _, a := range *j.listed.Load() {
		if a.session == nil {
			if a.registered {
				missing = append(missing, a.name+": not connected")
			}
			continue
		}
		j.inquiries.expect(q, a)
		if !a.session.ask(&pb.HistoryQuery{Id: q.id, Targets: targets, MaxAgeMillis: healthpb.Millis(maxAge)}) {
			j.inquiries.give(q, a.session, "it has not taken earlier questions yet")
		}
		select {
		case <-a.session.ended: // before it was expected to answer
			j.inquiries.left(a.session)
		default:
		}
	}
	limit := time.NewTimer(historyWait)
	defer limit.Stop()
	for {
		parts, open := j.inquiries.takeParts(q)
		for _, p := range parts {
			if err := take(p); err != nil {
				return nil, err
			}
		}
		if !open && len(parts) == 0 {
			break
		}
		if len(parts) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-j.stopped:
			return nil, errStopping
		case <-limit.C:
			j.inquiries.giveUp(q, fmt.Sprintf("no answer within %s", historyWait))
		case <-q.wake:
		}
	}
	missing = append(missing, j.inquiries.missing(q)...)
	slices.Sort(missing)
	return missing, nil
}

// begin enters a question, if there is room.
func (n *inquiries) begin(q *inquiry) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.open) >= maxInquiries {
		return false
	}
	n.last++
	q.id = n.last
	n.open[q.id] = q
	return true
}

// end forgets a question.
func (n *inquiries) end(q *inquiry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, q.id)
}

// expect notes that an agent is asked.
func (n *inquiries) expect(q *inquiry, a listed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	q.asked[a.session] = &answer{listed: a}
}

// left notes that a stream has ended: nothing more comes on it.
func (n *inquiries) left(s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, q := range n.open {
		if a := q.asked[s]; a != nil && !a.done {
			a.done, a.why = true, "its stream ended"
			notify(q.wake)
		}
	}
}

// answer takes one message of an answer. It never waits: what nobody asked for,
// and what is too much, is left out.
func (n *inquiries) answer(s *session, r *pb.HistoryReply) {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.open[r.GetId()]
	if q == nil || q.asked[s] == nil || q.asked[s].done {
		return
	}
	a, size := q.asked[s], proto.Size(r)
	a.bytes += size
	switch {
	case a.bytes > maxHistoryBytes:
		a.done, a.why = true, fmt.Sprintf("it answers more than %d MiB; ask for fewer targets or a shorter time", maxHistoryBytes>>20)
	case q.waiting+size > maxWaitingBytes:
		a.done, a.why = true, "the answers come faster than they are taken"
	default:
		a.done = r.GetLast()
		if len(r.GetHistories()) > 0 {
			q.waiting += size
			q.parts = append(q.parts, HistoryPart{Agent: a.name, Region: a.region, Registered: a.registered, Histories: r.GetHistories()})
		}
	}
	notify(q.wake)
}

// give notes that nothing more comes from an agent.
func (n *inquiries) give(q *inquiry, s *session, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a := q.asked[s]; !a.done {
		a.done, a.why = true, why
	}
	notify(q.wake)
}

// giveUp gives up on all who have not answered.
func (n *inquiries) giveUp(q *inquiry, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range q.asked {
		if !a.done {
			a.done, a.why = true, why
		}
	}
}

// takeParts takes what has come, and tells whether more is awaited.
func (n *inquiries) takeParts(q *inquiry) (parts []HistoryPart, open bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	parts, q.parts, q.waiting = q.parts, nil, 0
	for _, a := range q.asked {
		open = open || !a.done
	}
	return parts, open
}

// missing are the registered agents that did not answer to the end.
func (n *inquiries) missing(q *inquiry) (out []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range q.asked {
		if a.registered && a.why != "" {
			out = append(out, a.name+": "+a.why)
		}
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out
}
