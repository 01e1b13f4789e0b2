package planner

import (
	"time"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Away is etcd that does not answer.
type Away struct {
	Since time.Time
	Err   error // what was said first
}

// Away tells that etcd is known not to answer, or returns nil. While that is not
// known, whoever writes finds out.
func (p *Planner) Away() *Away { return p.away.Load() }

// Confirmed is when etcd last confirmed that the published generation is the
// newest; the zero time: never. A generation that comes from disk has its file's
// time.
func (p *Planner) Confirmed() time.Time {
	at := p.confirmed.Load()
	// The head is read again and again, and a newer one is published at once.
	if read := p.opts.Store.HeadRead(); p.verified.Load() && p.StoreAvailable() && (at == nil || read.After(*at)) {
		return read
	}
	if at == nil {
		return time.Time{}
	}
	return *at
}

// confirm notes that the published generation was the newest at a time.
func (p *Planner) confirm(at time.Time) {
	if !at.IsZero() {
		p.confirmed.Store(&at)
	}
}

// verify notes whether what was just read is what is published.
func (p *Planner) verify(same bool) {
	if same && !p.loading {
		p.confirm(time.Now())
		p.verified.Store(true)
	}
}

func protoOf(v *catalog.Version) *pb.Generation {
	return &pb.Generation{Epoch: v.Generation.Epoch, Revision: v.Generation.Revision}
}
