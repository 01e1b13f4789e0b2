package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// checkpointPart bounds one value of a checkpoint, below what etcd takes in
	// one request.
	checkpointPart = 512 << 10
	// maxCheckpoint bounds a checkpoint's table, in bytes before compression.
	maxCheckpoint = 512 << 20
	// checkpointReads bounds how often a checkpoint is read again that was
	// replaced meanwhile.
	checkpointReads = 5
)

// ErrCheckpoint: the health checkpoint cannot be read. It is only ever a start
// to go on from, so nothing is lost but that.
var ErrCheckpoint = errors.New("the health checkpoint cannot be read")

// PutCheckpoint replaces the health checkpoint. Readers see the old one or the
// new one, never parts of both.
func (t *Term) PutCheckpoint(ctx context.Context, controller string, table *pb.HealthTable, now time.Time) error {
	old, err := t.store.checkpoint(ctx)
	if err != nil && !errors.Is(err, ErrCheckpoint) {
		return err
	}
	packed, err := pack(table)
	if err != nil {
		return fmt.Errorf("store: checkpoint: %w", err)
	}
	sum := sha256.Sum256(packed)
	c := &pb.HealthCheckpoint{
		Time: timestamppb.New(now), Controller: controller, Digest: sum[:],
		// Not one that a writer who was overtaken may still be writing to.
		Number: max(old.GetNumber(), uint64(t.created)) + 1,
	}
	keys := t.store.keys
	for len(packed) > 0 {
		part := packed[:min(len(packed), checkpointPart)]
		packed = packed[len(part):]
		if err := t.write(ctx, clientv3.OpPut(keys.checkpointPart(c.Number, c.Parts), string(part))); err != nil {
			return err
		}
		c.Parts++
	}
	head, err := proto.Marshal(c)
	if err != nil {
		return fmt.Errorf("store: checkpoint: %w", err)
	}
	if err := t.write(ctx, clientv3.OpPut(keys.checkpoint(), string(head))); err != nil {
		return err
	}
	// All parts but those of this one.
	return t.write(ctx,
		clientv3.OpDelete(keys.checkpointParts(), clientv3.WithRange(keys.checkpointPart(c.Number, 0))),
		clientv3.OpDelete(keys.checkpointPart(c.Number+1, 0), clientv3.WithRange(clientv3.GetPrefixRangeEnd(keys.checkpointParts()))))
}

// Checkpoint reads the health checkpoint; the table is nil when there is none.
// The error is ErrCheckpoint when what is there is damaged.
func (s *Store) Checkpoint(ctx context.Context) (*pb.HealthCheckpoint, *pb.HealthTable, error) {
	for range checkpointReads {
		c, err := s.checkpoint(ctx)
		if err != nil || c == nil {
			return nil, nil, err
		}
		packed, whole, err := s.checkpointParts(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		if !whole {
			continue // replaced since
		}
		if sum := sha256.Sum256(packed); !bytes.Equal(sum[:], c.GetDigest()) {
			return nil, nil, fmt.Errorf("store: %w: it does not match its digest", ErrCheckpoint)
		}
		table, err := unpack(packed)
		if err != nil {
			return nil, nil, fmt.Errorf("store: %w: %w", ErrCheckpoint, err)
		}
		return c, table, nil
	}
	return nil, nil, fmt.Errorf("store: %w: parts of it are missing", ErrCheckpoint)
}

func (s *Store) checkpoint(ctx context.Context) (*pb.HealthCheckpoint, error) {
	var resp *clientv3.GetResponse
	err := s.try(ctx, func(ctx context.Context) (err error) {
		resp, err = s.client.Get(ctx, s.keys.checkpoint())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: read checkpoint: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return nil, nil
	}
	c := &pb.HealthCheckpoint{}
	if err := proto.Unmarshal(resp.Kvs[0].Value, c); err != nil {
		return nil, fmt.Errorf("store: %w: %w", ErrCheckpoint, err)
	}
	return c, nil
}

// checkpointParts reads the parts; whole is false when one is not there.
func (s *Store) checkpointParts(ctx context.Context, c *pb.HealthCheckpoint) (packed []byte, whole bool, err error) {
	for i := range c.GetParts() {
		var resp *clientv3.GetResponse
		err := s.try(ctx, func(ctx context.Context) (err error) {
			resp, err = s.client.Get(ctx, s.keys.checkpointPart(c.GetNumber(), i))
			return err
		})
		if err != nil {
			return nil, false, fmt.Errorf("store: read checkpoint: %w", err)
		}
		if len(resp.Kvs) == 0 {
			return nil, false, nil
		}
		packed = append(packed, resp.Kvs[0].Value...)
	}
	return packed, true, nil
}

func pack(table *pb.HealthTable) ([]byte, error) {
	data, err := proto.Marshal(table)
	if err != nil {
		return nil, err
	}
	if len(data) > maxCheckpoint {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), maxCheckpoint)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpack(packed []byte) (*pb.HealthTable, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxCheckpoint+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxCheckpoint {
		return nil, fmt.Errorf("more than %d bytes", maxCheckpoint)
	}
	table := &pb.HealthTable{}
	return table, proto.Unmarshal(data, table)
}
