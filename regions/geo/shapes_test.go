package geo

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/geoip2-golang/v2"
)

// cityRecord is a record as GeoLite2-City has it, names in several languages and all.
func cityRecord() mmdbtype.Map {
	return obj(
		"city", obj("geoname_id", mmdbtype.Uint32(2988507), "names", obj("de", "Paris", "en", "Paris", "ru", "Париж")),
		"continent", obj("code", "EU", "geoname_id", mmdbtype.Uint32(6255148), "names", obj("en", "Europe")),
		"country", obj("geoname_id", mmdbtype.Uint32(3017382), "is_in_european_union", mmdbtype.Bool(true), "iso_code", "FR", "names", obj("en", "France")),
		"location", obj("accuracy_radius", mmdbtype.Uint16(20), "latitude", 48.8323, "longitude", 2.4075, "time_zone", "Europe/Paris"),
		"postal", obj("code", "75001"),
		"registered_country", obj("iso_code", "DE"),
		"subdivisions", mmdbtype.Slice{
			obj("iso_code", "IDF", "names", obj("en", "Île-de-France")),
			obj("iso_code", "75", "names", obj("en", "Paris")),
		},
	)
}

func countryRecord(continent, country string) mmdbtype.Map {
	return obj("continent", obj("code", continent), "country", obj("iso_code", country), "registered_country", obj("iso_code", "SE"))
}

var (
	paris = Location{
		Continent: "EU", Country: "FR", Subdivision: "FR-IDF", City: "Paris",
		Latitude: 48.8323, Longitude: 2.4075, HasCoordinates: true,
	}
	france = Location{Continent: "EU", Country: "FR", Latitude: 47.0745, Longitude: 2.7884, HasCoordinates: true, Centroid: true}
)

func TestShapes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		typ    string
		record mmdbtype.Map
		want   Location
	}{
		{"GeoLite2 country", "GeoLite2-Country", countryRecord("EU", "FR"), france},
		{"GeoIP2 country", "GeoIP2-Country", countryRecord("EU", "FR"), france},
		{"GeoLite2 city", "GeoLite2-City", cityRecord(), paris},
		{"GeoIP2 city", "GeoIP2-City", cityRecord(), paris},
		{"Enterprise", "GeoIP2-Enterprise", cityRecord(), paris},
		{"DB-IP country", "DBIP-Country-Lite", countryRecord("EU", "FR"), france},
		{
			"DB-IP city: floats of 32 bits, subdivisions without codes", "DBIP-City-Lite",
			obj(
				"city", obj("names", obj("en", "Paris")),
				"continent", obj("code", "EU"),
				"country", obj("iso_code", "FR"),
				"location", obj("latitude", float32(48.5), "longitude", float32(2.25)),
				"subdivisions", mmdbtype.Slice{obj("names", obj("en", "Île-de-France"))},
			),
			Location{Continent: "EU", Country: "FR", City: "Paris", Latitude: 48.5, Longitude: 2.25, HasCoordinates: true},
		},
		{"ip-location-db country", "country ipvAll", obj("country_code", "FR"), france},
		{
			"ip-location-db city", "city",
			obj("country_code", "FR", "state1", "Île-de-France", "city", "Paris", "latitude", float32(48.5), "longitude", float32(2.25)),
			Location{Continent: "EU", Country: "FR", City: "Paris", Latitude: 48.5, Longitude: 2.25, HasCoordinates: true},
		},
		{"IPinfo lite", "ipinfo generic_bundle_free.mmdb", obj("continent", "Europe", "continent_code", "EU", "country", "France", "country_code", "FR"), france},
		{
			"IPinfo location: coordinates as text", "ipinfo standard_location.mmdb",
			obj("country", "FR", "region_code", "IDF", "city", "Paris", "lat", "48.8323", "lng", "2.4075"), paris,
		},
		{
			"our own", "Fairlead-Country", obj("country", "FR", "continent", "EU", "latitude", 47.0, "longitude", 3.0),
			Location{Continent: "EU", Country: "FR", Latitude: 47, Longitude: 3, HasCoordinates: true, Centroid: true},
		},
		{"lower case", "x", obj("country_code", "fr", "region_code", "fr-idf"), withSubdivision(france, "FR-IDF")},
		{"only a continent", "GeoIP2-City", obj("continent", obj("code", "EU")), Location{Continent: "EU"}},
		{"a country newer than the table", "GeoIP2-Country", countryRecord("EU", "QQ"), Location{Continent: "EU", Country: "QQ"}},
		{
			"coordinates off the earth", "GeoIP2-City",
			obj("country", obj("iso_code", "FR"), "location", obj("latitude", 148.0, "longitude", 2.0)), france,
		},
		{
			"coordinates without a country", "GeoIP2-City",
			obj("location", obj("latitude", 1.0, "longitude", 2.0)), Location{Latitude: 1, Longitude: 2, HasCoordinates: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := fixture{Options: ofType(tt.typ), rows: []row{{"198.51.100.0/24", tt.record}, {"2001:db8::/32", tt.record}}}
			db := f.load(t)
			for _, a := range []string{"198.51.100.7", "2001:db8::7", "::ffff:198.51.100.7"} {
				got, network := db.Lookup(netip.MustParseAddr(a))
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s in %v (-want +got):\n%s", a, network, diff)
				}
			}
			if got, network := db.Lookup(netip.MustParseAddr("198.51.101.1")); got != (Location{}) || network.String() != "198.51.101.0/24" {
				t.Errorf("outside: %v in %v", got, network)
			}
			if db.Networks() != 2 || db.Type() != tt.typ || db.BuildTime().Unix() != 1_700_000_000 {
				t.Errorf("%d networks of %q of %v", db.Networks(), db.Type(), db.BuildTime())
			}
			againstGeoIP2(t, f.bytes(t), db)
		})
	}
}

func withSubdivision(loc Location, code string) Location {
	loc.Subdivision = code
	return loc
}

// againstGeoIP2 compares a location with what geoip2-golang says, for the types that it knows.
func againstGeoIP2(t *testing.T, data []byte, db *Database) {
	t.Helper()
	reader, err := geoip2.OpenBytes(data)
	var unknown geoip2.UnknownDatabaseTypeError
	if errors.As(err, &unknown) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("198.51.100.7")
	city, err := reader.City(addr)
	if err != nil {
		t.Fatal(err)
	}
	loc, _ := db.Lookup(addr)
	if loc.Country != city.Country.ISOCode || loc.City != city.City.Names.English {
		t.Errorf("%+v, geoip2 says %+v", loc, city)
	}
	if c := city.Continent.Code; c != "" && loc.Continent != c {
		t.Errorf("%+v, geoip2 says %s", loc, c)
	}
	if city.Location.HasCoordinates() && !loc.Centroid && (loc.Latitude != *city.Location.Latitude || loc.Longitude != *city.Location.Longitude) {
		t.Errorf("%+v, geoip2 says %+v", loc, city.Location)
	}
}

// TestTreeForms reads every form of search tree: record sizes, IPv4 alone, networks deeper than /64,
// one network that covers all of IPv4, no aliases.
func TestTreeForms(t *testing.T) {
	fr, jp := countryRecord("EU", "FR"), countryRecord("AS", "JP")
	rows := []row{
		{"198.51.100.0/24", fr},
		{"198.51.100.77/32", jp},
		{"2001:db8::/32", fr},
		{"2001:db8:0:1::/64", jp},
		{"2001:db8:0:1:8000::/65", fr},
		{"2001:db8:0:1:8000::1/128", jp},
	}
	want := map[string]string{
		"198.51.100.1": "FR", "198.51.100.77": "JP", "198.51.100.78": "FR", "198.51.99.255": "", "198.51.101.0": "",
		"2001:db8::": "FR", "2001:db8:0:1::5": "JP", "2001:db8:0:1:8000::": "FR", "2001:db8:0:1:8000::1": "JP",
		"2001:db8:0:1:8000::2": "FR", "2001:db8:0:2::": "FR", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff": "", "2001:db9::": "",
	}
	check := func(t *testing.T, db *Database, want map[string]string) {
		t.Helper()
		for a, country := range want {
			if got, network := db.Lookup(netip.MustParseAddr(a)); got.Country != country {
				t.Errorf("%s: %q in %v, want %q", a, got.Country, network, country)
			}
		}
	}
	for _, size := range []int{24, 28, 32} {
		db := fixture{Options: mmdbwriter.Options{DatabaseType: "GeoIP2-Country", RecordSize: size}, rows: rows}.load(t)
		check(t, db, want)
		check(t, db, map[string]string{"2002:c633:6401::1": "", "2001::c633:6401": ""})
	}
	t.Run("IPv4 alone", func(t *testing.T) {
		db := fixture{Options: mmdbwriter.Options{DatabaseType: "GeoIP2-Country", IPVersion: 4}, rows: rows[:2]}.load(t)
		check(t, db, map[string]string{"198.51.100.1": "FR", "198.51.100.77": "JP", "1.1.1.1": "", "2001:db8::": "", "::ffff:198.51.100.1": "FR"})
	})
	t.Run("IPv6 alone", func(t *testing.T) {
		db := fixture{Options: mmdbwriter.Options{DatabaseType: "GeoIP2-Country", DisableIPv4Aliasing: true}, rows: rows[2:]}.load(t)
		check(t, db, map[string]string{"198.51.100.1": "", "2001:db8::": "FR"})
	})
	t.Run("all of IPv4", func(t *testing.T) {
		db := fixture{Options: mmdbwriter.Options{DatabaseType: "GeoIP2-Country", DisableIPv4Aliasing: true}, rows: []row{{"::/16", fr}, {"2001:db8::/32", fr}}}.load(t)
		check(t, db, map[string]string{"198.51.100.1": "FR", "0.0.0.0": "FR", "::1": "FR", "2001:db8::": "FR", "1::": ""})
		if db.Networks() != 2 {
			t.Errorf("%d networks", db.Networks())
		}
	})
	t.Run("networks of one location are merged", func(t *testing.T) {
		db := fixture{Options: ofType("x"), rows: []row{
			{"198.51.100.0/25", obj("country_code", "FR", "zip", "1")}, {"198.51.100.128/25", obj("country_code", "FR", "zip", "2")},
		}}.load(t)
		if _, network := db.Lookup(netip.MustParseAddr("198.51.100.7")); network.String() != "198.51.100.0/24" || db.Locations() != 1 || db.Networks() != 2 {
			t.Errorf("%v, %d locations", network, db.Locations())
		}
	})
}
