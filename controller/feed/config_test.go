package feed

import (
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// setOf is a configuration of one service.
func setOf(service string) (*config.Set, error) {
	docs, err := config.Parse("test.yaml", []byte(`
apiVersion: fairlead/v1
kind: Region
metadata: {name: r}
spec: {latitude: 50, longitude: 8}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec: {nameservers: [ns1.example.test], records: "ns1 A 192.0.2.53"}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: `+service+`}
spec: {zone: example.test, policy: nearest, endpoints: [{name: e, region: r, addresses: [192.0.2.1]}]}
`))
	if err != nil {
		return nil, err
	}
	var resources []*pb.Resource
	for _, d := range docs {
		resources = append(resources, d.Resource)
	}
	return config.NewSet(resources)
}
