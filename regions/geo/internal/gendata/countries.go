package main

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// countriesTSV is the hand-kept table of ISO 3166-1 codes (and XK, which networks use for Kosovo, and
// AN, withdrawn but still met in registries): names after tzdata's iso3166.tab, which is in the public
// domain; continents as GeoNames and MaxMind assign them.
//
//go:embed countries.tsv
var countriesTSV string

type country struct {
	continent, name     string
	latitude, longitude float64
}

// locateCountries gives each country of the table the population-weighted centre of its cities. One
// without cities must have coordinates in the table.
func locateCountries(cities []city) (map[string]country, error) {
	type vector struct{ x, y, z float64 }
	sums := map[string]vector{}
	for _, c := range cities {
		// The mean is one of directions on the globe, so that Fiji's two sides of the date line do not
		// meet in the Atlantic. One head more lets places of unstated population count.
		weight := float64(c.population) + 1
		sinLat, cosLat := math.Sincos(c.latitude * math.Pi / 180)
		sinLon, cosLon := math.Sincos(c.longitude * math.Pi / 180)
		v := sums[c.country]
		v.x += weight * cosLat * cosLon
		v.y += weight * cosLat * sinLon
		v.z += weight * sinLat
		sums[c.country] = v
	}
	countries := map[string]country{}
	var errs []error
	for line := range strings.Lines(countriesTSV) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		code, c, fixed, err := parseCountry(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		v, found := sums[code]
		switch {
		case found:
			c.latitude = round(math.Atan2(v.z, math.Hypot(v.x, v.y)) * 180 / math.Pi)
			c.longitude = round(math.Atan2(v.y, v.x) * 180 / math.Pi)
		case !fixed:
			errs = append(errs, fmt.Errorf("country %s has neither cities nor coordinates", code))
		}
		countries[code] = c
		delete(sums, code)
	}
	for code := range sums {
		errs = append(errs, fmt.Errorf("country %q of the cities is not in the table", code))
	}
	return countries, errors.Join(errs...)
}

func parseCountry(line string) (code string, c country, fixed bool, err error) {
	fields := strings.Split(line, "\t")
	if len(fields) != 3 && len(fields) != 5 {
		return "", c, false, fmt.Errorf("countries.tsv: %q has %d fields, not 3 or 5", line, len(fields))
	}
	c = country{continent: fields[1], name: fields[2]}
	if len(fields) == 5 {
		var errLat, errLon error
		c.latitude, errLat = strconv.ParseFloat(fields[3], 64)
		c.longitude, errLon = strconv.ParseFloat(fields[4], 64)
		if err := errors.Join(errLat, errLon); err != nil {
			return "", c, false, fmt.Errorf("countries.tsv: %q: %w", line, err)
		}
		fixed = true
	}
	return fields[0], c, fixed, nil
}

// round keeps 4 decimals, 11 m: the last bits of a sum may differ between processors.
func round(degrees float64) float64 { return math.Round(degrees*1e4) / 1e4 }
