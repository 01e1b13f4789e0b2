// Package geo turns a client's address into a location, and a steering policy into a table that gives,
// for any address, an order of regions together with the widest ECS scope (RFC 7871) in which that
// order holds.
//
// All work is done in advance: [Load] flattens an MMDB into sorted, merged address ranges, and
// [Compile] merges them further into ranges of equal ranking. [Table.Rank], which the nameserver calls
// for each query, is one search in a sorted array and allocates nothing.
//
// The package is pure: no network, no clock, no logging, no files. It may import the standard library
// and maxminddb, and nothing of Fairlead.
//
// Its data come from the caller (GeoLite2, GeoIP2, DB-IP, ip-location-db and similar MMDB files, as
// bytes) or, for [Builtin], from data/, which internal/gendata makes from NRO and GeoNames data; see
// data/ATTRIBUTION.md.
package geo

import "math"

// Location is what is known of a network. The zero value means that nothing is.
type Location struct {
	Continent   string // AF, AN, AS, EU, NA, OC or SA
	Country     string // ISO 3166-1 alpha-2, for example FR
	Subdivision string // ISO 3166-2 with the country before it, for example FR-IDF
	City        string // English name

	Latitude, Longitude float64 // degrees; meaningless without HasCoordinates
	HasCoordinates      bool
	// Centroid says that the coordinates are not the network's own but the centre of population of its
	// country, because the database has no better ones.
	Centroid bool
}

// earthRadiusKm is the mean radius R1 of the IUGG.
const earthRadiusKm = 6371.0088

// DistanceKm is the great-circle distance between two points given in degrees. It uses the haversine
// formula, which keeps its precision for near points; NaN in gives NaN out.
func DistanceKm(lat1, lon1, lat2, lon2 float64) float64 {
	const rad = math.Pi / 180
	sinLat := math.Sin((lat2 - lat1) * rad / 2)
	sinLon := math.Sin((lon2 - lon1) * rad / 2)
	h := sinLat*sinLat + math.Cos(lat1*rad)*math.Cos(lat2*rad)*sinLon*sinLon
	return 2 * earthRadiusKm * math.Asin(math.Sqrt(min(h, 1)))
}

func validCoordinates(lat, lon float64) bool {
	// Written so that NaN fails.
	return lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180
}
