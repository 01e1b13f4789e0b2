package probes

import (
	"time"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// Bounds on queries for recorded observations.
const (
	maxQueryTargets = 1000
	// maxQueries is how many a controller may have under way.
	maxQueries = 4
	// maxReply bounds one message of observations, in bytes, and replyEvery is their
	// pace: 13 Mbit/s at most, of which an opinion that comes up waits for one
	// message.
	maxReply   = 32 << 10
	replyEvery = 20 * time.Millisecond
	// perObservation is what one observation takes in a message, at most: an age
	// (up to 2^42 ms), a latency and an outcome, as varints.
	perObservation = 6 + 5 + 2
)

// answer is a query for recorded observations that is being answered, message by
// message. What makes room meanwhile is left out.
type answer struct {
	id      uint64
	targets []string // that are still to be answered, from `from` on
	from    uint64
	maxAge  time.Duration
	buffer  []seen
}

func newAnswer(q *pb.HistoryQuery) *answer {
	return &answer{id: q.GetId(), targets: q.GetTargets(), maxAge: healthpb.Age(q.GetMaxAgeMillis())}
}

// next makes the next message; the one that is last says so. A target that takes
// several messages goes on in the next one, under the same name.
func (a *answer) next(h *history, now time.Time) *pb.HistoryReply {
	reply := &pb.HistoryReply{Id: a.id}
	for room := maxReply; len(a.targets) > 0 && room > 0; {
		var more bool
		target, from := a.targets[0], a.from
		a.buffer, a.from, more = h.read(a.buffer[:0], target, from, a.maxAge, max(room/perObservation, 1), now)
		if len(a.buffer) > 0 {
			one, taken := pack(target, a.buffer, &room)
			reply.Histories = append(reply.Histories, one)
			if taken < len(a.buffer) {
				// Reasons took the room. Observations are numbered one by one, the last
				// that were read end where the next ones begin.
				a.from -= uint64(len(a.buffer) - taken)
				break
			}
		}
		if !more {
			a.targets, a.from = a.targets[1:], 0
		}
	}
	reply.Last = len(a.targets) == 0
	return reply
}

// pack puts observations into a message that has room for so many bytes, and at
// least one of them.
func pack(target string, observations []seen, room *int) (h *pb.ObservationHistory, taken int) {
	h = &pb.ObservationHistory{
		Target:    target,
		AgeMillis: make([]uint64, 0, len(observations)), LatencyMicros: make([]uint32, 0, len(observations)),
		Outcome: make([]uint32, 0, len(observations)),
	}
	*room -= len(target) + 16
	index := map[what]uint32{}
	for i, o := range observations {
		n, ok := index[o.what]
		size := perObservation
		if !ok {
			size += len(o.reason) + 8
		}
		if i > 0 && *room < size {
			return h, i
		}
		*room -= size
		if !ok {
			n = uint32(len(h.Outcomes))
			index[o.what] = n
			h.Outcomes = append(h.Outcomes, &pb.ObservationOutcome{Result: results[o.result], Reason: o.reason})
		}
		h.AgeMillis = append(h.AgeMillis, uint64(o.age/time.Millisecond))
		h.LatencyMicros = append(h.LatencyMicros, uint32(o.latency/time.Microsecond))
		h.Outcome = append(h.Outcome, n)
	}
	return h, len(observations)
}

// results are results on the wire.
var results = [...]pb.ObservationResult{
	check.Abstained: pb.ObservationResult_OBSERVATION_RESULT_ABSTAINED,
	check.Passed:    pb.ObservationResult_OBSERVATION_RESULT_PASSED,
	check.Failed:    pb.ObservationResult_OBSERVATION_RESULT_FAILED,
}
