package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-dns/fairlead/regions/geo"
)

// TestCountryCodes: the codes are those that the geo data can give, and what is
// suggested for another is one of them.
func TestCountryCodes(t *testing.T) {
	var want []string
	for _, c := range geo.Countries() {
		want = append(want, c.Code)
		if message := checkContinent(c.Continent); message != "" {
			t.Errorf("%s: %s", c.Code, message)
		}
		if message := checkCountry(c.Code); message != "" {
			t.Errorf("%s: %s", c.Code, message)
		}
	}
	if !slices.Equal(countryCodes, want) {
		t.Errorf("the codes are\n%v\nand those of the geo data\n%v", countryCodes, want)
	}
	for other, meant := range otherCountries {
		if checkCountry(meant) != "" || checkCountry(other) == "" || strings.ToUpper(other) != other {
			t.Errorf("%q stands for %q", other, meant)
		}
	}
	for other, meant := range otherContinents {
		if checkContinent(meant) != "" || checkContinent(other) == "" {
			t.Errorf("%q stands for %q", other, meant)
		}
	}
}

func TestCodes(t *testing.T) {
	for _, c := range []struct {
		check    func(string) string
		in, want string
	}{
		{checkCountry, "UK", `"UK" is no country (did you mean "GB"?)`},
		{checkCountry, "USA", `"USA" is no country (did you mean "US"?)`},
		{checkCountry, "ZZ", `there is no country "ZZ": want a code of ISO 3166-1, as FR`},
		{checkCountry, "EU", `"EU" is a continent: write it under continents`},
		{checkCountry, "US-CA", `"US-CA" is a subdivision: write it under subdivisions`},
		{checkCountry, "", `"" is no country: want two letters (ISO 3166-1 alpha-2), as FR`},
		{checkCountry, "Ü1", `"Ü1" is no country: want two letters (ISO 3166-1 alpha-2), as FR`},
		{checkContinent, "EUROPE", `"EUROPE" is no continent (did you mean "EU"?)`},
		{checkContinent, "XX", `"XX" is no continent: want one of AF, AN, AS, EU, NA, OC, SA`},
		{checkSubdivision, "US-CA", ""},
		{checkSubdivision, "GB-ENG", ""},
		{checkSubdivision, "UK-ENG", `"UK-ENG" is no subdivision (did you mean "GB-ENG"?)`},
		{checkSubdivision, "ZZ-1", `"ZZ-1": there is no country "ZZ": want a code of ISO 3166-2, as US-CA`},
		{checkSubdivision, "CA", `"CA" is no subdivision: want a code of ISO 3166-2, as US-CA`},
	} {
		if got := c.check(c.in); got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
	}
}
