package zone

import (
	"strings"

	"github.com/miekg/dns"
)

// CheckType says what is wrong with the name of a record type that is asked
// for, as A or TYPE65280.
func CheckType(word string) error {
	_, err := parseType(strings.ToUpper(word))
	return err
}

// CheckRdata says what is wrong with the RDATA of a type in presentation form,
// with all names in full.
func CheckRdata(word, rdata string) error {
	t, err := parseType(strings.ToUpper(word))
	if err != nil {
		return err
	}
	_, _, err = parseRdata(dns.RR_Header{Name: ".", Rrtype: t, Class: dns.ClassINET}, rdata, ".")
	return err
}

// IsRcode tells whether a word is the name of an RCODE, as NXDOMAIN.
func IsRcode(word string) bool {
	_, known := dns.StringToRcode[word]
	return known
}
