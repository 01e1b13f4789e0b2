package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// maxRetried is how many scheduled overrides that were refused are judged again at
// a time.
const maxRetried = 20

// Advance does what is due: it removes the overrides whose time is over and lets
// those begin whose time has come. Any number of controllers may do so at the
// same time.
func (s *Server) Advance(ctx context.Context, now time.Time) error {
	if s.opts.Planner.Current() == nil || s.opts.Planner.Away() != nil {
		return nil // nothing can be done
	}
	err := s.expire(ctx, now)
	cur := s.opts.Planner.Current()
	due := slices.DeleteFunc(slices.Clone(cur.Scheduled), func(o *pb.Override) bool {
		// What a newer version scheduled, and is not understood here, one of those lets begin.
		_, ignored := plan.Overrides([]*pb.Override{o})
		return !begins(o, now) || isOver(o, now) || len(ignored) > 0
	})
	slices.SortStableFunc(due, func(a, b *pb.Override) int { return a.GetStartTime().AsTime().Compare(b.GetStartTime().AsTime()) })
	for _, o := range s.turns(due) {
		if errors.Is(err, store.ErrUnavailable) {
			break
		}
		err = errors.Join(err, s.begin(ctx, o.GetId(), now))
	}
	return err
}

// turns leaves of those that are due all but a few of the ones that were refused
// already: these take turns, as to judge one is much work where there are very
// many services.
func (s *Server) turns(due []*pb.Override) []*pb.Override {
	var refused, others []*pb.Override
	for _, o := range due {
		if o.GetRefusal() != "" {
			refused = append(refused, o)
		} else {
			others = append(others, o)
		}
	}
	if n := len(refused); n > maxRetried {
		from := int(s.retried.Add(maxRetried)) % n
		refused = slices.Concat(refused[from:], refused[:from])[:maxRetried]
	}
	return append(refused, others...)
}

func isOver(o *pb.Override, now time.Time) bool {
	return o.GetExpireTime() != nil && !now.Before(o.GetExpireTime().AsTime())
}

func begins(o *pb.Override, now time.Time) bool {
	return o.GetStartTime() == nil || !now.Before(o.GetStartTime().AsTime())
}

// itself is what this controller does by itself.
func (s *Server) itself(action, reason string) catalog.Request {
	return catalog.Request{Actor: "controller/" + s.opts.Name, Action: action, Reason: reason}
}

// expire removes what is over, in force or scheduled.
func (s *Server) expire(ctx context.Context, now time.Time) error {
	over := func(o *pb.Override) bool { return isOver(o, now) }
	cur := s.opts.Planner.Current()
	if !slices.ContainsFunc(cur.Overrides, over) && !slices.ContainsFunc(cur.Scheduled, over) {
		return nil
	}
	_, err := s.opts.Catalog.Change(ctx, s.itself("override-expire", "expired"), func(v *catalog.Version) (catalog.Edit, error) {
		e, _ := removing(v, over)
		e.DropBreakGlassEnds = longOver(now)
		return e, nil
	})
	return err
}

// begin lets a scheduled override begin, if the safety rules let it, as they see
// things now. Otherwise it stays, says why, and is tried again until its end.
func (s *Server) begin(ctx context.Context, id string, now time.Time) error {
	cur := s.opts.Planner.Current()
	if o := scheduled(cur.Version, id); o.GetRefusal() != "" {
		if _, refused, err := s.beginning(cur.Version, o, now); err != nil || refused != nil {
			return err // still, as far as is known here: etcd need not be asked
		}
	}
	var refused *refusal
	out, err := s.opts.Catalog.Change(ctx, s.itself("override-start", "its time has come"), func(v *catalog.Version) (e catalog.Edit, err error) {
		refused = nil
		o := scheduled(v, id)
		if o == nil || isOver(o, now) {
			return catalog.Edit{}, nil // another controller was faster
		}
		e, refused, err = s.beginning(v, o, now)
		if err != nil || refused != nil {
			return catalog.Edit{}, err
		}
		return e, nil
	})
	if err != nil || refused == nil {
		return err
	}
	return s.postpone(ctx, out.Version, id, refused)
}

func scheduled(v *catalog.Version, id string) *pb.Override {
	for _, o := range v.Scheduled {
		if o.GetId() == id {
			return o
		}
	}
	return nil
}

// beginning is what becomes of a version when a scheduled override begins.
func (s *Server) beginning(v *catalog.Version, o *pb.Override, now time.Time) (catalog.Edit, *refusal, error) {
	o = proto.CloneOf(o)
	force := o.GetForced()
	o.Refusal, o.Forced = "", false
	e := catalog.Edit{Subjects: subjects(o), SetScheduled: true, SetOverrides: true, DropBreakGlassEnds: longOver(now)}
	e.Overrides = append(slices.Clone(v.Overrides), o)
	e.Scheduled = slices.DeleteFunc(slices.Clone(v.Scheduled), func(s *pb.Override) bool { return s.GetId() == o.GetId() })
	if !drains(o.GetAction()) {
		return e, nil, nil
	}
	var err error
	if e.Safety, err = s.judge(v, v.Overrides, e.Overrides, now, force); err != nil {
		return catalog.Edit{}, nil, err
	}
	o.Forced = e.Safety.GetForced()
	if r := refusedBy(e.Safety, force); r != nil {
		r.subjects, r.override = e.Subjects, o
		return catalog.Edit{}, r, nil
	}
	return e, nil, nil
}

// postpone notes why a scheduled override does not begin. Of the controllers that
// find so, one does, and tells in the audit trail.
func (s *Server) postpone(ctx context.Context, seen *catalog.Version, id string, r *refusal) error {
	if o := scheduled(seen, id); o == nil || o.GetRefusal() != "" {
		return nil
	}
	mine := false
	req := s.itself("override-postpone", shorten(r.Error()))
	_, err := s.opts.Catalog.Change(ctx, req, func(v *catalog.Version) (catalog.Edit, error) {
		o := scheduled(v, id)
		if mine = o != nil && o.GetRefusal() == ""; !mine {
			return catalog.Edit{}, nil
		}
		e := catalog.Edit{Subjects: r.subjects, SetScheduled: true, Safety: r.decision}
		for _, other := range v.Scheduled {
			if other == o {
				other = proto.CloneOf(o)
				other.Refusal = shorten(r.Error())
			}
			e.Scheduled = append(e.Scheduled, other)
		}
		return e, nil
	})
	if err == nil && mine {
		s.audited(ctx, s.itself("override-start", "its time has come"), r)
	}
	return err
}

// lateAlarms tell of scheduled overrides that the safety rules keep from beginning.
func lateAlarms(v *catalog.Version) (alarms []string) {
	for _, o := range v.Scheduled {
		if o.GetRefusal() != "" {
			alarms = append(alarms, fmt.Sprintf("scheduled override %s (%s, by %s) has not begun at %s: %s", o.GetId(), scopeText(o.GetScope()),
				o.GetAuthor(), o.GetStartTime().AsTime().Format(time.RFC3339), o.GetRefusal()))
		}
	}
	return alarms
}
