package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// matrixFile says who may call what, one table for controllers and one for
// nameservers; a test of the programs' own writes it.
const matrixFile = "../cmd/internal/program/testdata/matrix.md"

// TestOperatorMatrix calls every method of a real controller and a real nameserver
// as everybody, over the network, and holds what comes of it against the matrix.
func TestOperatorMatrix(t *testing.T) {
	if only := os.Getenv(operatorWanted); only == "" || only != "1" && !strings.Contains("matrix", only) {
		t.Skipf("SKIPPED, NOBODY CALLED: make e2e-operator sets %s=1", operatorWanted)
	}
	c := newCluster(t, shape{etcd: 1, controllers: 1, nameservers: 1, tokens: true})
	for _, role := range []string{"viewer", "operator", "etcd", "controller"} {
		var more []string
		if role == "etcd" || role == "controller" {
			more = []string{"--host", c.host(0)}
		}
		c.issueOne(c.pki, role, "matrix-"+role, more...)
	}
	text, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for table := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		lines := strings.Split(table, "\n")
		head := cells(lines[0])
		server := map[string]string{"controller": c.controller(0), "nameserver": c.at(0, nameserverGRPC)}[head[0]]
		if server == "" || len(lines) < 3 {
			t.Fatalf("%s: a table of %q with %d lines: want one of controller and nameserver", matrixFile, head[0], len(lines))
		}
		for column, who := range head[1:] {
			conn, err := grpc.NewClient("passthrough:///"+server, grpc.WithTransportCredentials(c.as(who)))
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range lines[2:] {
				row := cells(line)
				method := strings.Trim(row[0], "`")
				if !strings.HasPrefix(method, "grpc.") {
					method = "fairlead.v1." + method
				}
				want := row[column+1] == "✓"
				err := call(t.Context(), conn, "/"+method, c.bearer(who))
				if got := admitted(err); got != want {
					t.Errorf("%s as %s: allowed %v, want %v: %v", row[0], who, got, want, err)
				}
				calls++
			}
			conn.Close()
		}
	}
	t.Logf("%d calls of every method as everybody; each is allowed or denied as the matrix says", calls)
}

func cells(line string) []string {
	parts := strings.Split(strings.Trim(line, "|"), "|")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// as are the credentials of a column: a certificate, or none.
func (c *cluster) as(who string) credentials.TransportCredentials {
	c.t.Helper()
	prefix := ""
	switch name := map[string]string{"agent": "probe-eu-west", "nameserver": "ns-1", "admin": admin}[who]; {
	case name != "":
		prefix = filepath.Join(c.pki, name)
	case who != "nobody" && !strings.HasPrefix(who, "token "):
		prefix = filepath.Join(c.pki, "matrix-"+who)
	}
	return credentials.NewTLS(clientTLS(c.t, filepath.Join(c.pki, "ca.crt"), prefix))
}

// bearer is the token of a column, if it has one.
func (c *cluster) bearer(who string) string {
	c.t.Helper()
	role, ok := strings.CutPrefix(who, "token ")
	if !ok {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(c.pki, "token-"+role+".token"))
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// call calls a method with an empty message, as a stream, which every kind is.
func call(ctx context.Context, conn *grpc.ClientConn, method, token string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("send: %w", err)
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.RecvMsg(&emptypb.Empty{}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// admitted tells a call that was denied, or could not be made at all, from one that
// the handler saw.
func admitted(err error) bool {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.Unavailable, codes.Unimplemented, codes.ResourceExhausted:
		return false
	}
	return true
}
