package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

func document(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// internal services, and that of nameservers, have no routes.
var internal = []protoreflect.FullName{"fairlead.v1.AgentService", "fairlead.v1.FeedService", "fairlead.v1.BreakGlassService"}

func TestEveryPublicRPCHasARoute(t *testing.T) {
	rts, err := readRoutes(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	routed := map[protoreflect.FullName]bool{}
	for _, r := range rts {
		routed[r.rpc.FullName()] = true
	}
	rpcs := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("fairlead.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			public := !slices.Contains(internal, s.FullName())
			for j := range s.Methods().Len() {
				name := s.Methods().Get(j).FullName()
				rpcs++
				if routed[name] != public {
					t.Errorf("%s: public %v, has a route %v (proto/gateway.yaml)", name, public, routed[name])
				}
			}
		}
		return true
	})
	if rpcs < 15 {
		t.Fatalf("only %d methods are registered", rpcs)
	}
}

// binding is one rule of the gateway's configuration.
type binding struct {
	Selector, Get, Post, Patch, Delete, Put string
	AdditionalBindings                      []binding `yaml:"additional_bindings"`
}

func (b binding) route() string {
	for method, path := range map[string]string{"GET": b.Get, "POST": b.Post, "PATCH": b.Patch, "DELETE": b.Delete, "PUT": b.Put} {
		if path != "" {
			return routeKey(method, path)
		}
	}
	return ""
}

func TestDocumentHasTheRoutesOfTheConfiguration(t *testing.T) {
	b, err := os.ReadFile("../../proto/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var conf struct{ HTTP struct{ Rules []binding } }
	if err := yaml.Unmarshal(b, &conf); err != nil {
		t.Fatal(err)
	}
	rts, err := readRoutes(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, rule := range conf.HTTP.Rules {
		for _, b := range append([]binding{rule}, rule.AdditionalBindings...) {
			key := b.route()
			seen[key] = true
			if r := rts[key]; r == nil || string(r.rpc.FullName()) != rule.Selector {
				t.Errorf("%s of %s is not in the document: run make generate", key, rule.Selector)
			}
		}
	}
	for key := range rts {
		if !seen[key] {
			t.Errorf("%s is in the document, and not in the configuration: run make generate", key)
		}
	}
}

func TestEveryRouteReachesItsRPC(t *testing.T) {
	var mu sync.Mutex
	var reached string
	note := func(method string) {
		mu.Lock()
		defer mu.Unlock()
		reached = method
	}
	unimplemented := &services{} // and no regions
	r := start(t, unimplemented, func(o *Options) {
		o.Unary = []grpc.UnaryServerInterceptor{func(ctx context.Context, req any, i *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			note(i.FullMethod)
			return next(ctx, req)
		}}
		o.Stream = []grpc.StreamServerInterceptor{func(srv any, ss grpc.ServerStream, i *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			note(i.FullMethod)
			return next(srv, ss)
		}}
	}, nil)
	for path, methods := range document(t)["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			method = strings.ToUpper(method)
			reached = ""
			body := ""
			if r.rest.routes[routeKey(method, path)].body {
				body = "{}"
			}
			a := r.do(method, variable.ReplaceAllString(path, "x"), body)
			rpc := r.rest.routes[routeKey(method, path)].rpc
			if want := "/" + string(rpc.Parent().FullName()) + "/" + string(rpc.Name()); reached != want {
				t.Errorf("%s %s reached %q, want %s: %s", method, path, reached, want, a.body)
			}
		}
	}
}

// TestDocumentIsWhole checks what a reader of an OpenAPI 2.0 document relies on.
func TestDocumentIsWhole(t *testing.T) {
	doc := document(t)
	info := doc["info"].(map[string]any)
	if doc["swagger"] != "2.0" || info["title"] != "Fairlead" || info["version"] == "" || info["description"] == "" {
		t.Errorf("head: %v %v", doc["swagger"], info)
	}
	definitions := doc["definitions"].(map[string]any)
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				name, ok := strings.CutPrefix(ref, "#/definitions/")
				if !ok || definitions[name] == nil {
					t.Errorf("%s: %s leads nowhere", at, ref)
				}
			}
			for k, w := range v {
				walk(at+"/"+k, w)
			}
		case []any:
			for _, w := range v {
				walk(at, w)
			}
		}
	}
	walk("", doc)
	ids := map[string]bool{}
	for path, methods := range doc["paths"].(map[string]any) {
		for method, op := range methods.(map[string]any) {
			at, op := method+" "+path, op.(map[string]any)
			id, _ := op["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s: operation id %q is empty or there twice", at, id)
			}
			ids[id] = true
			if s, _ := op["summary"].(string); s == "" {
				t.Errorf("%s: no summary", at)
			}
			responses := op["responses"].(map[string]any)
			for _, code := range []string{"200", "400", "404", "503", "default"} {
				r, _ := responses[code].(map[string]any)
				if r["schema"] == nil || r["description"] == "" {
					t.Errorf("%s: response %s: %v", at, code, r)
				}
				if ref := r["schema"].(map[string]any)["$ref"]; code != "200" && ref != "#/definitions/Status" {
					t.Errorf("%s: response %s is a %v", at, code, ref)
				}
			}
			var declared []string
			params, _ := op["parameters"].([]any)
			for _, p := range params {
				if p := p.(map[string]any); p["in"] == "path" {
					declared = append(declared, "{"+p["name"].(string)+"}")
				}
			}
			slices.Sort(declared)
			inPath := variable.FindAllString(path, -1)
			slices.Sort(inPath)
			if !slices.Equal(declared, inPath) {
				t.Errorf("%s: declares %v", at, declared)
			}
		}
	}
	for _, tag := range doc["tags"].([]any) {
		if name := tag.(map[string]any)["name"]; name == "AgentService" || name == "FeedService" {
			t.Errorf("%v is internal", name)
		}
	}
	for _, name := range []string{"ReportRequest", "SubscribeRequest", "Manifest"} {
		if definitions[name] != nil {
			t.Errorf("%s is internal", name)
		}
	}
}

func TestDocumentIsServed(t *testing.T) {
	r := start(t, newServices(), nil, nil)
	a := r.do(http.MethodGet, openAPIPath, "")
	if a.StatusCode != 200 || a.body != string(openAPI) || a.Header.Get("Content-Type") != jsonType {
		t.Errorf("%s, %d bytes, %q", a.Status, len(a.body), a.Header.Get("Content-Type"))
	}
	if again := r.do(http.MethodGet, openAPIPath, "", "If-None-Match: "+a.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("again: %s", again.Status)
	}
	post := r.do(http.MethodPost, openAPIPath, "{}")
	r.refused(post, http.StatusMethodNotAllowed, codes.Unimplemented, "GET or HEAD")
}

func TestReadRoutesRefuses(t *testing.T) {
	for _, doc := range []string{
		`{`,
		`{"paths": {"/v1/x": {"get": {"operationId": "NoService_Get"}}}}`,
		`{"paths": {"/v1/x": {"get": {"operationId": "ZoneService_Burn"}}}}`,
		`{"paths": {"/v1/x": {"get": {"operationId": "Region_Get"}}}}`,
		`{"paths": {"/v1/{a}": {"get": {"operationId": "ZoneService_GetZone"}}, "/v1/{b}": {"get": {"operationId": "ZoneService_GetZone2"}}}}`,
	} {
		if _, err := readRoutes([]byte(doc)); err == nil {
			t.Errorf("%s is read", doc)
		}
	}
}
