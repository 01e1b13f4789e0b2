package geo

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed data/countries.tsv
var countriesTSV string

// Country is a row of the built-in table: what to take for a network of which only the country is
// known.
type Country struct {
	Code                string // ISO 3166-1 alpha-2
	Continent           string
	Name                string  // in English
	Latitude, Longitude float64 // centre of population
}

// Countries returns all known countries, sorted by code: ISO 3166-1, Kosovo (XK), and the Netherlands
// Antilles (AN), which some registries still state.
func Countries() []Country { return slices.Clone(countries()) }

// CountryByCode finds a country by its code, in capitals.
func CountryByCode(code string) (Country, bool) {
	all := countries()
	i, ok := slices.BinarySearchFunc(all, code, func(c Country, code string) int {
		return strings.Compare(c.Code, code)
	})
	if !ok {
		return Country{}, false
	}
	return all[i], true
}

// countries panics on a malformed table, since that is part of the program and read by every test.
var countries = sync.OnceValue(func() []Country {
	all, err := parseCountries(countriesTSV)
	if err != nil {
		panic(err)
	}
	return all
})

func parseCountries(tsv string) ([]Country, error) {
	var all []Country
	for line := range strings.Lines(tsv) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 5 {
			return nil, fmt.Errorf("geo: countries.tsv: %q has %d fields, not 5", line, len(f))
		}
		lat, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return nil, fmt.Errorf("geo: countries.tsv: %s: latitude: %w", f[0], err)
		}
		lon, err := strconv.ParseFloat(f[3], 64)
		if err != nil {
			return nil, fmt.Errorf("geo: countries.tsv: %s: longitude: %w", f[0], err)
		}
		if n := len(all); n > 0 && all[n-1].Code >= f[0] {
			return nil, fmt.Errorf("geo: countries.tsv: %s is not in order", f[0])
		}
		all = append(all, Country{Code: f[0], Continent: f[1], Name: f[4], Latitude: lat, Longitude: lon})
	}
	return all, nil
}
