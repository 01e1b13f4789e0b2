package zone

import (
	"strings"
	"testing"
)

// build makes a zone of example.test that must be right.
func build(t testing.TB, records string, services ...ServiceOwner) *Zone {
	t.Helper()
	z, err := Build(Params{Origin: "example.test", Nameservers: []string{"ns1.other.test"}, Records: records, Services: services})
	if err != nil {
		t.Fatalf("Build: %v", err)
	}
	return z
}

func name(t testing.TB, s string) Name {
	t.Helper()
	n, err := ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lines splits an error's or warnings' text.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}
