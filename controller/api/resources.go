package api

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/access"
	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	maxPage = 1000
	// zonePage is the default page of zones, which can be large.
	zonePage = 100
	// maxPageBytes keeps a page below what gRPC's clients accept by default,
	// 4 MiB, unless one resource is larger.
	maxPageBytes = 3 << 20
	// maxSuggest is among how many names a missing one's neighbour is looked
	// for: a caller that asks for what is not there shall cost little.
	maxSuggest = 5000
)

// page is what a caller says of the page that it wants.
type page interface {
	GetPageSize() int32
	GetPageToken() string
}

// pageSize is how much a caller wants on a page.
func pageSize(p page, defaultSize int) (int, error) {
	switch size := int(p.GetPageSize()); {
	case size < 0:
		return 0, status.Errorf(codes.InvalidArgument, "page_size: %d, want 0 (the default, %d) to %d", size, defaultSize, maxPage)
	case size == 0:
		return defaultSize, nil
	default:
		return min(size, maxPage), nil
	}
}

// list returns one page of the resources of some kinds, by kind and name, and
// the token of the next. A token is the key of the resource that comes next,
// so that it stays good in later generations.
func list(set *config.Set, kinds []string, p page, defaultSize int) (resources []*pb.Resource, next string, err error) {
	size, err := pageSize(p, defaultSize)
	if err != nil {
		return nil, "", err
	}
	var start config.Key
	if token := p.GetPageToken(); token != "" {
		if start, err = config.ParseKey(token); err != nil || !slices.Contains(kinds, start.Kind) {
			return nil, "", status.Errorf(codes.InvalidArgument, "page_token: %.80q is none of this list: want a next_page_token of the same kind", token)
		}
		kinds = kinds[slices.Index(kinds, start.Kind):]
	}
	bytes := 0
	for _, kind := range kinds {
		all := set.ByKind(kind)
		if kind == start.Kind {
			from, _ := slices.BinarySearchFunc(all, start.Name, func(r *pb.Resource, name string) int {
				return strings.Compare(config.Name(r), name)
			})
			all = all[from:]
		}
		for _, stored := range all {
			r := config.WithEtag(stored)
			bytes += proto.Size(r)
			if n := len(resources); n == size || n > 0 && bytes > maxPageBytes {
				return resources, config.KeyOf(r).String(), nil
			}
			resources = append(resources, r)
		}
	}
	return resources, "", nil
}

// keyOf is the key of what a caller names.
func keyOf(kind, name string) config.Key {
	return config.Key{Kind: kind, Name: strings.ToLower(strings.TrimSuffix(name, "."))}
}

// find returns a resource as it is stored, or NOT_FOUND with the name that was
// probably meant. field is what the request calls the name.
func find(set *config.Set, key config.Key, field string) (*pb.Resource, error) {
	if key.Name == "" {
		return nil, status.Errorf(codes.InvalidArgument, "%s: required", field)
	}
	if r := set.Get(key); r != nil {
		return r, nil
	}
	suggestion := ""
	if set.Count(key.Kind) <= maxSuggest {
		suggestion = config.Suggest(key.Name, set.Names(key.Kind))
	}
	return nil, status.Errorf(codes.NotFound, "no %s %.255q%s", key.Kind, key.Name, suggestion)
}

// checkEtag refuses a change of a resource that its caller has read in another
// state; an empty etag says nothing.
func checkEtag(stored *pb.Resource, etag string) error {
	if etag == "" {
		return nil
	}
	if now := config.Etag(stored); now != etag {
		return status.Errorf(codes.Aborted, "nothing was changed: %s was changed since it was read (its etag is %s and not %.64q): read it again, or leave the etag out",
			config.KeyOf(stored), now, etag)
	}
	return nil
}

// GetResource implements pb.CatalogServiceServer.
func (s *Server) GetResource(_ context.Context, req *pb.GetResourceRequest) (*pb.GetResourceResponse, error) {
	kind, err := config.ParseKind(req.GetKind())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "kind: %v", err)
	}
	r, gen, err := s.read(kind, req.GetName(), "name")
	if err != nil {
		return nil, err
	}
	return &pb.GetResourceResponse{Resource: r, Generation: gen}, nil
}

// read returns a resource of the published generation, as the API shows it.
func (s *Server) read(kind, name, field string) (*pb.Resource, *pb.Generation, error) {
	cur, err := s.current()
	if err != nil {
		return nil, nil, err
	}
	r, err := find(cur.Set, keyOf(kind, name), field)
	if err != nil {
		return nil, nil, err
	}
	return config.WithEtag(r), generation(cur.Generation), nil
}

// GetRegion implements pb.RegionServiceServer.
func (s *Server) GetRegion(_ context.Context, req *pb.GetRegionRequest) (*pb.GetRegionResponse, error) {
	r, gen, err := s.read(config.KindRegion, req.GetRegion(), "region")
	if err != nil {
		return nil, err
	}
	return &pb.GetRegionResponse{Region: r.GetRegion(), Generation: gen}, nil
}

// ListRegions implements pb.RegionServiceServer.
func (s *Server) ListRegions(_ context.Context, req *pb.ListRegionsRequest) (*pb.ListRegionsResponse, error) {
	cur, err := s.current()
	if err != nil {
		return nil, err
	}
	resources, next, err := list(cur.Set, []string{config.KindRegion}, req, maxPage)
	if err != nil {
		return nil, err
	}
	resp := &pb.ListRegionsResponse{NextPageToken: next, Generation: generation(cur.Generation)}
	for _, r := range resources {
		resp.Regions = append(resp.Regions, r.GetRegion())
	}
	return resp, nil
}

// GetZone implements pb.ZoneServiceServer.
func (s *Server) GetZone(_ context.Context, req *pb.GetZoneRequest) (*pb.GetZoneResponse, error) {
	r, gen, err := s.read(config.KindZone, req.GetZone(), "zone")
	if err != nil {
		return nil, err
	}
	return &pb.GetZoneResponse{Zone: r.GetZone(), Generation: gen}, nil
}

// ListZones implements pb.ZoneServiceServer.
func (s *Server) ListZones(_ context.Context, req *pb.ListZonesRequest) (*pb.ListZonesResponse, error) {
	cur, err := s.current()
	if err != nil {
		return nil, err
	}
	resources, next, err := list(cur.Set, []string{config.KindZone}, req, zonePage)
	if err != nil {
		return nil, err
	}
	resp := &pb.ListZonesResponse{NextPageToken: next, Generation: generation(cur.Generation)}
	for _, r := range resources {
		resp.Zones = append(resp.Zones, r.GetZone())
	}
	return resp, nil
}

// UpdateResource implements pb.CatalogServiceServer.
func (s *Server) UpdateResource(ctx context.Context, req *pb.UpdateResourceRequest) (*pb.UpdateResourceResponse, error) {
	given := req.GetResource()
	kind := config.Kind(given)
	if kind == "" {
		return nil, status.Error(codes.InvalidArgument, "resource: required, of a kind that this version knows")
	}
	key := keyOf(kind, config.Name(given))
	m, err := readMask(given, req.GetUpdateMask().GetPaths())
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &pb.UpdateResourceResponse{}
	edit := func(v *catalog.Version) (catalog.Edit, error) {
		stored, err := find(v.Set, key, "resource: metadata.name")
		if err != nil {
			return catalog.Edit{}, err
		}
		if err := checkEtag(stored, config.Metadata(given).GetEtag()); err != nil {
			return catalog.Edit{}, err
		}
		next, diff, err := config.Merge(v.Set, []*pb.Resource{m.apply(stored, given)}, false)
		if err != nil {
			return catalog.Edit{}, err
		}
		if err := access.Changes(ctx, diff.Changes); err != nil {
			return catalog.Edit{}, err
		}
		e, err := s.finish(v, next, diff)
		if err != nil {
			return catalog.Edit{}, err
		}
		if e.Set != nil {
			stored = e.Set.Get(key) // with its serial, if it is a zone
		}
		resp.Resource = config.WithEtag(stored)
		return e, nil
	}
	out, err := s.change(ctx, change{
		id: req.GetRequestId(), action: "update", reason: req.GetReason(),
		request:  &pb.UpdateResourceRequest{Resource: given, UpdateMask: m.proto(), Reason: req.GetReason()},
		response: resp, edit: edit,
		short: func() proto.Message { return &pb.UpdateResourceResponse{} },
	})
	if err != nil {
		return nil, err
	}
	if r := out.Set.Get(key); resp.Resource == nil && r != nil {
		resp.Resource = config.WithEtag(r) // it was too large to be kept
	}
	resp.Generation = generation(out.Generation)
	resp.Convergence = s.wait(ctx, out, req.GetWait().AsDuration())
	return resp, nil
}
