package health

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
)

// Nameservers and controllers of different versions compare digests, so these
// values must not change.
func TestDigestIsFixed(t *testing.T) {
	d := Digest(0).Add("web@192.0.2.10", regions.Healthy)
	if got, want := d.String(), "c289d5bb23d2ad01"; got != want {
		t.Errorf("one pair gives %s, want %s", got, want)
	}
	d = d.Add("web@2001:db8::10", regions.Unhealthy).Add("tcp@192.0.2.11", regions.Unknown)
	if got, want := d.String(), "df2b4adc1fd25269"; got != want {
		t.Errorf("three pairs give %s, want %s", got, want)
	}
}

func TestDigestProperties(t *testing.T) {
	genStatus := rapid.SampledFrom([]regions.Status{regions.Unknown, regions.Healthy, regions.Unhealthy})
	genTable := rapid.MapOfN(rapid.StringMatching(`[a-c]{1,3}`), genStatus, 0, 12)
	rapid.Check(t, func(t *rapid.T) {
		table := genTable.Draw(t, "table")
		d := DigestOf(maps.All(table))
		// Step by step to another table gives the digest of that table.
		other := genTable.Draw(t, "other")
		for target, was := range table {
			if is, ok := other[target]; ok {
				d = d.Replace(target, was, is)
			} else {
				d = d.Remove(target, was)
			}
		}
		for target, is := range other {
			if _, ok := table[target]; !ok {
				d = d.Add(target, is)
			}
		}
		if want := DigestOf(maps.All(other)); d != want {
			t.Fatalf("kept up to date: %s, computed anew: %s", d, want)
		}
		if maps.Equal(table, other) != (DigestOf(maps.All(table)) == DigestOf(maps.All(other))) {
			t.Fatal("tables differ and their digests do not, or the reverse")
		}
	})
}
