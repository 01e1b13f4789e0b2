package rest

import (
	"encoding/json"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// A stream ends at its age, and says so.
func TestStreamsEndAtTheirAge(t *testing.T) {
	before := maxStreamAge
	maxStreamAge = 20 * time.Millisecond
	defer func() { maxStreamAge = before }()
	s := newServices()
	s.watch = func(_ *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
		if err := stream.Send(verdict("one")); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	_, lines := start(t, s, nil, nil).open(t.Context(), "*/*")
	lines.Scan()
	var l line
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &l) != nil || l.Error == nil || l.Error.Code != codes.Unavailable || l.Error.Message != "the stream is as old as one may be: open a new one" {
		t.Errorf("the end: %q", lines.Text())
	}
}
