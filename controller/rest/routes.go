package rest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// route is one operation of the OpenAPI document.
type route struct {
	rpc    protoreflect.MethodDescriptor
	query  []string // its query parameters
	body   bool
	method string // of HTTP
}

// routes are the operations, by method and path with {} for every variable.
type routes map[string]*route

var variable = regexp.MustCompile(`\{[^}]*\}`)

func routeKey(method, path string) string {
	return method + " " + variable.ReplaceAllString(path, "{}")
}

// of is the route of a path pattern as grpc-gateway prints it.
func (r routes) of(method, pattern string) *route { return r[routeKey(method, pattern)] }

// readRoutes reads the operations from the OpenAPI document, so that what is
// accepted is what it says.
func readRoutes(doc []byte) (routes, error) {
	var parsed struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct{ Name, In string }
		}
	}
	if err := json.Unmarshal(doc, &parsed); err != nil {
		return nil, err
	}
	out := routes{}
	for path, methods := range parsed.Paths {
		for method, op := range methods {
			rt := &route{method: strings.ToUpper(method)}
			var err error
			if rt.rpc, err = findRPC(op.OperationID); err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			for _, p := range op.Parameters {
				switch p.In {
				case "query":
					rt.query = append(rt.query, p.Name)
				case "body":
					rt.body = true
				}
			}
			key := routeKey(rt.method, path)
			if out[key] != nil {
				return nil, fmt.Errorf("%s is there twice", key)
			}
			out[key] = rt
		}
	}
	return out, nil
}

// findRPC finds the method that an operation id as ZoneService_GetZone names;
// further bindings of a method end in a number.
func findRPC(operation string) (protoreflect.MethodDescriptor, error) {
	service, method, _ := strings.Cut(strings.TrimRight(operation, "0123456789"), "_")
	name := pb.File_fairlead_v1_catalog_service_proto.Package().Append(protoreflect.Name(service))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil, fmt.Errorf("operation %q: %w", operation, err)
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok || s.Methods().ByName(protoreflect.Name(method)) == nil {
		return nil, fmt.Errorf("operation %q is no method of a service", operation)
	}
	return s.Methods().ByName(protoreflect.Name(method)), nil
}

// checkQuery refuses query parameters that the route does not have:
// grpc-gateway would ignore them, and `?kin=Zone` would list everything.
func (r *route) checkQuery(given map[string][]string) error {
	for name, values := range given {
		if slices.Contains(r.query, name) {
			for _, v := range values {
				if !utf8.ValidString(v) {
					return fmt.Errorf("query parameter %s: %.80q is no UTF-8", name, v)
				}
			}
			continue
		}
		want := "none"
		if len(r.query) > 0 {
			want = strings.Join(r.query, ", ")
		}
		if r.body {
			want += "; fields go into the body"
		}
		return fmt.Errorf("query parameter %.80q: there is no such one here; want %s", name, want)
	}
	return nil
}
