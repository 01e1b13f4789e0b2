package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// standing are the break-glass records that stand, by id.
func standing(list []*pb.BreakGlassStatus) map[string]*pb.BreakGlassStatus {
	held := map[string]*pb.BreakGlassStatus{}
	for _, st := range list {
		if len(st.GetNameservers()) > 0 && held[st.GetRecord().GetId()] == nil {
			held[st.GetRecord().GetId()] = st
		}
	}
	return held
}

// tellBreakGlass tells which break-glass records began and ended since it told
// last. At which nameservers each stands, the status says.
func (w *watcher) tellBreakGlass(now time.Time) error {
	list := w.breakGlass()
	was := w.held
	w.held = standing(list)
	ended := map[string]string{}
	for _, st := range list { // in order
		r := st.GetRecord()
		switch {
		case w.held[r.GetId()] != st:
			ended[r.GetId()] = r.GetEnded()
		case was[r.GetId()] == nil:
			text := fmt.Sprintf("%s at %s, for %v: %s", breakGlassText(r), strings.Join(st.GetNameservers(), ", "),
				healthpb.Age(r.GetRemainingMillis()).Round(time.Second), r.GetReason())
			if err := w.tellEvent(&pb.HealthEvent{Kind: "break-glass-begun", Subject: r.GetId(), Text: text}, now); err != nil {
				return err
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(was)) {
		if w.held[id] != nil {
			continue
		}
		how := ended[id]
		if how == "" {
			how = "no nameserver that is known here holds it any more"
		}
		text := fmt.Sprintf("%s: %s", breakGlassText(was[id].GetRecord()), how)
		if err := w.tellEvent(&pb.HealthEvent{Kind: "break-glass-ended", Subject: id, Text: text}, now); err != nil {
			return err
		}
	}
	return nil
}

// breakGlassText says what a record does, and by whom.
func breakGlassText(r *pb.BreakGlassRecord) string {
	action := strings.ToLower(strings.TrimPrefix(r.GetAction().String(), "BREAK_GLASS_ACTION_"))
	return fmt.Sprintf("%s of %s by %s", strings.ReplaceAll(action, "_", "-"), scopeText(r.GetScope()), r.GetAuthor())
}
