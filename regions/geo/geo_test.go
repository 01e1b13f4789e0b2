package geo

import (
	"math"
	"testing"
)

func TestDistanceKm(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		lat1, lon1, lat2, lon2 float64
		want                   float64
	}{
		{"same place", 50.1, 8.7, 50.1, 8.7, 0},
		{"Frankfurt to Virginia", 50.1, 8.7, 38.9, -77.4, 6526},
		{"Frankfurt to Tokyo", 50.1, 8.7, 35.7, 139.7, 9352},
		{"across the date line", -17.7, 179.5, -17.7, -179.5, 106},
		{"pole to pole", 90, 0, -90, 77, 20015},
		{"antipodes", 12.5, 30, -12.5, -150, 20015},
		{"a degree of latitude", 0, 0, 1, 0, 111.2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := DistanceKm(tt.lat1, tt.lon1, tt.lat2, tt.lon2)
			if math.Abs(got-tt.want) > 0.005*tt.want+0.1 {
				t.Errorf("%v km, want %v", got, tt.want)
			}
			if back := DistanceKm(tt.lat2, tt.lon2, tt.lat1, tt.lon1); math.Abs(back-got) > 1e-6 {
				t.Errorf("%v km there, %v km back", got, back)
			}
		})
	}
	if got := DistanceKm(math.NaN(), 0, 0, 0); !math.IsNaN(got) {
		t.Errorf("from nowhere: %v km, want NaN", got)
	}
}

func TestCountries(t *testing.T) {
	all := Countries()
	if len(all) != 251 { // ISO 3166-1's 249, XK, AN
		t.Errorf("%d countries", len(all))
	}
	continents := map[string]int{}
	for _, c := range all {
		if countryCode(c.Code) != c.Code || c.Name == "" {
			t.Errorf("%+v", c)
		}
		if !validCoordinates(c.Latitude, c.Longitude) || c.Latitude == 0 && c.Longitude == 0 {
			t.Errorf("%s lies at %v, %v", c.Code, c.Latitude, c.Longitude)
		}
		continents[c.Continent]++
	}
	if len(continents) != 7 || continents[""] > 0 {
		t.Errorf("continents: %v", continents)
	}
	// A polygon's centre would lie 400 km to the south-west for France, and in the north for Canada.
	for code, want := range map[string][2]float64{"FR": {47, 3}, "CA": {48, -86}, "US": {39, -93}, "FJ": {-18, 178}, "RU": {57, 52}} {
		c, ok := CountryByCode(code)
		if km := DistanceKm(c.Latitude, c.Longitude, want[0], want[1]); !ok || km > 150 {
			t.Errorf("%s is at %v, %v, %v km from where it should be", code, c.Latitude, c.Longitude, km)
		}
	}
	if c, ok := CountryByCode("UK"); ok {
		t.Errorf("UK is no code, found %v", c)
	}
}

func TestParseCountriesRefuses(t *testing.T) {
	for name, tsv := range map[string]string{
		"too few fields": "FR\tEU\t1\t2\n",
		"latitude":       "FR\tEU\tx\t2\tFrance\n",
		"longitude":      "FR\tEU\t1\tx\tFrance\n",
		"order":          "FR\tEU\t1\t2\tFrance\nDE\tEU\t1\t2\tGermany\n",
		"twice":          "FR\tEU\t1\t2\tFrance\nFR\tEU\t1\t2\tFrance\n",
	} {
		if _, err := parseCountries(tsv); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
