package config

import (
	"fmt"
	"strings"
	"time"
)

// Suggest is the tail of an error about a name that does not exist: the
// nearest one that does, as ` (did you mean "x"?)`, else all when they are few.
func Suggest(name string, right []string) string {
	switch {
	case len(right) == 0:
		return " (there is none)"
	case len(right) <= 8:
		return wantOneOf(name, right)
	}
	if near := nearest(name, right); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// wantOneOf is the tail of an error about a word that is none of the right
// ones: the nearest of them, else all.
func wantOneOf(word string, right []string) string {
	if near := nearest(word, right); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ": want one of " + strings.Join(right, ", ")
}

// synonyms are fields under the names that they have elsewhere, in the form of
// foldWord. They count where there is such a field.
var synonyms = map[string]string{
	"lat": "latitude", "lon": "longitude", "lng": "longitude", "long": "longitude",
	"az": "availabilityZone", "zone": "availabilityZone", "azs": "availabilityZones", "zones": "availabilityZones",
	"ip": "addresses", "ips": "addresses", "addr": "addresses", "address": "addresses", "targets": "addresses",
	"host": "cname", "hostname": "cname", "target": "cname",
	"backends": "endpoints", "members": "endpoints", "origins": "endpoints", "pool": "endpoints", "servers": "endpoints", "targetgroup": "endpoints",
	"check": "healthCheck", "healthchecks": "healthCheck", "monitor": "healthCheck", "probe": "healthCheck",
	"steering": "policy", "steeringpolicy": "policy",
	"status": "expectedStatuses", "statuses": "expectedStatuses", "codes": "expectedStatuses", "expectedcodes": "expectedStatuses",
	"url": "path", "uri": "path", "hostheader": "host",
	"retries": "fall", "unhealthythreshold": "fall", "healthythreshold": "rise", "period": "interval", "every": "interval",
	"ns": "nameservers", "nameserver": "nameservers", "email": "mailbox", "rname": "mailbox", "hostmaster": "mailbox",
	"minimum": "negativeTtl", "minttl": "negativeTtl", "ncachettl": "negativeTtl", "defaultttl": "ttl",
	"rrs": "records", "rrsets": "records", "recordsets": "records", "zonefile": "records",
	"prefixes": "cidrs", "networks": "cidrs", "subnets": "cidrs", "country": "countries", "order": "defaultOrder",
	"headroom": "capacityHeadroomPercent", "maxdrained": "maxDrainedCapacityPercent", "maxdrainedpercent": "maxDrainedCapacityPercent",
	"cooldown": "quietTime", "expiry": "defaultExpiry", "expireafter": "defaultExpiry", "absolute": "absoluteRules",
}

// nearest returns the word among right that was probably meant, or "".
func nearest(word string, right []string) string {
	fold := foldWord(word)
	if fold == "" || len(word) > 255 {
		return ""
	}
	// A third of the word may be wrong.
	best, limit := "", len(fold)/3
	for _, r := range right {
		if abs(len(r)-len(word)) > len(word) {
			continue
		}
		f := foldWord(r)
		if abs(len(f)-len(fold)) > limit {
			continue
		}
		if d := distance(fold, f); d <= limit {
			best, limit = r, d-1
		}
		if limit < 0 {
			break
		}
	}
	return best
}

// distance is the number of inserted, deleted, replaced or swapped bytes
// between a and b (optimal string alignment).
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}

func abs[T int | time.Duration](n T) T {
	if n < 0 {
		return -n
	}
	return n
}
