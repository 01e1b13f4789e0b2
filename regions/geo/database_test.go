package geo

import (
	"net/netip"
	"testing"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

func TestBuiltin(t *testing.T) {
	db := builtin(t)
	if n := db.Networks(); n < 900_000 {
		t.Errorf("%d networks", n)
	}
	if n := db.Locations(); n < 240 || n > len(Countries()) {
		t.Errorf("%d locations", n)
	}
	if got := db.Type(); got != "Fairlead-Country" {
		t.Errorf("type %q", got)
	}
	if got := db.BuildTime().Format(time.DateOnly); got != "2026-06-17" {
		t.Errorf("built on %s", got)
	}
	if got := db.Digest(); len(got) != 16 {
		t.Errorf("digest %q", got)
	}
	for _, c := range db.locations[1:] {
		if known, ok := CountryByCode(c.Country); !ok || c.Continent != known.Continent ||
			c.Latitude != known.Latitude || c.Longitude != known.Longitude || !c.Centroid || !c.HasCoordinates {
			t.Errorf("%+v, in the table %+v", c, known)
		}
	}
}

func TestBuiltinLookup(t *testing.T) {
	db := builtin(t)
	for _, tt := range []struct{ addr, country, continent string }{
		{"8.8.8.8", "US", "NA"},
		{"::ffff:8.8.8.8", "US", "NA"},
		{"2001:4860:4860::8888", "US", "NA"},
		{"193.0.6.139", "NL", "EU"},
		{"2001:67c:2e8::1", "NL", "EU"},
		{"2a00:1450::1", "IE", "EU"},
		{"133.11.0.1", "JP", "AS"},
		{"240b::1", "JP", "AS"},
		{"196.216.2.1", "ZA", "AF"},
		{"2001:43f8::1", "TZ", "AF"},
		{"200.160.0.8", "BR", "SA"},
		{"2001:12ff::1", "BR", "SA"},
		{"1.1.1.1", "AU", "OC"},
		{"10.0.0.1", "", ""},
		{"127.0.0.1", "", ""},
		{"203.0.113.1", "", ""},
		{"::1", "", ""},
		{"fe80::1%eth0", "", ""},
		{"2001:db8::1", "", ""},
		{"2002:808:808::1", "", ""}, // 6to4
		{"2001::1", "", ""},         // Teredo
	} {
		addr := netip.MustParseAddr(tt.addr)
		loc, network := db.Lookup(addr)
		if loc.Country != tt.country || loc.Continent != tt.continent {
			t.Errorf("%s: %+v, want %s in %s", tt.addr, loc, tt.country, tt.continent)
		}
		if !network.Contains(addr.Unmap().WithZone("")) || network != network.Masked() {
			t.Errorf("%s: network %v", tt.addr, network)
		}
	}
	if loc, network := db.Lookup(netip.Addr{}); loc != (Location{}) || network.IsValid() {
		t.Errorf("no address: %v, %v", loc, network)
	}
}

// TestWalkAgainstMaxminddb compares every network of the built-in data with the reader's own walk.
func TestWalkAgainstMaxminddb(t *testing.T) {
	db := builtin(t)
	reader, err := maxminddb.OpenBytes(builtinData)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[uintptr]string{}
	n := 0
	for result := range reader.Networks() {
		code, ok := codes[result.Offset()]
		if !ok {
			if err := result.DecodePath(&code, "country"); err != nil {
				t.Fatal(err)
			}
			codes[result.Offset()] = code
		}
		n++
		p := result.Prefix()
		loc, network := db.Lookup(p.Addr())
		if loc.Country != code || network.Bits() > p.Bits() {
			t.Fatalf("%v: %s in %v, want %s", p, loc.Country, network, code)
		}
	}
	if n != db.Networks() {
		t.Errorf("%d networks, the reader sees %d", db.Networks(), n)
	}
}

func TestLookupAllocates(t *testing.T) {
	db, addr := builtin(t), netip.MustParseAddr("2001:67c:2e8::1")
	if n := testing.AllocsPerRun(100, func() { db.Lookup(addr) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestJoin(t *testing.T) {
	four := fixture{Options: ofType("city ipv4"), rows: []row{
		{"198.51.100.0/24", cityRecord()}, {"2001:db8::/32", countryRecord("OC", "AU")}, {"192.0.2.0/24", countryRecord("OC", "NZ")},
	}}.load(t)
	six := fixture{Options: ofType("city ipv6"), rows: []row{
		{"2001:db8::/33", countryRecord("AS", "JP")}, {"2001:db8:8000::/33", cityRecord()}, {"198.51.100.0/24", countryRecord("EU", "DE")},
	}}.load(t)
	db := Join(four, six)
	for a, country := range map[string]string{
		"198.51.100.1": "FR", "192.0.2.1": "NZ", "192.0.3.1": "", "2001:db8::1": "JP", "2001:db8:8000::": "FR", "2001:db9::": "",
	} {
		if got, _ := db.Lookup(netip.MustParseAddr(a)); got.Country != country {
			t.Errorf("%s: %+v, want %q", a, got, country)
		}
	}
	if db.Networks() != 4 || db.Locations() != 5 || db.Type() != "city ipv4 + city ipv6" {
		t.Errorf("%d networks, %d locations, type %q", db.Networks(), db.Locations(), db.Type())
	}
	if db.Digest() == four.Digest() || db.Digest() == Join(six, four).Digest() || db.Digest() != Join(four, six).Digest() {
		t.Errorf("digest %s", db.Digest())
	}
	if got, _ := six.Lookup(netip.MustParseAddr("2001:db8::1")); got.Country != "JP" || six.Networks() != 3 {
		t.Errorf("the joined database has changed: %+v", got)
	}
	use(t, db)
}
