package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func (r *running) resource(kind, name string) *pb.Resource {
	r.t.Helper()
	resp, err := r.GetResource(r.t.Context(), &pb.GetResourceRequest{Kind: kind, Name: name})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.GetResource()
}

func TestGet(t *testing.T) {
	c := run(t, "c1", etcd(t))
	applied := c.apply(base)

	got, err := c.GetResource(t.Context(), &pb.GetResourceRequest{Kind: "svc", Name: "WWW.example.test."})
	if err != nil || got.GetResource().GetService().GetSpec().GetPolicy() != "nearest" || !proto.Equal(got.GetGeneration(), applied.GetGeneration()) {
		t.Errorf("%v, %v", got, err)
	}
	listed := c.list("Service").GetResources()[0]
	if !proto.Equal(got.GetResource(), listed) || config.Metadata(listed).GetEtag() == "" {
		t.Errorf("got %v, listed %v", got.GetResource(), listed)
	}
	region, err := c.GetRegion(t.Context(), &pb.GetRegionRequest{Region: "EU-West"})
	if err != nil || region.GetRegion().GetSpec().GetLatitude() != 53.35 || region.GetRegion().GetMetadata().GetEtag() == "" || region.GetGeneration() == nil {
		t.Errorf("%v, %v", region, err)
	}
	zone, err := c.GetZone(t.Context(), &pb.GetZoneRequest{Zone: "example.test."})
	if err != nil || zone.GetZone().GetStatus().GetSerial() == 0 || zone.GetZone().GetMetadata().GetEtag() == "" {
		t.Errorf("%v, %v", zone, err)
	}

	_, err = c.GetResource(t.Context(), &pb.GetResourceRequest{Kind: "Service", Name: "wwww.example.test"})
	wantCode(t, err, codes.NotFound, `no Service "wwww.example.test"`, `did you mean "www.example.test"?`)
	_, err = c.GetRegion(t.Context(), &pb.GetRegionRequest{Region: "eu-wst"})
	wantCode(t, err, codes.NotFound, `no Region "eu-wst"`, `did you mean "eu-west"?`)
	_, err = c.GetZone(t.Context(), &pb.GetZoneRequest{Zone: "test"})
	wantCode(t, err, codes.NotFound, `no Zone "test"`)
	_, err = c.GetZone(t.Context(), &pb.GetZoneRequest{})
	wantCode(t, err, codes.InvalidArgument, "zone: required")
	_, err = c.GetResource(t.Context(), &pb.GetResourceRequest{Kind: "Servise", Name: "x"})
	wantCode(t, err, codes.InvalidArgument, "kind: ", `did you mean "services"?`)
	_, err = c.GetResource(t.Context(), &pb.GetResourceRequest{Name: "x"})
	wantCode(t, err, codes.InvalidArgument, "kind: ")
}

// Pages of resources, regions and zones are cut by the same code: each holds
// what comes next, whatever changes in between.
func TestPages(t *testing.T) {
	c := run(t, "c1", etcd(t))
	var text strings.Builder
	text.WriteString(base)
	for i := range 7 {
		fmt.Fprintf(&text, "---\napiVersion: fairlead/v1\nkind: Region\nmetadata: {name: r-%d}\nspec: {latitude: 1, longitude: %d}\n", i, i)
		fmt.Fprintf(&text, "---\napiVersion: fairlead/v1\nkind: Zone\nmetadata: {name: z%d.test}\nspec: {nameservers: [ns1.example.test]}\n", i)
	}
	c.apply(text.String())
	list := map[string]func(size int32, token string) ([]string, string, error){
		"resources": func(size int32, token string) (names []string, next string, err error) {
			resp, err := c.ListResources(t.Context(), &pb.ListResourcesRequest{PageSize: size, PageToken: token})
			for _, r := range resp.GetResources() {
				names = append(names, config.KeyOf(r).String())
			}
			return names, resp.GetNextPageToken(), err
		},
		"regions": func(size int32, token string) (names []string, next string, err error) {
			resp, err := c.ListRegions(t.Context(), &pb.ListRegionsRequest{PageSize: size, PageToken: token})
			for _, r := range resp.GetRegions() {
				names = append(names, r.GetMetadata().GetName())
			}
			return names, resp.GetNextPageToken(), err
		},
		"zones": func(size int32, token string) (names []string, next string, err error) {
			resp, err := c.ListZones(t.Context(), &pb.ListZonesRequest{PageSize: size, PageToken: token})
			for _, z := range resp.GetZones() {
				names = append(names, z.GetMetadata().GetName())
			}
			return names, resp.GetNextPageToken(), err
		},
	}
	for name, want := range map[string]int{"resources": 21, "regions": 9, "zones": 8} {
		all, next, err := list[name](0, "")
		if err != nil || len(all) != want || next != "" {
			t.Errorf("%s: %v, %q, %v", name, all, next, err)
		}
		for size := int32(1); size < 11; size += 3 {
			var paged []string
			for token := ""; ; {
				names, next, err := list[name](size, token)
				if err != nil || len(names) > int(size) || len(names) == 0 {
					t.Fatalf("%s, page of %d after %q: %v, %v", name, size, token, names, err)
				}
				paged = append(paged, names...)
				if token = next; token == "" {
					break
				}
			}
			if !slices.Equal(paged, all) {
				t.Errorf("%s in pages of %d: %v, want %v", name, size, paged, all)
			}
		}
		_, _, err = list[name](-1, "")
		wantCode(t, err, codes.InvalidArgument, "page_size: -1")
		for _, token := range []string{"x", "overrides/a", "services"} {
			_, _, err = list[name](0, token)
			wantCode(t, err, codes.InvalidArgument, "page_token", "next_page_token of the same kind")
		}
	}
	_, _, err := list["regions"](0, "zones/z1.test")
	wantCode(t, err, codes.InvalidArgument, "page_token")

	// The page goes on where it stopped, also when that is gone.
	first, next, _ := list["zones"](3, "")
	if _, err := c.DeleteResource(t.Context(), &pb.DeleteResourceRequest{Kind: "Zone", Name: strings.TrimPrefix(next, "zones/")}); err != nil {
		t.Fatal(err)
	}
	rest, _, err := list["zones"](0, next)
	if err != nil || !slices.Equal(append(first, rest...), []string{"example.test", "z0.test", "z1.test", "z3.test", "z4.test", "z5.test", "z6.test"}) {
		t.Errorf("%v, then %v, %v", first, rest, err)
	}
}

// update makes an update of www with what edit sets.
func update(paths string, edit func(*pb.Service)) *pb.UpdateResourceRequest {
	svc := &pb.Service{Metadata: &pb.Metadata{Name: "www.example.test"}, Spec: &pb.ServiceSpec{}}
	if edit != nil {
		edit(svc)
	}
	req := &pb.UpdateResourceRequest{Resource: &pb.Resource{Kind: &pb.Resource_Service{Service: svc}}}
	if paths != "" {
		req.UpdateMask = &fieldmaskpb.FieldMask{Paths: strings.Fields(paths)}
	}
	return req
}

func TestUpdateResource(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	before := c.resource("Service", "www.example.test")
	serial := c.resource("Zone", "example.test").GetZone().GetStatus().GetSerial()

	// The fields that are named change, and no other.
	req := update("spec.ttl spec.all_down metadata.labels", func(s *pb.Service) {
		s.Metadata.Labels = map[string]string{"team": "web"}
		s.Spec.Ttl, s.Spec.Policy, s.Spec.AllDown = durationpb.New(60e9), "ignored", pb.AllDown_ALL_DOWN_KEEP_LAST
	})
	req.RequestId, req.Reason = "update-1", "why"
	resp, err := c.UpdateResource(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	want := proto.CloneOf(before)
	want.GetService().Metadata.Labels = map[string]string{"team": "web"}
	want.GetService().Spec.Ttl, want.GetService().Spec.AllDown = durationpb.New(60e9), pb.AllDown_ALL_DOWN_KEEP_LAST
	want = config.WithEtag(want)
	if !proto.Equal(resp.GetResource(), want) {
		t.Errorf("updated to %v, want %v", resp.GetResource(), want)
	}
	if now := c.resource("Service", "www.example.test"); !proto.Equal(now, want) {
		t.Errorf("it is %v, want %v", now, want)
	}
	if now := c.resource("Zone", "example.test").GetZone().GetStatus().GetSerial(); now <= serial {
		t.Errorf("the zone's serial is %d, and was %d", now, serial)
	}

	// The same request again is told the same, and changes nothing; the order
	// and the spelling of the mask do not make it another.
	req.UpdateMask.Paths = []string{"metadata.labels", "spec.allDown", "spec.ttl"}
	again, err := c.UpdateResource(t.Context(), req)
	if err != nil || !proto.Equal(again, resp) {
		t.Errorf("repeated: %v, %v", again, err)
	}
	req.UpdateMask.Paths = req.UpdateMask.Paths[1:]
	_, err = c.UpdateResource(t.Context(), req)
	wantCode(t, err, codes.AlreadyExists, "another request")

	// A field that is named and not set gets its default.
	resp, err = c.UpdateResource(t.Context(), update("spec.ttl metadata.labels", nil))
	if err != nil || resp.GetResource().GetService().GetSpec().GetTtl().AsDuration() != config.DefaultServiceTTL || len(config.Metadata(resp.GetResource()).GetLabels()) > 0 {
		t.Errorf("%v, %v", resp, err)
	}
	// What changes nothing makes no generation.
	same, err := c.UpdateResource(t.Context(), update("spec.ttl", nil))
	if err != nil || !proto.Equal(same.GetGeneration(), resp.GetGeneration()) || !proto.Equal(same.GetResource(), resp.GetResource()) {
		t.Errorf("%v, %v, want %v", same, err, resp)
	}
	// All of it.
	req = &pb.UpdateResourceRequest{Resource: resources(t, www)[0], UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"*"}}}
	resp, err = c.UpdateResource(t.Context(), req)
	if err != nil || !proto.Equal(resp.GetResource(), before) {
		t.Errorf("%v, %v, want %v", resp, err, before)
	}
	// A zone keeps its status, raised.
	zone := &pb.Zone{Metadata: &pb.Metadata{Name: "example.test"}, Spec: &pb.ZoneSpec{Records: "ns1 A 192.0.2.54"}, Status: &pb.ZoneStatus{Serial: 7}}
	serial = c.resource("Zone", "example.test").GetZone().GetStatus().GetSerial()
	resp, err = c.UpdateResource(t.Context(), &pb.UpdateResourceRequest{
		Resource:   &pb.Resource{Kind: &pb.Resource_Zone{Zone: zone}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"spec.records"}},
	})
	if err != nil || resp.GetResource().GetZone().GetStatus().GetSerial() <= serial || !proto.Equal(resp.GetResource(), c.resource("Zone", "example.test")) {
		t.Errorf("%v, %v; the serial was %d", resp, err, serial)
	}
}

func TestUpdateResourceRefuses(t *testing.T) {
	c := run(t, "c1", etcd(t))
	_, err := c.UpdateResource(t.Context(), update("spec.ttl", nil))
	wantCode(t, err, codes.NotFound, `no Service "www.example.test"`)
	c.apply(base)
	before := c.list("")

	for _, r := range []struct {
		req   *pb.UpdateResourceRequest
		code  codes.Code
		words []string
	}{
		{&pb.UpdateResourceRequest{}, codes.InvalidArgument, []string{"resource: required"}},
		{&pb.UpdateResourceRequest{Resource: &pb.Resource{}}, codes.InvalidArgument, []string{"resource: required"}},
		{update("", nil), codes.InvalidArgument, []string{"update_mask: required: name the fields to change, as spec.ttl"}},
		{update("spec.ttl", func(s *pb.Service) { s.Metadata.Name = "" }), codes.InvalidArgument, []string{"metadata.name: required"}},
		{update("spec.ttl", func(s *pb.Service) { s.Metadata.Name = "www.exampel.test" }), codes.NotFound, []string{`did you mean "www.example.test"?`}},
		{update("spec.ttl", func(s *pb.Service) { s.Metadata.Etag = "0123" }), codes.Aborted, []string{"nothing was changed", "services/www.example.test", `not "0123"`, "read it again"}},
		{update("spec.policy", func(s *pb.Service) { s.Spec.Policy = "neerest" }), codes.InvalidArgument, []string{"spec.policy", `did you mean "nearest"?`}},
		{update("spec.endpoints", nil), codes.InvalidArgument, []string{"spec.endpoints"}},
		{update("spec", nil), codes.InvalidArgument, []string{"spec.zone"}},
	} {
		_, err := c.UpdateResource(t.Context(), r.req)
		wantCode(t, err, r.code, r.words...)
	}
	// Every path that is wrong, at once.
	_, err = c.UpdateResource(t.Context(), update("spec.tll spec.ttl status nothing", nil))
	wantCode(t, err, codes.InvalidArgument, "3 errors", "nothing was changed")
	var fields, said []string
	for _, d := range status.Convert(err).Details() {
		for _, v := range d.(*errdetails.BadRequest).GetFieldViolations() {
			fields, said = append(fields, v.GetField()), append(said, v.GetDescription())
		}
	}
	for i, want := range []string{`"spec.tll": spec has no field "tll" (did you mean "ttl"?)`, `"status": the resource has no field "status"`, `"nothing": the resource has no field "nothing"`} {
		if len(said) != 3 || fields[i] != "services/www.example.test update_mask" || !strings.HasPrefix(said[i], want) {
			t.Errorf("violations of %v: %q, want %q", fields, said, want)
		}
	}
	if after := c.list(""); !proto.Equal(after, before) {
		t.Errorf("changed: %v, was %v", after, before)
	}
}

// An etag guards an update and a deletion: of two callers that have read the
// same, one changes it, and the other is told.
func TestEtags(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	etag := config.Metadata(c.resource("Service", "www.example.test")).GetEtag()
	set := func(seconds int64) *pb.UpdateResourceRequest {
		return update("spec.ttl", func(s *pb.Service) {
			s.Metadata.Etag, s.Spec.Ttl = etag, &durationpb.Duration{Seconds: seconds}
		})
	}
	errs := make(chan error, 8)
	for i := range 8 {
		go func() {
			_, err := c.UpdateResource(t.Context(), set(int64(100+i)))
			errs <- err
		}()
	}
	won := 0
	for range 8 {
		if err := <-errs; err == nil {
			won++
		} else {
			wantCode(t, err, codes.Aborted, "was changed since it was read")
		}
	}
	if won != 1 {
		t.Errorf("%d updates of one etag", won)
	}
	del := &pb.DeleteResourceRequest{Kind: "Service", Name: "www.example.test", Etag: etag}
	_, err := c.DeleteResource(t.Context(), del)
	wantCode(t, err, codes.Aborted, "was changed since it was read")
	del.Etag, del.RequestId = config.Metadata(c.resource("Service", "www.example.test")).GetEtag(), "delete-1"
	if _, err := c.DeleteResource(t.Context(), del); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteResource(t.Context(), del); err != nil {
		t.Errorf("repeated: %v", err)
	}
	del.RequestId = ""
	_, err = c.DeleteResource(t.Context(), del)
	wantCode(t, err, codes.NotFound, `no Service "www.example.test"`)
}
