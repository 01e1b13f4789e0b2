package geo

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// nestedRecord is the shape of MaxMind's and DB-IP's databases: GeoLite2, GeoIP2, Enterprise, DBIP-*,
// and those that imitate them. Networks known only by registered_country (anycast, satellites) stay
// unknown: where a network is registered is not where its clients are.
type nestedRecord struct {
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Subdivisions []struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"subdivisions"`
	City struct {
		Names struct {
			English string `maxminddb:"en"`
		} `maxminddb:"names"`
	} `maxminddb:"city"`
	Location struct {
		Latitude  *float64 `maxminddb:"latitude"`
		Longitude *float64 `maxminddb:"longitude"`
	} `maxminddb:"location"`
}

// flatRecord is the shape of ip-location-db, IPinfo and of our own data: plain fields, of which each
// vendor has some. Values are of any type because vendors differ in that too (IPinfo writes
// coordinates as text, and the name of the country where we write its code).
type flatRecord struct {
	CountryCode   any `maxminddb:"country_code"`
	Country       any `maxminddb:"country"`
	ContinentCode any `maxminddb:"continent_code"`
	Continent     any `maxminddb:"continent"`
	RegionCode    any `maxminddb:"region_code"`
	City          any `maxminddb:"city"`
	Latitude      any `maxminddb:"latitude"`
	Longitude     any `maxminddb:"longitude"`
	Lat           any `maxminddb:"lat"`
	Lng           any `maxminddb:"lng"`
}

// decodeLocation reads a record of either shape. A record that says nothing, or is of quite another
// kind, is an unknown location and no error; only a damaged one is.
func decodeLocation(r maxminddb.Result) (Location, error) {
	var nested nestedRecord
	var mismatch maxminddb.UnmarshalTypeError
	err := r.Decode(&nested)
	if err != nil && !errors.As(err, &mismatch) {
		return Location{}, err
	}
	if err == nil {
		if loc := nested.location(); loc != (Location{}) {
			return loc, nil
		}
	}
	var flat flatRecord
	err = r.Decode(&flat)
	if err != nil && !errors.As(err, &mismatch) {
		return Location{}, err
	}
	return flat.location(), nil
}

func (r *nestedRecord) location() Location {
	loc := Location{
		Continent: continentCode(r.Continent.Code),
		Country:   countryCode(r.Country.ISOCode),
		City:      r.City.Names.English,
	}
	if len(r.Subdivisions) > 0 {
		loc.Subdivision = subdivisionCode(loc.Country, r.Subdivisions[0].ISOCode)
	}
	if lat, lon := r.Location.Latitude, r.Location.Longitude; lat != nil && lon != nil {
		loc.setCoordinates(*lat, *lon)
	}
	return loc
}

func (r *flatRecord) location() Location {
	loc := Location{
		Continent: firstCode(continentCode, r.ContinentCode, r.Continent),
		Country:   firstCode(countryCode, r.CountryCode, r.Country),
	}
	loc.City, _ = r.City.(string)
	region, _ := r.RegionCode.(string)
	loc.Subdivision = subdivisionCode(loc.Country, region)
	loc.setCoordinates(firstNumber(r.Latitude, r.Lat), firstNumber(r.Longitude, r.Lng))
	return loc
}

// complete fills in, from the table of countries, what follows from the country.
func (loc *Location) complete() {
	c, ok := CountryByCode(loc.Country)
	if !ok {
		return
	}
	if loc.Continent == "" {
		loc.Continent = c.Continent
	}
	if !loc.HasCoordinates {
		loc.setCoordinates(c.Latitude, c.Longitude)
		loc.Centroid = true
	}
}

// setCoordinates ignores what is not a place on earth.
func (loc *Location) setCoordinates(lat, lon float64) {
	if validCoordinates(lat, lon) {
		loc.Latitude, loc.Longitude, loc.HasCoordinates = lat, lon, true
	}
}

func firstCode(normal func(string) string, values ...any) string {
	for _, v := range values {
		if s, ok := v.(string); ok {
			if code := normal(s); code != "" {
				return code
			}
		}
	}
	return ""
}

func firstNumber(values ...any) float64 {
	for _, v := range values {
		switch v := v.(type) {
		case float64:
			return v
		case float32:
			return float64(v)
		case string:
			if f, err := strconv.ParseFloat(v, 64); err == nil {
				return f
			}
		}
	}
	return math.NaN()
}

// countryCode returns the code in capitals, or nothing when s has not the form of one. It need not be
// one that the table knows: rules may name codes that are newer.
func countryCode(s string) string {
	if s = strings.ToUpper(s); len(s) == 2 && isAlnum(s, false) {
		return s
	}
	return ""
}

func continentCode(s string) string {
	switch s = strings.ToUpper(s); s {
	case "AF", "AN", "AS", "EU", "NA", "OC", "SA":
		return s
	}
	return ""
}

// subdivisionCode joins a country and the code of a part of it, which may have the country before it
// already.
func subdivisionCode(country, s string) string {
	s = strings.TrimPrefix(strings.ToUpper(s), country+"-")
	if country == "" || len(s) < 1 || len(s) > 3 || !isAlnum(s, true) {
		return ""
	}
	return country + "-" + s
}

// isAlnum reports whether s consists of ASCII capitals and, where digits are allowed, digits.
func isAlnum(s string, digits bool) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (!digits || c < '0' || c > '9') {
			return false
		}
	}
	return true
}
