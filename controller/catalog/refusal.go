package catalog

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Refusals are written at no more than this rate, after a burst: somebody who
// tries again and again shall not fill etcd.
const (
	refusalEvery = 2 * time.Second
	refusalBurst = 50
)

func newRefusals() *rate.Limiter { return rate.NewLimiter(rate.Every(refusalEvery), refusalBurst) }

// ErrTooManyRefusals says that a refusal was not written to the audit trail.
var ErrTooManyRefusals = errors.New("too many changes were refused lately: this refusal is in the log only")

// Refusal is a change that the safety rules did not let pass.
type Refusal struct {
	Subjects []string
	// Error is why, as the caller is told.
	Error  string
	Safety *pb.SafetyDecision
	// Overrides are those that were asked for.
	Overrides []*pb.Override
}

// Refused adds an event with the result refused to the audit trail; the head
// stays as it is. The caller is refused whatever comes of this. It is logged
// too, for when etcd does not take it or ErrTooManyRefusals.
func (c *Catalog) Refused(ctx context.Context, req Request, r Refusal) error {
	c.log.Warn("change refused", "action", req.Action, "actor", req.Actor, "peer", req.Peer, "request_id", req.ID,
		"subjects", r.Subjects, "error", r.Error)
	if !c.refusals.Allow() {
		return ErrTooManyRefusals
	}
	e := newEvent(req, store.ResultRefused, timestamppb.Now())
	e.Subjects, e.Safety, e.Error = boundSubjects(r.Subjects), boundSafety(r.Safety), shorten(r.Error)
	_, e.OverridesAfter = boundOverrides(nil, r.Overrides)
	return c.store.Refuse(ctx, e)
}
