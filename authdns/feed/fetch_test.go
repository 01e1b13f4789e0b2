package feed

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// library hands out objects as answer says.
type library struct {
	pb.UnimplementedFeedServiceServer
	answer func(asked [][]byte, send func(digest, data []byte) error) error
}

func (l *library) FetchObjects(req *pb.FetchObjectsRequest, stream grpc.ServerStreamingServer[pb.FetchObjectsResponse]) error {
	return l.answer(req.GetDigests(), func(digest, data []byte) error {
		return stream.Send(&pb.FetchObjectsResponse{Digest: digest, Data: data})
	})
}

func TestFetch(t *testing.T) {
	var digests []Digest
	contents := map[Digest]string{}
	for i := range 2*fetchBatch + 1 {
		text := fmt.Sprint("object ", i)
		d := sha256.Sum256([]byte(text))
		digests, contents[d] = append(digests, d), text
	}
	all := func(asked [][]byte, send func(digest, data []byte) error) error {
		for _, d := range asked {
			if err := send(d, []byte(contents[Digest(d)])); err != nil {
				return err
			}
		}
		return nil
	}
	for name, test := range map[string]struct {
		answer func(asked [][]byte, send func(digest, data []byte) error) error
		words  string // of the error; empty: none
	}{
		"all":  {all, ""},
		"none": {func([][]byte, func(_, _ []byte) error) error { return status.Error(codes.NotFound, "no such object") }, "no such object"},
		"too few": {func(asked [][]byte, send func(digest, data []byte) error) error {
			return all(asked[1:], send)
		}, "ended before"},
		"one twice": {func(asked [][]byte, send func(digest, data []byte) error) error {
			return all(append([][]byte{asked[1]}, asked[1:]...), send)
		}, "is missing"},
		"too many": {func(asked [][]byte, send func(digest, data []byte) error) error {
			for { // until the caller has had enough
				if err := all(asked, send); err != nil {
					return err
				}
			}
		}, "more objects than were asked for"},
		"others": {func(_ [][]byte, send func(digest, data []byte) error) error {
			return send(make([]byte, 32), []byte("x"))
		}, "not asked for"},
		"no digest": {func(_ [][]byte, send func(digest, data []byte) error) error { return send(nil, []byte("x")) }, "not asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			g := grpc.NewServer()
			pb.RegisterFeedServiceServer(g, &library{answer: test.answer})
			ended := make(chan error)
			go func() { ended <- g.Serve(l) }()
			defer func() { g.Stop(); <-ended }()
			conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			s := New(Options{Controller: "c1", Conn: conn, Log: slog.New(slog.DiscardHandler)})
			got, err := s.Fetch(t.Context(), digests)
			if test.words != "" {
				if err == nil || !strings.Contains(err.Error(), test.words) || !strings.Contains(err.Error(), "c1") {
					t.Errorf("error is %v, want %q in it", err, test.words)
				}
				return
			}
			if err != nil || len(got) != len(digests) {
				t.Fatal(len(got), err)
			}
			for d, text := range contents {
				if string(got[d]) != text {
					t.Errorf("%x: %q, want %q", d, got[d], text)
				}
			}
		})
	}
}
