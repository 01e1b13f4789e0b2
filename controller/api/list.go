package api

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// A page token of overrides is the part of the list and the id of the one that
// comes next, so that it stays good in later generations.
const (
	inForcePart   = "overrides/"
	scheduledPart = "scheduled/"
)

// ListOverrides implements pb.OverrideServiceServer.
func (s *Server) ListOverrides(_ context.Context, req *pb.ListOverridesRequest) (*pb.ListOverridesResponse, error) {
	cur, err := s.current()
	if err != nil {
		return nil, err
	}
	size, err := pageSize(req, maxPage)
	if err != nil {
		return nil, err
	}
	part, from := inForcePart, ""
	if token := req.GetPageToken(); token != "" {
		var known bool
		for _, p := range []string{inForcePart, scheduledPart} {
			if id, ok := strings.CutPrefix(token, p); ok {
				part, from, known = p, id, true
			}
		}
		if !known {
			return nil, status.Errorf(codes.InvalidArgument, "page_token: %.80q is none of this list: want a next_page_token of ListOverrides", token)
		}
	}
	resp := &pb.ListOverridesResponse{Generation: generation(cur.Generation)}
	if req.GetPageToken() == "" {
		resp.BreakGlass = s.opts.Feed.BreakGlass()
	}
	room := overridePage{count: size, bytes: maxPageBytes - proto.Size(resp)}
	if part == inForcePart {
		if resp.Overrides, resp.NextPageToken = room.fill(cur.Overrides, inForcePart, from); resp.NextPageToken != "" {
			return resp, nil
		}
		from = ""
	}
	resp.Scheduled, resp.NextPageToken = room.fill(cur.Scheduled, scheduledPart, from)
	return resp, nil
}

// overridePage is the room that is left on a page.
type overridePage struct {
	count, bytes int
	some         bool
}

// fill takes from a list, which is sorted by id, what there is room for, and
// returns the token of what comes next.
func (p *overridePage) fill(list []*pb.Override, part, from string) (out []*pb.Override, next string) {
	first, _ := slices.BinarySearchFunc(list, from, func(o *pb.Override, id string) int { return strings.Compare(o.GetId(), id) })
	for _, o := range list[first:] {
		o = withEtag(o)
		p.count--
		p.bytes -= proto.Size(o)
		if p.count < 0 || p.some && p.bytes < 0 {
			return out, part + o.GetId()
		}
		p.some = true
		out = append(out, o)
	}
	return out, ""
}
