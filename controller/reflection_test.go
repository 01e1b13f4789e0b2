package controller_test

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// What grpcurl does, over mutual TLS: whoever may look lists the services and
// has each described, with every method; others do not.
func TestReflection(t *testing.T) {
	s := runSecured(t, etcd(t))
	ask := func(who string, req *reflectionv1.ServerReflectionRequest) (*reflectionv1.ServerReflectionResponse, error) {
		t.Helper()
		stream, err := reflectionv1.NewServerReflectionClient(s.as(who).conn).ServerReflectionInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(req) // Recv tells what is wrong
		resp, err := stream.Recv()
		_ = stream.CloseSend()
		return resp, err
	}
	list := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	resp, err := ask("viewer/v", list)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, svc := range resp.GetListServicesResponse().GetService() {
		names = append(names, svc.GetName())
	}
	for _, want := range []string{
		"fairlead.v1.AgentService", "fairlead.v1.CatalogService", "fairlead.v1.FeedService", "fairlead.v1.InsightService", "fairlead.v1.OverrideService",
		"fairlead.v1.RegionService", "fairlead.v1.ZoneService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not listed: %q", want, names)
		}
	}
	for _, name := range names {
		resp, err := ask("viewer/v", &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}})
		if err != nil {
			t.Fatal(err)
		}
		set := &descriptorpb.FileDescriptorSet{}
		for _, b := range resp.GetFileDescriptorResponse().GetFileDescriptorProto() {
			f := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(b, f); err != nil {
				t.Fatal(err)
			}
			set.File = append(set.File, f)
		}
		files, err := protodesc.NewFiles(set)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		d, err := files.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if svc, ok := d.(protoreflect.ServiceDescriptor); !ok || svc.Methods().Len() == 0 {
			t.Errorf("%s is described as %v", name, d)
		}
	}
	for _, who := range []string{"agent/eu-west/a", "nameserver/eu-west/ns"} {
		if _, err := ask(who, list); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", who, err)
		}
	}
}
