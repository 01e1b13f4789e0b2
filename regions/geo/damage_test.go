package geo

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
)

func smallCity(tb testing.TB) []byte {
	return fixture{Options: ofType("GeoLite2-City"), rows: []row{
		{"198.51.100.0/24", cityRecord()}, {"203.0.113.0/24", countryRecord("OC", "AU")}, {"2001:db8::/32", cityRecord()},
	}}.bytes(tb)
}

// use exercises a database that was loaded from doubtful data.
func use(tb testing.TB, db *Database) {
	tb.Helper()
	t := compile(tb, db, threeRegions())
	for _, a := range []string{"0.0.0.0", "198.51.100.1", "255.255.255.255", "::", "2001:db8::1", "ffff::"} {
		addr := netip.MustParseAddr(a)
		if r, _ := t.Rank(addr); !slices.Equal(t.Rankings()[r].Regions, t.Explain(addr).Ranking) {
			tb.Errorf("%s: Rank and Explain differ", a)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	asn := obj("autonomous_system_number", "1", "autonomous_system_organization", "An organisation")
	for _, tt := range []struct {
		name, want string
		data       []byte
	}{
		{"nothing", "empty", nil},
		{"text", "these 11 bytes are not a whole MMDB file", []byte("hello world")},
		{"an ASN database", `type "GeoLite2-ASN": none of its 1 networks has a country or coordinates`,
			fixture{Options: ofType("GeoLite2-ASN"), rows: []row{{"198.51.100.0/24", asn}}}.bytes(t)},
		{"no networks", `type "GeoLite2-City": it has no networks`, fixture{Options: ofType("GeoLite2-City")}.bytes(t)},
		{"no type", "database_type", fixture{rows: []row{{"198.51.100.0/24", cityRecord()}}}.bytes(t)},
		{"shared subtrees", "more paths than a tree of its size can have", sharedSubtrees(t)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Load(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// sharedSubtrees is a small file with more than 2^100 paths: both branches of every node lead to the
// next node. It is well-formed, and maxminddb's Verify accepts it.
func sharedSubtrees(tb testing.TB) []byte {
	data := fixture{
		Options: mmdbwriter.Options{DatabaseType: "x", DisableIPv4Aliasing: true, RecordSize: 24},
		rows:    []row{{"2001:db8::1/128", obj("country_code", "FR")}},
	}.bytes(tb)
	nodes := bytes.Index(data, make([]byte, dataSeparator)) / 6
	for i := range nodes {
		next := i + 1
		if next == nodes {
			next += dataSeparator
		}
		copy(data[6*i:], []byte{0, byte(next >> 8), byte(next), 0, byte(next >> 8), byte(next)})
	}
	return data
}

func TestLoadTruncated(t *testing.T) {
	whole := smallCity(t)
	for n := range whole {
		if _, err := Load(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", n, len(whole))
		}
	}
}

// TestLoadAltered changes every byte in several ways. Not every change can be noticed: an MMDB has no
// checksum. None may do more harm than give other locations.
func TestLoadAltered(t *testing.T) {
	whole := smallCity(t)
	refused := 0
	for i := range whole {
		for _, change := range []byte{0xff, 0x01, 0x80, 0x20} {
			data := slices.Clone(whole)
			data[i] ^= change
			db, err := Load(data)
			if err != nil {
				refused++
				continue
			}
			use(t, db)
		}
	}
	if refused < len(whole) {
		t.Errorf("only %d of %d changes were refused", refused, 4*len(whole))
	}
}

func TestLoadBuiltinDamaged(t *testing.T) {
	if testing.Short() {
		t.Skip("loads 8 MB many times")
	}
	size := len(builtinData)
	for _, n := range []int{1, 1000, size / 3, size - 4096, size - 100, size - 1} {
		t.Run(fmt.Sprintf("first %d bytes", n), func(t *testing.T) {
			if _, err := Load(builtinData[:n]); err == nil {
				t.Error("accepted")
			}
		})
	}
	for _, at := range []int{0, 6 * 96, size / 7, size / 3, size / 2, size - 16384, size - 9000} {
		t.Run(fmt.Sprintf("a page lost at %d", at), func(t *testing.T) {
			data := slices.Clone(builtinData)
			for i := range data[at : at+4096] {
				data[at+i] = 0xff
			}
			began := time.Now()
			if _, err := Load(data); err == nil {
				t.Error("accepted")
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte{})
	f.Add(smallCity(f))
	f.Add(sharedSubtrees(f))
	for _, size := range []int{24, 28, 32} {
		f.Add(fixture{
			Options: mmdbwriter.Options{DatabaseType: "country", RecordSize: size, IPVersion: 4, DisableMetadataPointers: size == 28},
			rows:    []row{{"198.51.100.0/24", obj("country_code", "FR", "latitude", 1.5, "lng", "2.5")}},
		}.bytes(f))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if db, err := Load(data); err == nil {
			use(t, db)
		}
	})
}
