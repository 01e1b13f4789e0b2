package cli

// allKindsYAML is one configuration with every kind.
const allKindsYAML = `apiVersion: fairlead/v1
kind: Region
metadata: {name: eu-west, labels: {tier: gold}}
spec: {latitude: 53.35, longitude: -6.26, capacity: 1000, availabilityZones: [a, b]}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: us-east}
spec: {latitude: 38.95, longitude: -77.45}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-eu}
spec: {region: eu-west}
---
apiVersion: fairlead/v1
kind: Nameserver
metadata: {name: ns-1}
spec: {region: eu-west, dns: "127.0.0.1:8053", grpc: "127.0.0.1:7444"}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: port}
spec: {interval: 1m, tcp: {port: 5432}}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {interval: 1s, timeout: 500ms, http: {path: /healthz, host: www.example.test, expectedStatuses: [200, 204]}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec:
  mode: active-active
  bias: {eu-west: 10}
  rules: [{name: nordics, countries: ["NO", SE], regions: [eu-west]}]
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: primary-us}
spec: {mode: active-passive, regions: [us-east, eu-west], minHealthyPercent: 50}
---
apiVersion: fairlead/v1
kind: SafetyPolicy
metadata: {name: default}
spec: {guard: {mode: hold, maxPercent: 40, window: 2m}, healthAges: {frozenAfter: 15s, failOpenAfter: 10m}}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec:
  nameservers: [ns1.example.test]
  records: |
    ns1 A 127.0.0.1
    txt TXT "served by fairlead"
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: www.example.test}
spec:
  zone: example.test
  policy: nearest
  healthCheck: web
  endpoints:
    - {name: eu-1, region: eu-west, addresses: [192.0.2.10, "2001:db8::10"]}
    - {name: eu-2, region: eu-west, addresses: [192.0.2.11]}
    - {name: us-1, region: us-east, addresses: [198.51.100.10]}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: "*.apps.example.test"}
spec:
  zone: example.test
  policy: primary-us
  endpoints:
    - {name: us-1, region: us-east, addresses: [198.51.100.20]}
    - {name: eu-1, region: eu-west, addresses: [192.0.2.20]}
`
