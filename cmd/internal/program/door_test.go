package program_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles/authority"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/matrix.md anew")

// served are the methods of a server that are served: every one of every
// service in the binary that it does not call unknown.
func served(t *testing.T, asAdmin *grpc.ClientConn) (names []string, methods map[string]protoreflect.MethodDescriptor) {
	t.Helper()
	methods = map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				name := fmt.Sprintf("/%s/%s", s.FullName(), s.Methods().Get(j).Name())
				err := callEmpty(t.Context(), asAdmin, name, s.Methods().Get(j))
				// As grpc-go says it of what is not registered.
				if status.Code(err) == codes.Unimplemented && strings.HasPrefix(status.Convert(err).Message(), "unknown service ") {
					continue
				}
				methods[name] = s.Methods().Get(j)
				names = append(names, name)
			}
		}
		return true
	})
	slices.Sort(names)
	return names, methods
}

// callEmpty calls any method with an empty request, and returns what came of
// it; a stream that stays open came to something.
func callEmpty(ctx context.Context, conn *grpc.ClientConn, name string, m protoreflect.MethodDescriptor) error {
	in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return conn.Invoke(ctx, name, in, out)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}, name)
	if err != nil {
		return err
	}
	if err := s.SendMsg(in); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	// The headers, or the end: whoever is let in gets one of them, in time. One
	// that has nothing to say yet is left alone.
	ended := make(chan error, 1)
	go func() { ended <- s.RecvMsg(out) }()
	select {
	case err = <-ended:
	case <-time.After(300 * time.Millisecond):
		cancel()
		<-ended
		err = nil
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// roles are the columns of the matrix.
var roles = []string{
	"agent/eu-west/x", "nameserver/eu-west/x", "controller/x", "etcd/x", "viewer/x", "operator/x", "admin/x",
	"token viewer", "token operator", "token admin", "nobody",
}

// Every method that is registered at a controller and at a nameserver, called
// by everybody over real TLS. What comes out is testdata/matrix.md, which docs
// show; a method that is new, or open to others than before, changes it.
func TestMatrix(t *testing.T) {
	s := newStack(t)
	s.apply()
	var got bytes.Buffer
	for _, server := range []struct{ name, addr string }{{"controller", s.controller.GRPC}, {"nameserver", s.nameserver.GRPC}} {
		fmt.Fprintf(&got, "| %s | %s |\n|---|%s\n", server.name, strings.Join(func() (titles []string) {
			for _, r := range roles {
				title, _, _ := strings.Cut(r, "/")
				titles = append(titles, title)
			}
			return titles
		}(), " | "), strings.Repeat("---|", len(roles)))
		names, methods := served(t, s.as(server.addr, "admin/x"))
		if len(names) < 4 {
			t.Fatalf("%s serves %q only", server.name, names)
		}
		rows := map[string][]string{}
		for _, role := range roles {
			var conn *grpc.ClientConn
			token, isToken := strings.CutPrefix(role, "token ")
			switch {
			case isToken:
				conn = s.anonymous(server.addr, s.tokens[token])
			case role == "nobody":
				conn = s.anonymous(server.addr, "")
			default:
				conn = s.as(server.addr, role)
			}
			for _, name := range names {
				err := callEmpty(t.Context(), conn, name, methods[name])
				cell := "✓"
				switch code := status.Code(err); {
				case code == codes.PermissionDenied && strings.Contains(err.Error(), name):
					cell = "–"
				case code == codes.PermissionDenied:
					t.Errorf("%s: %s calls %s: %v does not say what was denied", server.name, role, name, err)
				case role == "nobody" && server.name == "controller" &&
					(code == codes.Unauthenticated || code == codes.ResourceExhausted && strings.Contains(err.Error(), `"attempts"`)):
					cell = "–"
				case code == codes.Unavailable && server.name == "nameserver" && (isToken || role == "nobody"):
					cell = "–" // no connection without a certificate
				case code == codes.Unauthenticated, code == codes.Unavailable, code == codes.ResourceExhausted:
					t.Errorf("%s: %s calls %s: %v", server.name, role, name, err)
				}
				rows[name] = append(rows[name], cell)
			}
		}
		for _, name := range names {
			fmt.Fprintf(&got, "| `%s` | %s |\n", strings.TrimPrefix(strings.TrimPrefix(name, "/"), "fairlead.v1."), strings.Join(rows[name], " | "))
		}
		got.WriteString("\n")
	}
	const golden = "testdata/matrix.md"
	if *rewrite {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got.String() != string(want) {
		t.Errorf("%v: who may do what has changed; if that is meant, run go test with -rewrite and review %s:\n%s", err, golden, got.String())
	}
	// Raw objects, in which keys would be, reach nameservers only: nothing else
	// that is served returns bytes of them.
	for _, line := range strings.Split(got.String(), "\n") {
		if strings.Contains(line, "FetchObjects") && line != "| `FeedService/FetchObjects` | – | ✓ | – | – | – | – | – | – | – | – | – |" {
			t.Errorf("objects reach others than nameservers: %s", line)
		}
	}
}

// Tokens are for people, over gRPC and REST, and show in the audit; with a
// certificate beside it a token counts for nothing.
func TestTokens(t *testing.T) {
	s := newStack(t)
	s.apply()
	// Audit: who, and that a token said so.
	op := s.anonymous(s.controller.GRPC, s.tokens["operator"])
	if _, err := pb.NewRegionServiceClient(op).DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "r", Force: true}); err != nil {
		t.Fatal(err)
	}
	events, err := pb.NewInsightServiceClient(s.anonymous(s.controller.GRPC, s.tokens["viewer"])).ListEvents(t.Context(), &pb.ListEventsRequest{})
	if err != nil || len(events.GetEvents()) == 0 {
		t.Fatalf("%v, %v", events, err)
	}
	if e := events.GetEvents()[0]; e.GetActor() != "operator/tess" || !strings.HasSuffix(e.GetPeer(), " by token") {
		t.Errorf("actor %q, peer %q", e.GetActor(), e.GetPeer())
	}
	// A program that got hold of a token, and a person who is two.
	for _, who := range []string{"agent/eu-west/x", "nameserver/eu-west/ns1", "operator/alice"} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+s.tokens["admin"])
		_, err := pb.NewInsightServiceClient(s.as(s.controller.GRPC, who)).GetStatus(ctx, &pb.GetStatusRequest{})
		if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "a certificate and a token") {
			t.Errorf("%s with a token: %v", who, err)
		}
	}
	stream, err := pb.NewAgentServiceClient(s.anonymous(s.controller.GRPC, s.tokens["admin"])).Report(t.Context())
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("an admin's token as an agent: %v", err)
	}
	// A nameserver takes no tokens: with a certificate they say nothing.
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+s.tokens["admin"])
	_, err = pb.NewBreakGlassServiceClient(s.as(s.nameserver.GRPC, "viewer/v")).CreateBreakGlass(ctx, &pb.CreateBreakGlassRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a viewer with an admin's token at a nameserver: %v", err)
	}
	t.Run("REST", func(t *testing.T) { testTokensOverREST(t, s) })
	// The file is read again: a token that is taken back is worth nothing.
	old := s.tokens["operator"]
	s.writeTokens("viewer", "operator", "admin")
	if err := s.controller.Reload(); err != nil {
		t.Fatal(err)
	}
	_, err = pb.NewInsightServiceClient(s.anonymous(s.controller.GRPC, old)).GetStatus(t.Context(), &pb.GetStatusRequest{})
	if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "no such token is known here") || strings.Contains(err.Error(), old) {
		t.Errorf("a token that was taken back: %v", err)
	}
	st, err := pb.NewInsightServiceClient(s.anonymous(s.controller.GRPC, s.tokens["viewer"])).GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(st.GetCertificates(), func(c *pb.CertificateStatus) bool {
		return c.GetWhat() == "token" && c.GetSubject() == "operator tess" && c.GetExpireTime().AsTime().After(time.Now())
	}) {
		t.Errorf("the status shows no tokens: %v", st.GetCertificates())
	}
	// Who tries too often is told to wait; who has a good one is not held up.
	failing := s.anonymous(s.controller.GRPC, old)
	for range 1000 {
		if _, err = pb.NewInsightServiceClient(failing).GetStatus(t.Context(), &pb.GetStatusRequest{}); status.Code(err) == codes.ResourceExhausted {
			break
		}
	}
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), `over the limit "attempts"`) {
		t.Errorf("after very many attempts: %v", err)
	}
	if _, err := pb.NewInsightServiceClient(s.anonymous(s.controller.GRPC, s.tokens["viewer"])).GetStatus(t.Context(), &pb.GetStatusRequest{}); err != nil {
		t.Errorf("a good one at the same address: %v", err)
	}
	metrics := s.get(t, "/metrics", "")
	for _, want := range []string{`fairlead_tokens_attempts_refused_total{reason="unknown"}`, `fairlead_controller_calls_limited_total{limit="attempts"}`, "fairlead_tokens_expiry_timestamp_seconds"} {
		if !strings.Contains(metrics, want) || strings.Contains(metrics, want+" 0\n") {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

// get gets a path of the controller's HTTP endpoint, and returns status and body.
func (s *stack) get(t *testing.T, path, token string, certificates ...tls.Certificate) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: certificates}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.controller.HTTP+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status + "\n" + string(body)
}

func testTokensOverREST(t *testing.T, s *stack) {
	if got := s.get(t, "/v1/regions/eu-west", s.tokens["viewer"]); !strings.HasPrefix(got, "200 ") {
		t.Errorf("a token: %s", got)
	}
	s.issue("alice", "operator/alice", time.Hour)
	pair, err := tls.LoadX509KeyPair(s.at("alice.crt"), s.at("alice.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, say string }{
		"nobody":       {s.get(t, "/v1/regions/eu-west", ""), "neither a certificate nor a token"},
		"unknown":      {s.get(t, "/v1/regions/eu-west", s.tokens["viewer"][:52]+"_"), "its checksum is wrong"},
		"with a cert.": {s.get(t, "/v1/regions/eu-west", s.tokens["admin"], pair), "a certificate and a token"},
	} {
		if !strings.HasPrefix(c.got, "401 ") || !strings.Contains(c.got, c.say) {
			t.Errorf("%s: %s", name, c.got)
		}
	}
}

// With every log on, a start, calls, failed handshakes and refused tokens: no
// key and no token is in the logs of the controller and the nameserver.
func TestNoSecretsInLogs(t *testing.T) {
	s := newStack(t)
	s.apply()
	status := func(conn *grpc.ClientConn) error {
		_, err := pb.NewInsightServiceClient(conn).GetStatus(t.Context(), &pb.GetStatusRequest{})
		return err
	}
	good := s.tokens["admin"]
	if err := status(s.anonymous(s.controller.GRPC, good)); err != nil {
		t.Fatal(err)
	}
	s.writeTokens("viewer") // good is no more
	stray := "flt_" + strings.Repeat("x", 49)
	if err := s.controller.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{good, stray, "hunter2hunter2hunter2"} {
		if err := status(s.anonymous(s.controller.GRPC, token)); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%v", err)
		}
		s.get(t, "/v1/status", token)
	}
	foreign := s.newCA("foreign.crt")
	s.issueBy(foreign, "stranger", "admin/stranger", time.Hour)
	s.writeCAs("both.crt", s.ca, foreign)
	for _, addr := range []string{s.controller.GRPC, s.nameserver.GRPC} {
		if err := status(s.dial(addr, s.open("stranger", "both.crt").Client(ours))); err == nil {
			t.Errorf("a stranger was let in")
		}
	}
	// Bad files: the token in the place of its digest, the key of another.
	s.write("tokens.yaml", []byte("tokens:\n- {name: a, role: viewer, sha256: "+good+", expires: 2099-01-01T00:00:00Z}\n"))
	other, err := os.ReadFile(s.at("stranger.key"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("ns1.key", other)
	if err := s.controller.Reload(); err == nil || strings.Contains(err.Error(), good) {
		t.Errorf("%v", err)
	}
	if err := s.nameserver.Reload(); err == nil {
		t.Error("another's key was taken")
	}
	s.controller.stop()
	s.nameserver.stop()
	log := s.log.String()
	for _, want := range []string{"token refused", "TLS handshake failed", "the new file of tokens is refused", "new TLS files refused"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the log: the test tests nothing", want)
		}
	}
	secrets := map[string]string{"the token": good[4:24], "a stray token": stray, "what was no token": "hunter2"}
	for _, name := range []string{"c1.key", "ns1.key", "stranger.key", "admin-root.key"} {
		data, err := os.ReadFile(s.at(name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		secrets["the text of "+name] = strings.Split(string(data), "\n")[1][:40]
		secrets["the bytes of "+name] = fmt.Sprintf("%x", block.Bytes[36:52])
	}
	secrets["PEM"] = "PRIVATE KEY-----"
	for name, text := range secrets {
		if strings.Contains(log, text) {
			t.Errorf("%s is in the log", name)
		}
	}
}

// A certificate that has expired ends control and no answer: the nameserver
// starts with it, answers from its disk, and says what is wrong, in the log and
// in a metric. With a new one it goes on without a restart.
func TestExpiredNameserverAnswers(t *testing.T) {
	s := newStack(t)
	s.apply()
	s.nameserver.stop()
	s.issue("ns1", "nameserver/eu-west/ns1", -time.Minute)
	s.startNameserver()
	s.eventually("an answer", func() bool { return s.answers() == nil })
	s.eventually("the refusal", func() bool { return strings.Contains(s.log.String(), "certificate has expired or is not yet valid") })
	if !strings.Contains(s.log.String(), "certificate has expired: control connections fail until it is renewed") {
		t.Error("the log does not warn")
	}
	_, err := pb.NewInsightServiceClient(s.as(s.nameserver.GRPC, "viewer/v")).Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "192.0.2.1"})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "expired at") {
		t.Errorf("its API with an expired certificate: %v", err)
	}
	if err := s.answers(); err != nil {
		t.Error(err)
	}
	s.issue("ns1", "nameserver/eu-west/ns1", time.Hour)
	if err := s.nameserver.Reload(); err != nil {
		t.Fatal(err)
	}
	viewer := pb.NewInsightServiceClient(s.as(s.controller.GRPC, "viewer/v"))
	s.eventually("its subscription", func() bool {
		st, err := viewer.GetStatus(t.Context(), &pb.GetStatusRequest{})
		return err == nil && slices.ContainsFunc(st.GetNameservers(), func(n *pb.NameserverStatus) bool { return n.GetNameserver() == "ns1" && n.GetConnected() })
	})
}

// Leaf and CA of a controller and of a nameserver change while streams of both
// kinds live: none of them ends, no answer fails, and at the end nobody whom
// the old CA certified gets in.
func TestRotationUnderStreams(t *testing.T) {
	s := newStack(t)
	s.apply()
	old, next := s.ca, s.newCA("next.crt")
	s.issueBy(old, "stray", "admin/stray", time.Hour)
	s.issueBy(next, "new", "viewer/new", time.Hour)
	s.writeCAs("both.crt", old, next)

	// A stream of a person, and beside it the nameserver's.
	conn := s.as(s.controller.GRPC, "viewer/kept")
	watch, err := pb.NewInsightServiceClient(conn).Watch(t.Context(), &pb.WatchRequest{Initial: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	s.eventually("the nameserver's subscription", func() bool { return strings.Contains(s.log.String(), "nameserver subscribed") })

	certificate := func(addr string) string {
		t.Helper()
		var name string
		c, err := tls.Dial("tcp", addr, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{"h2"},
			VerifyConnection: func(cs tls.ConnectionState) error { name = cs.PeerCertificates[0].SerialNumber.String(); return nil }})
		if err == nil {
			c.Close()
		}
		return name
	}
	reload := func() {
		t.Helper()
		if err := errors.Join(s.controller.Reload(), s.nameserver.Reload()); err != nil {
			t.Fatal(err)
		}
	}
	explain := func(addr, name string) error {
		_, err := pb.NewInsightServiceClient(s.dial(addr, s.open(name, "both.crt").Client(ours))).Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "192.0.2.1"})
		return err
	}
	addrs := []string{s.controller.GRPC, s.nameserver.GRPC}
	for _, step := range []struct {
		name string
		do   func()
		in   []string // who gets in
	}{
		{"a new leaf", func() {
			s.issueBy(old, "c1", "controller/c1", time.Hour)
			s.issueBy(old, "ns1", "nameserver/eu-west/ns1", time.Hour)
		}, []string{"stray"}},
		{"both CAs", func() { s.writeCAs("ca.crt", old, next) }, []string{"stray", "new"}},
		{"leaves of the new CA", func() {
			s.issueBy(next, "c1", "controller/c1", time.Hour)
			s.issueBy(next, "ns1", "nameserver/eu-west/ns1", time.Hour)
		}, []string{"stray", "new"}},
		{"the new CA only", func() { s.writeCAs("ca.crt", next) }, []string{"new"}},
	} {
		leaf := certificate(addrs[0])
		step.do()
		reload()
		if now := certificate(addrs[0]); strings.Contains(step.name, "lea") && now == leaf {
			t.Errorf("%s: the controller shows the old one", step.name)
		}
		for _, addr := range addrs {
			for _, who := range []string{"stray", "new"} {
				if err := explain(addr, who); (err == nil) != slices.Contains(step.in, who) {
					t.Errorf("%s: %s at %s: %v", step.name, who, addr, err)
				}
			}
		}
		if err := s.answers(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if log := s.log.String(); strings.Contains(log, "nameserver left") || strings.Count(log, "nameserver subscribed") != 1 {
			t.Errorf("%s: the nameserver's stream ended: %s", step.name, log)
		}
	}
	// The person's stream brings what happens now.
	if _, err := pb.NewRegionServiceClient(s.dial(addrs[0], s.openIssued(next, "op", "operator/op").Client(ours))).DrainRegion(t.Context(),
		&pb.DrainRegionRequest{Region: "eu-west", Reason: "r", Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Errorf("the stream from before: %v", err)
	}
}

func (s *stack) openIssued(ca *authority.CA, name, path string) *tlsfiles.Files {
	s.issueBy(ca, name, path, time.Hour)
	return s.open(name, "both.crt")
}

// TLS 1.2 gets no connection, at any of the ports that are not DNS.
func TestOnlyTLS13(t *testing.T) {
	s := newStack(t)
	s.issue("v", "viewer/v", time.Hour)
	pair, err := tls.LoadX509KeyPair(s.at("v.crt"), s.at("v.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, addr := range map[string]string{
		"controller": s.controller.GRPC, "nameserver": s.nameserver.GRPC, "controller's HTTP": s.controller.HTTP, "nameserver's HTTP": s.nameserver.HTTP,
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c, err := tls.Dial("tcp", addr, &tls.Config{MinVersion: version, MaxVersion: version, InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{pair}})
			if err == nil {
				c.Close()
			}
			if (err == nil) != (version == tls.VersionTLS13) {
				t.Errorf("%s: %s: %v", name, tls.VersionName(version), err)
			}
		}
	}
}

// Files that hold keys, tokens or passwords and that others can get at: no
// program starts with one, each flag by itself.
func TestSecretsOfOthersAreRefused(t *testing.T) {
	for _, c := range []struct{ program, flag, args string }{
		{"fairlead-controller", "--tls-key", ""},
		{"fairlead-authdns", "--tls-key", "--region eu-west --controllers c1:7443"},
		{"fairlead-probe", "--tls-key", "--region eu-west --controllers c1:7443"},
		{"fairlead-controller", "--etcd-key", ""},
		{"fairlead-controller", "--tokens", ""},
		{"fairlead-controller", "--config", "--etcd-user u"},
	} {
		id := identity.Identity{Role: identity.Controller, Name: "x"}
		switch c.program {
		case "fairlead-authdns":
			id = identity.Identity{Role: identity.Nameserver, Name: "x", Region: "eu-west"}
		case "fairlead-probe":
			id = identity.Identity{Role: identity.Agent, Name: "x", Region: "eu-west"}
		}
		args := append([]string{"--name", "x", "--check-config"}, pki(t, id, time.Hour)...)
		args = append(args, strings.Fields(c.args)...)
		file := t.TempDir() + "/secret"
		text := "tokens:\n"
		switch c.flag {
		case "--tls-key":
			file = args[slices.Index(args, "--tls-key")+1]
		case "--etcd-key":
			etcd := pki(t, id, time.Hour)
			file = etcd[3]
			args = append(args, "--etcd-cert", etcd[1], "--etcd-key", etcd[3], "--etcd-ca", etcd[5])
		case "--config":
			text = "etcd-password: hunter2\n"
			fallthrough
		default:
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, c.flag, file)
		}
		for _, mode := range []os.FileMode{0o600, 0o640, 0o604} {
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
			code, out, errs := run(t, c.program, nil, args...)
			if good := mode == 0o600; good != (code == 0) || !good && !strings.Contains(errs, "run chmod 600 "+file) {
				t.Errorf("%s %s, mode %o: %d\n%s", c.program, c.flag, mode, code, errs)
			}
			if strings.Contains(out+errs, "hunter2") {
				t.Errorf("%s %s shows the password: %s%s", c.program, c.flag, out, errs)
			}
		}
	}
}

// Tokens are taken over TLS only.
func TestTokensNeedTLS(t *testing.T) {
	code, _, errs := run(t, "fairlead-controller", nil, "--name", "c1", "--check-config", "--insecure-plaintext", "--tokens", "x")
	if code != 2 || !strings.Contains(errs, "--tokens goes without --insecure-plaintext") {
		t.Errorf("%d %s", code, errs)
	}
}
