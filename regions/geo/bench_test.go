package geo

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(builtinData); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	db := builtin(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(db, threeRegions()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRank(b *testing.B) {
	t := compile(b, builtin(b), threeRegions())
	random := rand.New(rand.NewPCG(1, 2))
	for _, family := range []struct {
		name  string
		clone func() netip.Addr
	}{
		{"v4", func() netip.Addr { return randomV4(random) }},
		{"v6", func() netip.Addr { return randomV6(random) }},
	} {
		b.Run(family.name, func(b *testing.B) {
			addrs := make([]netip.Addr, 1<<16)
			for i := range addrs {
				addrs[i] = family.clone()
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				t.Rank(addrs[i&(1<<16-1)])
				i++
			}
		})
	}
}
