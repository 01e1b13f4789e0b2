package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// countryCodes are those that regions/geo can give to a client: ISO 3166-1,
// Kosovo (XK) and the Netherlands Antilles (AN). A test holds them equal to
// geo.Countries; they are not imported, since every program that links geo
// links the built-in database too.
var countryCodes = strings.Fields(`
AD AE AF AG AI AL AM AN AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP
KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT
MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW`)

// otherCountries are codes and words that people write for a country, and its
// code: of the European Union, of ISO 3166-1 alpha-3, of the past.
var otherCountries = map[string]string{
	"UK": "GB", "EL": "GR", "EN": "GB", "SU": "RU", "YU": "RS", "CS": "RS", "TP": "TL", "ZR": "CD", "DD": "DE", "BU": "MM", "FX": "FR",
	"ARE": "AE", "ARG": "AR", "AUS": "AU", "AUT": "AT", "BEL": "BE", "BRA": "BR", "CAN": "CA", "CHE": "CH", "CHL": "CL", "CHN": "CN",
	"COL": "CO", "CZE": "CZ", "DEU": "DE", "DNK": "DK", "EGY": "EG", "ESP": "ES", "FIN": "FI", "FRA": "FR", "GBR": "GB", "GER": "DE",
	"GRC": "GR", "HKG": "HK", "HUN": "HU", "IDN": "ID", "IND": "IN", "IRL": "IE", "ISR": "IL", "ITA": "IT", "JPN": "JP", "KEN": "KE",
	"KOR": "KR", "MEX": "MX", "MYS": "MY", "NGA": "NG", "NLD": "NL", "NOR": "NO", "NZL": "NZ", "PHL": "PH", "POL": "PL", "PRT": "PT",
	"ROU": "RO", "RUS": "RU", "SAU": "SA", "SGP": "SG", "SWE": "SE", "THA": "TH", "TUR": "TR", "TWN": "TW", "UKR": "UA", "USA": "US",
	"VNM": "VN", "ZAF": "ZA",
	"BRAZIL": "BR", "CANADA": "CA", "CHINA": "CN", "FRANCE": "FR", "GERMANY": "DE", "INDIA": "IN", "JAPAN": "JP", "ENGLAND": "GB",
}

// continents by what people write for them.
var (
	continents      = []string{"AF", "AN", "AS", "EU", "NA", "OC", "SA"}
	otherContinents = map[string]string{
		"AFRICA": "AF", "ANTARCTICA": "AN", "ASIA": "AS", "EUROPE": "EU", "OCEANIA": "OC", "AUSTRALIA": "OC", "AU": "OC",
		"NORTHAMERICA": "NA", "NORTH-AMERICA": "NA", "NORTH AMERICA": "NA", "US": "NA",
		"SOUTHAMERICA": "SA", "SOUTH-AMERICA": "SA", "SOUTH AMERICA": "SA",
	}
)

var (
	country     = regexp.MustCompile(`^[A-Z]{2}$`)
	subdivision = regexp.MustCompile(`^([A-Z]{2})-([A-Z0-9]{1,3})$`)
)

// checkCountry says what is wrong with s as the code of a country in capitals,
// or "". A wrong one would match no client, silently.
func checkCountry(s string) string {
	if _, known := slices.BinarySearch(countryCodes, s); known {
		return ""
	}
	meant, ok := otherCountries[s]
	switch {
	case ok:
		return fmt.Sprintf("%q is no country (did you mean %q?)", s, meant)
	case s == "EU":
		return `"EU" is a continent: write it under continents`
	case subdivision.MatchString(s):
		return fmt.Sprintf("%q is a subdivision: write it under subdivisions", s)
	case country.MatchString(s):
		return fmt.Sprintf("there is no country %q: want a code of ISO 3166-1, as FR", s)
	}
	return fmt.Sprintf("%q is no country: want two letters (ISO 3166-1 alpha-2), as FR", s)
}

// checkContinent is checkCountry for continents.
func checkContinent(s string) string {
	if slices.Contains(continents, s) {
		return ""
	}
	if meant, ok := otherContinents[s]; ok {
		return fmt.Sprintf("%q is no continent (did you mean %q?)", s, meant)
	}
	return fmt.Sprintf("%q is no continent: want one of %s", s, strings.Join(continents, ", "))
}

// checkSubdivision is checkCountry for parts of countries, of which only the
// form and the country are known.
func checkSubdivision(s string) string {
	m := subdivision.FindStringSubmatch(s)
	if m == nil {
		return fmt.Sprintf("%q is no subdivision: want a code of ISO 3166-2, as US-CA", s)
	}
	if meant, ok := otherCountries[m[1]]; ok {
		return fmt.Sprintf("%q is no subdivision (did you mean %q?)", s, meant+"-"+m[2])
	}
	if message := checkCountry(m[1]); message != "" {
		return fmt.Sprintf("%q: there is no country %q: want a code of ISO 3166-2, as US-CA", s, m[1])
	}
	return ""
}
