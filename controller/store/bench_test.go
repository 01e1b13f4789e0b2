package store_test

import (
	"fmt"
	"testing"

	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
)

// On one member with fsync.
func durable(b *testing.B) *store.Store {
	server, err := embedded.Start(b.Context(), embedded.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { check(b, server.Close()) })
	return open(b, store.Options{Client: dial(b, store.DialOptions{Endpoints: server.Endpoints()})})
}

func BenchmarkHead(b *testing.B) {
	s := durable(b)
	mustSwap(b, s, swap(0, manifest(b, s, "m"), "r"))
	for b.Loop() {
		mustHead(b, s)
	}
}

func BenchmarkSwap(b *testing.B) {
	s := durable(b)
	m := manifest(b, s, "m")
	var rev int64
	for i := 0; b.Loop(); i++ {
		rev = mustSwap(b, s, swap(rev, m, fmt.Sprint(i)))
	}
}

// 64 objects of 512 KiB: 32 MiB.
func BenchmarkPutGet(b *testing.B) {
	s := durable(b)
	n := 0
	var digests []store.Digest
	b.Run("Put", func(b *testing.B) {
		b.SetBytes(64 << 19)
		for b.Loop() {
			n++
			objects := numbered(64, 1<<19-20)
			for _, o := range objects {
				copy(o[len(o)-10:], fmt.Sprint(n))
			}
			var err error
			if digests, _, err = s.Put(b.Context(), objects); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Get", func(b *testing.B) {
		b.SetBytes(64 << 19)
		for b.Loop() {
			if _, err := s.Get(b.Context(), digests); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPutThousands(b *testing.B) {
	s := durable(b)
	n := 0
	for b.Loop() {
		n++
		objects := numbered(5000, 200)
		for _, o := range objects {
			copy(o[len(o)-10:], fmt.Sprint(n))
		}
		if _, _, err := s.Put(b.Context(), objects); err != nil {
			b.Fatal(err)
		}
	}
}
