package store_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-dns/fairlead/controller/store"
)

func objectKey(d store.Digest) string { return store.DefaultPrefix + "objects/" + d.String() }

func revision(t *testing.T, c *clientv3.Client) int64 {
	t.Helper()
	resp, err := c.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func TestPutGet(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	objects := [][]byte{
		[]byte("one"),
		{}, // empty
		[]byte("two"),
		[]byte("one"), // again
		bytes.Repeat([]byte("x"), store.MaxObjectSize),
	}
	digests, _, err := s.Put(t.Context(), objects)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), digests)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range objects {
		if digests[i] != store.Sum(o) {
			t.Errorf("object %d: digest %v, want %v", i, digests[i], store.Sum(o))
		}
		if !bytes.Equal(got[digests[i]], o) {
			t.Errorf("object %d: %d bytes came back, want %d", i, len(got[digests[i]]), len(o))
		}
	}
	if len(got) != 4 {
		t.Errorf("%d objects came back, want 4", len(got))
	}
	if got, err := s.Get(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("Get of nothing: %v, %v", got, err)
	}
	if got, _, err := s.Put(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("Put of nothing: %v, %v", got, err)
	}
}

func TestPutTooLarge(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	_, _, err := s.Put(t.Context(), [][]byte{[]byte("small"), make([]byte, store.MaxObjectSize+1)})
	if err == nil || !strings.Contains(err.Error(), "object 2 of 2 has 1048577 bytes: want at most 1048576") {
		t.Errorf("error is %v", err)
	}
	if rev := revision(t, c); rev != 1 {
		t.Errorf("the store is at revision %d: something was written", rev)
	}
}

// Thousands of objects, small and large, need many transactions; those that
// are there already need no write.
func TestPutInBatches(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	objects := append(numbered(3000, 100), numbered(9, 300_000)...)
	digests, _, err := s.Put(t.Context(), objects)
	if err != nil {
		t.Fatal(err)
	}
	// 24 transactions of 128, and of the large ones three go into one.
	if rev := revision(t, c); rev > 1+24+4 {
		t.Errorf("%d transactions for %d objects", rev-1, len(objects))
	}
	got, err := s.Get(t.Context(), digests)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(objects) {
		t.Errorf("%d objects came back, want %d", len(got), len(objects))
	}

	before := revision(t, c)
	if _, _, err := s.Put(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	if after := revision(t, c); after != before {
		t.Errorf("putting again wrote %d transactions", after-before)
	}
	if _, _, err := s.Put(t.Context(), append([][]byte{[]byte("new")}, objects...)); err != nil {
		t.Fatal(err)
	}
	if after := revision(t, c); after != before+1 {
		t.Errorf("putting one new object wrote %d transactions", after-before)
	}
}

func TestGetDetects(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	digests, _, err := s.Put(t.Context(), numbered(40, 10))
	if err != nil {
		t.Fatal(err)
	}

	absent := store.Sum([]byte("never put"))
	_, err = s.Get(t.Context(), append(digests, absent))
	wantErr(t, err, store.ErrMissingObject)
	if err == nil || !strings.Contains(err.Error(), absent.String()) {
		t.Errorf("%v does not name %v", err, absent)
	}

	if _, err := c.Put(t.Context(), objectKey(digests[33]), "altered"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(t.Context(), digests)
	wantErr(t, err, store.ErrAlteredObject)
	if err == nil || !strings.Contains(err.Error(), digests[33].String()) {
		t.Errorf("%v does not name %v", err, digests[33])
	}
	if _, err := s.Get(t.Context(), digests[:33]); err != nil {
		t.Errorf("the other objects: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Put(ctx, numbered(2, 1))
	wantErr(t, err, context.Canceled)
	_, err = s.Head(ctx)
	wantErr(t, err, context.Canceled)
	m := store.Sum(nil)
	_, err = s.Swap(ctx, swap(0, m[:], "r"))
	wantErr(t, err, context.Canceled)
}

func TestParseDigest(t *testing.T) {
	t.Parallel()
	d := store.Sum([]byte("abc"))
	if got, err := store.ParseDigest(d.String()); err != nil || got != d {
		t.Errorf("ParseDigest(%v) = %v, %v", d, got, err)
	}
	for _, s := range []string{"", "12", d.String()[2:], d.String() + "00", "zz" + d.String()[2:]} {
		if _, err := store.ParseDigest(s); err == nil {
			t.Errorf("ParseDigest(%q) took it", s)
		}
	}
	if got, err := store.DigestOf(d.Bytes()); err != nil || got != d {
		t.Errorf("DigestOf = %v, %v", got, err)
	}
	if _, err := store.DigestOf(d[1:]); err == nil {
		t.Error("DigestOf took 31 bytes")
	}
}
