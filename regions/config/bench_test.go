package config_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// BenchmarkValidate100k is what a controller checks: all of 100,000 services
// at the first apply, and one changed service later; in 1,000 zones and in one.
func BenchmarkValidate100k(b *testing.B) {
	for _, zones := range []int{1000, 1} {
		base := bigSet(b, 100_000, zones)
		key := config.Key{Kind: config.KindService, Name: "s777.z" + fmt.Sprint(777%zones) + ".example.test"}
		changed := proto.CloneOf(base.Get(key))
		changed.GetService().Spec.Endpoints[0].Addresses = []string{"192.0.2.1"}
		next, _, err := config.Merge(base, []*pb.Resource{changed}, false)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("all-of-%d-zones", zones), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := config.Validate(base, config.Options{Records: plan.CheckRecords}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("one-in-%d-zones", zones), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := config.Validate(next, config.Options{Base: base, Records: plan.CheckRecords}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLintRecords: a zone's text of the largest size.
func BenchmarkLintRecords(b *testing.B) {
	var text strings.Builder
	for i := 0; text.Len() < config.MaxRecordsSize-64; i++ {
		fmt.Fprintf(&text, "host%d 300 IN A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
	}
	zone := &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{
		Metadata: &pb.Metadata{Name: "example.test"}, Spec: &pb.ZoneSpec{Nameservers: []string{"ns1.example.net"}, Records: text.String()},
	}}}
	config.Default(zone)
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if errs := config.ValidateResource(zone); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}

func bigSet(b *testing.B, n, zones int) *config.Set {
	text := `apiVersion: fairlead/v1
kind: Region
metadata: {name: r0}
spec: {latitude: 50.1, longitude: 8.7}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: r1}
spec: {latitude: 39, longitude: -77.5}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active}
`
	docs, err := config.Load(config.Source{File: "f", Data: []byte(text)})
	if err != nil {
		b.Fatal(err)
	}
	var resources []*pb.Resource
	for _, d := range docs {
		resources = append(resources, d.Resource)
	}
	for z := range zones {
		resources = append(resources, &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{
			Metadata: &pb.Metadata{Name: fmt.Sprintf("z%d.example.test", z)},
			Spec:     &pb.ZoneSpec{Nameservers: []string{"ns1.example.net"}, Records: "@ MX 10 mail.example.net.\n"},
		}}})
	}
	for i := range n {
		zone := fmt.Sprintf("z%d.example.test", i%zones)
		s := &pb.ServiceSpec{Zone: zone, Policy: "nearest"}
		for e := range 2 {
			s.Endpoints = append(s.Endpoints, &pb.Endpoint{
				Name: fmt.Sprintf("e%d", e), Region: fmt.Sprintf("r%d", e), Addresses: []string{fmt.Sprintf("10.%d.%d.%d", e<<4|i>>16, i>>8&255, i&255)},
			})
		}
		resources = append(resources, &pb.Resource{Kind: &pb.Resource_Service{Service: &pb.Service{Metadata: &pb.Metadata{Name: fmt.Sprintf("s%d.%s", i, zone)}, Spec: s}}})
	}
	set, err := config.NewSet(resources)
	if err != nil {
		b.Fatal(err)
	}
	return set
}

// BenchmarkWarnings100k is what an apply of one of 100,000 services costs.
func BenchmarkWarnings100k(b *testing.B) {
	base := bigSet(b, 100_000, 1000)
	changed := proto.CloneOf(base.Get(config.Key{Kind: config.KindService, Name: "s777.z777.example.test"}))
	changed.GetService().Spec.Endpoints[0].Addresses = []string{"192.0.2.1"}
	given := []*pb.Resource{changed}
	next, _, err := config.Merge(base, given, false)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		config.WarningsOf(base, next, given)
	}
}
