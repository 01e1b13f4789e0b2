package api

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/access"
	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	// maxWait bounds how long a call may wait for nameservers.
	maxWait = 5 * time.Minute
	// publishWait is how long a change waits to be published here, so that
	// whoever made it reads it.
	publishWait = time.Second
	maxText     = 1024 // bytes of a reason or an author
)

// change is a request to change something.
type change struct {
	id, action, reason, author string
	// request without what does not change its meaning (wait), to recognise it
	// when it is repeated.
	request proto.Message
	// edit decides what to change and fills the response, which whoever
	// repeats the request gets too.
	edit     func(*catalog.Version) (catalog.Edit, error)
	response proto.Message
	// short makes a response that is too large to keep shorter. Optional.
	short func() proto.Message
	// breakGlass is the command that does it at the nameservers. Optional.
	breakGlass string
}

// change makes a change, and waits until it is published here.
func (s *Server) change(ctx context.Context, c change) (*catalog.Outcome, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := s.refuseWrites(&c); err != nil {
		return nil, err
	}
	fingerprint, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.request)
	if err != nil {
		return nil, toStatus(err)
	}
	req := catalog.Request{
		ID: c.id, Fingerprint: sha256.Sum256(append(fingerprint, c.action...)),
		Actor: actor(ctx), Peer: access.Peer(ctx), Action: c.action, Reason: c.reason, Author: c.author,
	}
	reading, read := s.whileReadable(ctx)
	defer read()
	out, err := s.opts.Catalog.Change(reading, req, func(v *catalog.Version) (catalog.Edit, error) {
		read()
		proto.Reset(c.response)
		e, err := c.edit(v)
		if err == nil && c.id != "" {
			e.Result, err = c.result()
		}
		return e, err
	})
	if err != nil {
		s.audited(ctx, req, err)
		return nil, c.hinted(err)
	}
	if out.Repeated {
		if err := proto.Unmarshal(out.Result, c.response); err != nil {
			return nil, status.Errorf(codes.DataLoss, "request %q was carried out, and its result is damaged: %v", c.id, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	s.opts.Planner.Reached(ctx, out.Generation)
	return out, nil
}

// try decides on the newest version, and writes nothing. There may be an error
// of the decision beside the version.
func (s *Server) try(ctx context.Context, c change) (*catalog.Version, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := s.refuseWrites(&c); err != nil {
		return nil, err
	}
	v, err := s.opts.Catalog.Read(ctx)
	if err != nil {
		return nil, c.hinted(err)
	}
	_, err = c.edit(v)
	return v, toStatus(err)
}

// result is the response as it is kept.
func (c *change) result() ([]byte, error) {
	b, err := proto.Marshal(c.response)
	if len(b) > catalog.MaxResult && c.short != nil {
		b, err = proto.Marshal(c.short())
	}
	return b, err
}

// actor is who makes a change, as the connection proved.
func actor(ctx context.Context) string {
	id := access.Caller(ctx)
	if id.Name == "" {
		return "anonymous"
	}
	if id.TrustDomain == "" {
		return id.Name
	}
	return id.Role.String() + "/" + id.Name
}

// author is who is said to have decided a change; by default its actor.
func author(ctx context.Context, said string) string {
	if said == "" {
		return actor(ctx)
	}
	return said
}

func (c *change) validate() error {
	for _, f := range []struct{ name, text string }{{"reason", c.reason}, {"author", c.author}} {
		if len(f.text) > maxText {
			return status.Errorf(codes.InvalidArgument, "%s: %d bytes, at most %d", f.name, len(f.text), maxText)
		}
	}
	printable := func(r rune) bool { return r > ' ' && r < 0x7f }
	if len(c.id) > store.MaxRequestIDLen || strings.ContainsFunc(c.id, func(r rune) bool { return !printable(r) }) {
		return status.Errorf(codes.InvalidArgument, "request_id: %.80q: want at most %d characters of printable ASCII, as a UUID", c.id, store.MaxRequestIDLen)
	}
	return nil
}

// wait waits for nameservers to serve a change.
func (s *Server) wait(ctx context.Context, out *catalog.Outcome, d time.Duration) *pb.Convergence {
	if d <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(d, maxWait))
	defer cancel()
	return s.opts.Feed.Wait(ctx, out.Generation, out.Set.Names(config.KindNameserver))
}

func generation(g regions.Generation) *pb.Generation {
	return &pb.Generation{Epoch: g.Epoch, Revision: g.Revision}
}
