package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestReads(t *testing.T) {
	s := newServices()
	r := start(t, s, nil, nil)
	a := r.do(http.MethodGet, "/v1/regions/eu-west", "")
	var got pb.GetRegionResponse
	if err := (&marshaler{}).Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 {
		t.Fatalf("%s %s", a.Status, a.body)
	}
	same(t, &got, `{"region": {"metadata": {"name": "eu-west"}, "spec": {"latitude": 53.3, "longitude": 0, "availabilityZones": ["a"]}},
		"generation": {"epoch": "1", "revision": "7"}}`)
	for _, want := range []string{`"availabilityZones"`, `"longitude"`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in %s", want, a.body)
		}
	}
	if strings.Contains(a.body, "capacity") {
		t.Errorf("a zero value is there: %s", a.body)
	}
	head := r.do(http.MethodHead, "/v1/regions/eu-west", "")
	if head.StatusCode != 200 || head.body != "" {
		t.Errorf("HEAD: %s %q", head.Status, head.body)
	}
	for path, want := range map[string]string{
		"/v1/zones/example.test":                                   `{"zone": "example.test"}`,
		"/v1/zones/a%2Fb":                                          `{"zone": "a/b"}`,
		"/v1/zones/%2A.example.test":                               `{"zone": "*.example.test"}`,
		"/v1/zones/*.example.test":                                 `{"zone": "*.example.test"}`,
		"/v1/resources?kind=Zone&pageSize=3":                       `{"kind": "Zone", "pageSize": 3}`,
		"/v1/resources/Zone?pageToken=x":                           `{"kind": "Zone", "pageToken": "x"}`,
		"/v1/generations:diff?from.epoch=1&from.revision=5":        `{"from": {"epoch": "1", "revision": "5"}}`,
		"/v1/generations:diff?from.revision=5&to.revision=1234567": `{"from": {"revision": "5"}, "to": {"revision": "1234567"}}`,
	} {
		if a := r.do(http.MethodGet, path, ""); a.StatusCode != 200 {
			t.Errorf("%s: %s %s", path, a.Status, a.body)
			continue
		}
		same(t, s.noted(), want)
	}
}

func TestWrites(t *testing.T) {
	s := newServices()
	r := start(t, s, nil, nil)
	a := r.do(http.MethodPost, "/v1/regions/eu-west:drain", `{"reason": "maintenance", "expireAfter": "90s", "availabilityZone": "a"}`)
	if a.StatusCode != 200 || !strings.Contains(a.body, "OVERRIDE_ACTION_DRAIN") {
		t.Errorf("drain: %s %s", a.Status, a.body)
	}
	same(t, s.noted(), `{"region": "eu-west", "reason": "maintenance", "expireAfter": "90s", "availabilityZone": "a"}`)
	update := `{"resource": {"service": {"metadata": {"name": "*.example.test", "etag": "x"}, "spec": {"ttl": "60s"}}}, "updateMask": "spec.ttl,spec.allDown"}`
	for _, kind := range []string{"Service", "services", "svc"} {
		s.note(nil)
		if a := r.do(http.MethodPatch, "/v1/resources/"+kind+"/%2A.example.test", update, "Content-Type: application/json; charset=utf-8"); a.StatusCode != 200 {
			t.Errorf("%s: %s %s", kind, a.Status, a.body)
		}
		same(t, s.noted(), update)
	}
	for _, mask := range []string{`"updateMask" : "*" `, `"reason": "\"*\"", "update_mask":"*"`} {
		if a := r.do(http.MethodPatch, "/v1/resources/health-check/web", "{"+mask+"}"); a.StatusCode != 200 {
			t.Errorf("%s %s", a.Status, a.body)
		}
		got := s.noted().(*pb.UpdateResourceRequest)
		if got.GetResource().GetHealthCheck().GetMetadata().GetName() != "web" || !slices.Equal(got.GetUpdateMask().GetPaths(), []string{"*"}) {
			t.Errorf("%s: %v", mask, got)
		}
	}
	r.refused(r.do(http.MethodDelete, "/v1/resources/Zone/example.test?reason=old&etag=e&requestId=r", ""),
		http.StatusBadRequest, codes.FailedPrecondition, "refers to it")
	same(t, s.noted(), `{"kind": "Zone", "name": "example.test", "reason": "old", "etag": "e", "requestId": "r"}`)
}

func TestRefusals(t *testing.T) {
	r := start(t, newServices(), nil, nil)
	drain := "/v1/regions/eu-west:drain"
	for _, c := range []struct {
		method, path, body string
		headers            []string
		http               int
		code               codes.Code
		says               string
	}{
		{"GET", "/v1/regions/mars", "", nil, 404, codes.NotFound, `no region "mars"`},
		{"GET", "/v1/overrides", "", nil, 501, codes.Unimplemented, ""},
		{"GET", "/v1/", "", nil, 404, codes.NotFound, "/v1/openapi.json"},
		{"GET", "/v1/nothing", "", nil, 404, codes.NotFound, "/v1/openapi.json"},
		{"GET", "/v1/regions/", "", nil, 404, codes.NotFound, "/v1/openapi.json"},
		{"GET", "/v1/regions/a/b", "", nil, 404, codes.NotFound, ""},
		{"GET", "/v1/regions/a:burn", "", nil, 404, codes.NotFound, "a:burn"},
		{"GET", "/v1/agents:report", "", nil, 404, codes.NotFound, ""},
		{"GET", "/v1/zones/%FF", "", nil, 400, codes.InvalidArgument, "UTF-8"},
		{"GET", "/v1/explain?name=%FF", "", nil, 400, codes.InvalidArgument, "UTF-8"},
		{"GET", "/v1/explain?name=%zz", "", nil, 400, codes.InvalidArgument, "%zz"},
		{"GET", "/v1/resources?kin=Zone", "", nil, 400, codes.InvalidArgument, `"kin": there is no such one here; want kind, name, pageSize, pageToken`},
		{"GET", "/v1/resources?kind=a&kind=b", "", nil, 400, codes.InvalidArgument, "kind"},
		{"GET", "/v1/regions?pageSize=many", "", nil, 400, codes.InvalidArgument, "many"},
		{"GET", "/v1/status?x=1", "", nil, 400, codes.InvalidArgument, "want none"},
		{"GET", "/v1/status", "{}", nil, 400, codes.InvalidArgument, "no body"},
		{"DELETE", "/v1/resources/Zone/a", "{}", nil, 400, codes.InvalidArgument, "no body"},
		{"POST", drain + "?reason=x", "{}", nil, 400, codes.InvalidArgument, "into the body"},
		{"POST", drain, `{"raeson": "x"}`, nil, 400, codes.InvalidArgument, `unknown field "raeson"`},
		{"POST", drain, `{"reason": "x", "reason": "y"}`, nil, 400, codes.InvalidArgument, "duplicate"},
		{"POST", drain, `{"reason": 7}`, nil, 400, codes.InvalidArgument, "body: (line 1:12)"},
		{"POST", drain, `{"reason": "x"} {}`, nil, 400, codes.InvalidArgument, "body: "},
		{"POST", drain, `reason`, nil, 400, codes.InvalidArgument, "body: syntax error"},
		{"POST", drain, `{"wait": "soon"}`, nil, 400, codes.InvalidArgument, "soon"},
		{"POST", drain, `{"region": "us-east", "reason": "x"}`, nil, 400, codes.InvalidArgument, `region is "us-east", and the path says "eu-west"`},
		{"POST", drain, `{"` + strings.Repeat("x", 5000) + `": 1}`, nil, 400, codes.InvalidArgument, "…"},
		{"POST", drain, "", nil, 400, codes.InvalidArgument, "1 error"},
		{"POST", drain, "{}", []string{"Content-Type: "}, 415, codes.InvalidArgument, `content type ""; want application/json`},
		{"POST", drain, "", []string{"Content-Type: "}, 415, codes.InvalidArgument, "also of an empty body"},
		{"POST", drain, "{}", []string{"Content-Type: text/plain"}, 415, codes.InvalidArgument, "text/plain"},
		{"POST", drain, "reason=x", []string{"Content-Type: application/x-www-form-urlencoded"}, 415, codes.InvalidArgument, "urlencoded"},
		{"POST", drain, "{}", []string{"Content-Type: text/event-stream"}, 415, codes.InvalidArgument, "event-stream"},
		{"POST", drain, "{}", []string{"Content-Encoding: gzip"}, 415, codes.InvalidArgument, "gzip"},
		{"POST", "/v1/regions", "x=1", []string{"Content-Type: application/x-www-form-urlencoded"}, 405, codes.Unimplemented, "GET or HEAD"},
		{"POST", "/v1/regions/eu-west", "{}", []string{"X-HTTP-Method-Override: GET"}, 405, codes.Unimplemented, "GET or HEAD"},
		{"PATCH", "/v1/resources/Zone/a", `{"updateMask": "*", "x": 1}`, nil, 400, codes.InvalidArgument, `(line 1:21): unknown field "x"`},
		{"PATCH", "/v1/resources/Zone/a", `{"updateMask": "*"`, nil, 400, codes.InvalidArgument, "body: "},
		{"PATCH", "/v1/resources/Zone/a", `["*"]`, nil, 400, codes.InvalidArgument, "body: "},
		{"PATCH", "/v1/resources/Planet/mars", "{}", nil, 400, codes.InvalidArgument, `no kind "Planet"`},
		{"PATCH", "/v1/resources/Zone/a", `{"resource": {"region": {}}}`, nil, 400, codes.InvalidArgument, "oneof"},
		{"PATCH", "/v1/resources/Zone/a", `{"resource": {"zone": {"metadata": {"name": "b"}}}}`, nil, 400, codes.InvalidArgument, `the path says "a"`},
		{"POST", drain, `{"reason": "x"}`, []string{"Origin: https://elsewhere.test"}, 403, codes.PermissionDenied, "another origin"},
		{"POST", drain, `{"reason": "x"}`, []string{"Sec-Fetch-Site: cross-site"}, 403, codes.PermissionDenied, "another origin"},
	} {
		r.refused(r.do(c.method, c.path, c.body, c.headers...), c.http, c.code, c.says)
	}
	f := r.refused(r.do("POST", drain, "{}"), 400, codes.InvalidArgument, "1 error")
	if len(f.Details) != 1 || f.Details[0]["@type"] != "type.googleapis.com/google.rpc.BadRequest" {
		t.Errorf("details: %v", f.Details)
	}
}

func TestMethodsAllowed(t *testing.T) {
	r := start(t, newServices(), nil, nil)
	for path, want := range map[string]string{
		"/v1/regions":             "GET, HEAD",
		"/v1/regions/x:drain":     "GET, HEAD, POST", // GET: of a region x:drain, which there cannot be
		"/v1/watch":               "GET",
		"/v1/resources/Zone/x":    "DELETE, GET, HEAD, PATCH",
		"/v1/generations:diff":    "GET, HEAD",
		"/v1/configuration:apply": "POST",
	} {
		a := r.do(http.MethodPut, path, "")
		r.refused(a, http.StatusMethodNotAllowed, codes.Unimplemented, "PUT is not for this path")
		if got := a.Header.Get("Allow"); got != want {
			t.Errorf("%s: Allow: %s; want %s", path, got, want)
		}
	}
}

// slowly hides a body's length, so that it is sent in chunks.
type slowly struct{ io.Reader }

func TestBodyLimits(t *testing.T) {
	r := start(t, newServices(), nil, nil)
	over := bytes.Repeat([]byte(" "), maxBody+1)
	for _, body := range []io.Reader{bytes.NewReader(over), slowly{bytes.NewReader(over)}} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/regions/eu-west:drain", body)
		req.Header.Set("Content-Type", jsonType)
		r.refused(r.send(req), http.StatusRequestEntityTooLarge, codes.InvalidArgument, "larger than 1 MiB")
	}
	// An apply may be larger, and so may its answer.
	records := strings.Repeat("; 9 bytes\\n", 600_000)
	a := r.do(http.MethodPost, "/v1/configuration:apply", `{"resources": [{"zone": {"metadata": {"name": "example.test"}, "spec": {"records": "`+records+`"}}}]}`)
	if a.StatusCode != 200 || len(a.body) < len(records) {
		t.Errorf("%s, %d bytes: %.200s", a.Status, len(a.body), a.body)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/configuration:apply", http.NoBody)
	req.ContentLength, req.Body = maxApplyBody+1, io.NopCloser(slowly{})
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("Expect", "100-continue") // or the client sends it all
	r.refused(r.send(req), http.StatusRequestEntityTooLarge, codes.InvalidArgument, "larger than 64 MiB")
}

func TestLargeCallsAreFew(t *testing.T) {
	s := newServices()
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	s.apply = func(context.Context, *pb.ApplyRequest) (*pb.ApplyResponse, error) {
		entered <- struct{}{}
		<-leave
		return &pb.ApplyResponse{}, nil
	}
	r := start(t, s, nil, nil)
	var wg sync.WaitGroup
	for range maxApplies {
		wg.Go(func() {
			if a := r.do(http.MethodPost, "/v1/configuration:apply", "{}"); a.StatusCode != 200 {
				t.Errorf("%s %s", a.Status, a.body)
			}
		})
		<-entered
	}
	a := r.do(http.MethodPost, "/v1/configuration:apply", "{}")
	r.refused(a, http.StatusTooManyRequests, codes.ResourceExhausted, "try again")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if a := r.do(http.MethodGet, "/v1/regions/eu-west", ""); a.StatusCode != 200 {
		t.Errorf("others wait too: %s", a.Status)
	}
	close(leave)
	wg.Wait()
	for range maxApplies + 1 {
		if a := r.do(http.MethodPost, "/v1/configuration:apply", "{}"); a.StatusCode != 200 {
			t.Errorf("afterwards: %s %s", a.Status, a.body)
		}
	}
}

type who string

func (who) AuthType() string { return "test" }

func TestCallerIsHandedOn(t *testing.T) {
	var mu sync.Mutex
	var p *peer.Peer
	var md metadata.MD
	r := start(t, newServices(), func(o *Options) {
		o.Identify = func(r *http.Request) (credentials.AuthInfo, error) {
			switch user, _, ok := r.BasicAuth(); {
			case !ok:
				return nil, errors.New("who are you?")
			case user == "eve":
				return nil, status.Error(codes.PermissionDenied, "not you")
			default:
				return who(user), nil
			}
		}
		o.Unary = []grpc.UnaryServerInterceptor{func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			p, _ = peer.FromContext(ctx)
			md, _ = metadata.FromIncomingContext(ctx)
			return next(ctx, req)
		}}
	}, nil)
	r.refused(r.do(http.MethodGet, "/v1/regions/eu-west", ""), http.StatusUnauthorized, codes.Unauthenticated, "who are you?")
	r.refused(r.do(http.MethodGet, "/v1/regions/eu-west", "", "Authorization: Basic ZXZlOng="), http.StatusForbidden, codes.PermissionDenied, "not you")
	a := r.do(http.MethodGet, "/v1/regions/eu-west", "", "Authorization: Basic YW5uOng=",
		"Grpc-Metadata-Fairlead-Rest-Call: 1", "Fairlead-Rest-Call: 1", "Grpc-Metadata-Role: admin", "Role: admin", "Cookie: a=b", "X-Forwarded-For: 192.0.2.1")
	if a.StatusCode != 200 {
		t.Fatalf("%s %s", a.Status, a.body)
	}
	mu.Lock()
	defer mu.Unlock()
	if p.AuthInfo != who("ann") {
		t.Errorf("the caller is %v", p.AuthInfo)
	}
	if addr, ok := p.Addr.(*net.TCPAddr); !ok || !addr.IP.IsLoopback() || addr.Port == 0 {
		t.Errorf("the peer is %v", p.Addr)
	}
	for key := range md {
		switch key {
		case "authorization", "x-forwarded-for", "x-forwarded-host", "content-type", "user-agent", ":authority", "grpc-accept-encoding":
		default:
			t.Errorf("metadata %s: %v", key, md[key])
		}
	}
}

func TestAddressOfAnyKind(t *testing.T) {
	if a := address("@"); a.String() != "@" || a.Network() != "http" {
		t.Errorf("%v", a)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no services, and no error")
	}
}
