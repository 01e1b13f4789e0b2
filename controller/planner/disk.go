package planner

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// Load publishes the last verified generation on disk, so that a controller
// that starts while etcd is away goes on judging health and feeding
// nameservers. Nothing can be changed until etcd is back; what is found in it
// then must be the same installation, and not older. Call before Run.
func (p *Planner) Load() {
	if p.opts.Dir == nil {
		return
	}
	p.loading = true
	defer func() { p.loading = false }()
	gen, refused := p.opts.Dir.Load(func(s *pb.Snapshot) error {
		objects := make(plan.Objects, len(s.GetObjects()))
		for _, data := range s.GetObjects() {
			objects[plan.Sum(data)] = data
		}
		tree, err := plan.Read(s.GetHead(), nil, nil, func([]plan.Digest) (plan.Objects, error) { return objects, nil })
		if err != nil {
			return err
		}
		v := &catalog.Version{
			Generation: regions.Generation{Epoch: s.GetGeneration().GetEpoch(), Revision: s.GetGeneration().GetRevision()},
			Head:       s.GetHead(), Tree: tree, Cluster: s.GetCluster(),
		}
		if err := p.adopt(v); err != nil {
			return err
		}
		p.opts.Catalog.Remember(v)
		p.confirm(p.opts.Dir.Confirmed(s.GetGeneration()))
		return nil
	})
	for _, err := range refused {
		p.opts.Log.Error("generation on disk refused", "err", err)
	}
	if gen != nil {
		p.opts.Log.Info("started from disk, read-only until etcd answers", "generation", p.Current().Generation.String())
	}
}

// saveAgain is how long after a failure a generation is tried again: a disk that
// was full may have space now, and no newer generation need ever come.
const saveAgain = 10 * time.Second

// keepOnDisk writes what is published, beside everything else: a slow disk
// delays nothing.
func (p *Planner) keepOnDisk(ctx context.Context) {
	again := time.NewTicker(saveAgain)
	defer again.Stop()
	var failed *Current // could not be written
	for {
		var c *Current
		select {
		case c = <-p.unsaved:
		case <-again.C:
			if c = failed; c == nil {
				p.confirmOnDisk()
				continue
			}
		case <-ctx.Done():
			select {
			case c = <-p.unsaved:
			default:
				return
			}
		}
		s := &pb.Snapshot{
			Generation: protoOf(c.Version),
			Head:       c.Head, SaveTime: timestamppb.Now(), Cluster: c.Cluster,
		}
		for _, data := range c.Objects {
			s.Objects = append(s.Objects, data)
		}
		err, last := p.opts.Dir.Save(s), failed
		failed = nil
		if err != nil {
			failed = c
			if c != last { // told once
				p.opts.Log.Error("generation not saved; without etcd a restart would begin with an older one", "generation", c.Generation.String(), "err", err)
			}
		} else if c == last {
			p.opts.Log.Info("generation saved after all", "generation", c.Generation.String())
		}
	}
}

// confirmOnDisk notes how old what is on disk is, for whoever starts from it.
func (p *Planner) confirmOnDisk() {
	if c := p.Current(); c != nil && p.opts.Dir != nil && p.verified.Load() && p.StoreAvailable() {
		_ = p.opts.Dir.Confirm(protoOf(c.Version), p.Confirmed()) // of one that is not saved yet, there is nothing to say
	}
}
