package feed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// fetchBatch is how many objects one request asks for.
	fetchBatch = 500
	// maxFetch bounds what one Fetch brings, in bytes: a nameserver could not
	// keep a larger generation on disk.
	maxFetch = 1 << 30
)

// Digest names an object.
type Digest = [sha256.Size]byte

// Fetch gets objects from the controller: all that are asked for, or an
// error. It does not verify them.
func (s *Subscription) Fetch(ctx context.Context, digests []Digest) (map[Digest][]byte, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the stream that an error leaves
	defer cancel()
	got := make(map[Digest][]byte, len(digests))
	size := 0
	for len(digests) > 0 {
		batch := digests[:min(fetchBatch, len(digests))]
		digests = digests[len(batch):]
		n, err := s.fetch(ctx, batch, got, maxFetch-size)
		if err != nil {
			return nil, fmt.Errorf("fetch from %s: %w", s.opts.Controller, err)
		}
		size += n
	}
	return got, nil
}

func (s *Subscription) fetch(ctx context.Context, batch []Digest, got map[Digest][]byte, limit int) (size int, err error) {
	req := &pb.FetchObjectsRequest{}
	wanted := make(map[Digest]bool, len(batch))
	for _, d := range batch {
		req.Digests = append(req.Digests, d[:])
		wanted[d] = true
	}
	st, err := s.client.FetchObjects(ctx, req)
	if err != nil {
		return 0, err
	}
	for range len(batch) {
		m, err := st.Recv()
		if errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("the answer ended before all of %d objects were there", len(batch))
		}
		if err != nil {
			return 0, err
		}
		if len(m.GetDigest()) != sha256.Size || !wanted[Digest(m.GetDigest())] {
			return 0, fmt.Errorf("object %x was not asked for", m.GetDigest())
		}
		if size += len(m.GetData()); size > limit {
			return 0, fmt.Errorf("over %d bytes", maxFetch)
		}
		got[Digest(m.GetDigest())] = m.GetData()
	}
	if _, err := st.Recv(); !errors.Is(err, io.EOF) {
		return 0, errors.Join(errors.New("more objects than were asked for"), err)
	}
	for d := range wanted {
		if _, ok := got[d]; !ok {
			return 0, fmt.Errorf("object %x is missing", d)
		}
	}
	return size, nil
}
