package feed

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

const (
	// maxRecords bounds the break-glass records of one nameserver.
	maxRecords = 300
	// maxEnded bounds how a record ended, in bytes: by whom, and why in full.
	maxEnded = 3 * maxText
	// endedFor is how long one that has ended is shown.
	endedFor = time.Hour
	// maxBreakGlass is the longest that a record can hold.
	maxBreakGlass = 24 * time.Hour
)

// held is a break-glass record as its nameserver last told of it.
type held struct {
	*pb.BreakGlassRecord
	// until is when it ends by itself, or from when on it is old news that it ended:
	// since it was heard, of one that stood; since it did, of one that had ended when
	// it was first heard of.
	until time.Time
}

func (h *held) stands(now time.Time) bool { return h.GetEnded() == "" && now.Before(h.until) }

// holds notes a nameserver's break-glass records; it speaks of none but its own.
// was are those that were known. mu is held.
func (s *Server) holds(sub *subscriber, t *pb.BreakGlassTable, was []held, now time.Time) {
	known := make(map[string]*held, len(was))
	for i := range was {
		known[was[i].GetId()] = &was[i]
	}
	sub.breakGlass, sub.trouble = nil, shortened(t.GetTrouble())
	var none []string
	for _, r := range t.GetRecords() {
		if len(sub.breakGlass) == maxRecords {
			s.opts.Log.Warn("a nameserver tells of too many break-glass records", "nameserver", sub.name, "records", len(t.GetRecords()), "most", maxRecords)
			break
		}
		if !validRecord(r) {
			none = append(none, r.GetId())
			continue
		}
		h := held{proto.CloneOf(r), now.Add(min(healthpb.Age(r.GetRemainingMillis()), maxBreakGlass))}
		if r.GetEnded() != "" {
			h.until = endOfRecord(r, known[r.GetId()], now)
			if now.Sub(h.until) > endedFor {
				continue // this controller has just begun to listen
			}
		}
		sub.breakGlass = append(sub.breakGlass, h)
	}
	if len(none) > 0 {
		s.opts.Log.Warn("a nameserver tells of break-glass records that are none", "nameserver", sub.name, "records", len(none), "first", fmt.Sprintf("%.80q", none[0]))
	}
}

// endOfRecord is held.until of a record that has ended, as it was known before.
func endOfRecord(r *pb.BreakGlassRecord, was *held, now time.Time) time.Time {
	end := r.GetEndTime().AsTime()
	switch {
	case was != nil && was.GetEnded() != "":
		return was.until
	case was != nil:
		return now
	case r.GetEndTime() == nil: // an older version does not say: at the latest
		end = r.GetCreateTime().AsTime().Add(maxBreakGlass)
	}
	if end.After(now) { // or by another clock
		return now
	}
	return end
}

// validRecord tells whether a record can be kept and shown.
func validRecord(r *pb.BreakGlassRecord) bool {
	id, ok := strings.CutPrefix(r.GetId(), "bg-")
	if !ok || id == "" || len(id) > 60 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return false
	}
	return len(r.GetAuthor()) <= maxText && len(r.GetReason()) <= maxText && len(r.GetActor()) <= maxText && len(r.GetEnded()) <= maxEnded &&
		proto.Size(r) <= 8*maxText
}

// BreakGlass lists the break-glass records that stand at nameservers, and those
// that ended within an hour; each part by id. A nameserver that left holds what it
// last told of until that expires.
func (s *Server) BreakGlass() []*pb.BreakGlassStatus {
	var registered []string
	installation := ""
	if cur := s.opts.Planner.Current(); cur != nil {
		registered, installation = cur.Set.Names(config.KindNameserver), cur.Head.GetInstallation()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	by := map[string]*pb.BreakGlassStatus{}
	for _, name := range slices.Sorted(maps.Keys(s.subs)) {
		sub := s.subs[name]
		if foreign(sub.installation, installation) {
			continue
		}
		for _, h := range sub.breakGlass {
			if !h.stands(now) && now.Sub(h.until) > endedFor {
				continue
			}
			r := h.now(now)
			// Two that differ are two, whatever they are called: no nameserver puts
			// words into the mouth of who said something to another.
			key := fmt.Sprintf("%s %d %v %q %q %q", r.GetId(), r.GetAction(), r.GetScope(), r.GetAuthor(), r.GetActor(), r.GetReason())
			st := by[key]
			switch {
			case st == nil:
				st = &pb.BreakGlassStatus{Record: r}
				by[key] = st
			case r.GetRemainingMillis() > st.GetRecord().GetRemainingMillis():
				st.Record = r
			}
			if h.stands(now) {
				st.Nameservers = append(st.Nameservers, name)
			}
		}
	}
	list := make([]*pb.BreakGlassStatus, 0, len(by))
	for _, st := range by {
		if len(st.GetNameservers()) > 0 {
			for _, name := range registered {
				if sub := s.subs[name]; sub != nil && sub.connected && !slices.Contains(st.GetNameservers(), name) {
					st.Missing = append(st.Missing, name)
				}
			}
		}
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b *pb.BreakGlassStatus) int {
		return cmp.Or(
			cmp.Compare(min(1, len(b.GetNameservers())), min(1, len(a.GetNameservers()))),
			cmp.Compare(a.GetRecord().GetId(), b.GetRecord().GetId()),
			cmp.Compare(a.GetRecord().GetAction(), b.GetRecord().GetAction()),
			cmp.Compare(a.GetRecord().GetScope().String(), b.GetRecord().GetScope().String()),
			cmp.Compare(a.GetRecord().GetAuthor(), b.GetRecord().GetAuthor()),
			cmp.Compare(a.GetRecord().GetActor(), b.GetRecord().GetActor()),
			cmp.Compare(a.GetRecord().GetReason(), b.GetRecord().GetReason()),
		)
	})
	return list
}

// Trouble is what is wrong with a nameserver's break-glass records.
type Trouble struct{ Nameserver, Text string }

// BreakGlassTroubles lists what nameservers that are connected say is wrong with
// their break-glass records, by name.
func (s *Server) BreakGlassTroubles() (list []Trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.subs)) {
		if sub := s.subs[name]; sub.connected && sub.trouble != "" {
			list = append(list, Trouble{name, sub.trouble})
		}
	}
	return list
}

// now is the record as it is now.
func (h *held) now(now time.Time) *pb.BreakGlassRecord {
	r := proto.CloneOf(h.BreakGlassRecord)
	r.RemainingMillis = 0
	switch {
	case h.stands(now):
		r.RemainingMillis = healthpb.Millis(h.until.Sub(now))
	case r.GetEnded() == "":
		r.Ended, r.EndTime = "its time is over", timestamppb.New(h.until)
	}
	return r
}
