package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

// protoEnum is any enumeration of the protos.
type protoEnum = protoreflect.Enum

func (c *checker) region(s *pb.RegionSpec) {
	c.coordinate("spec.latitude", s.Latitude, 90)
	c.coordinate("spec.longitude", s.Longitude, 180)
	if lat, lon := s.GetLatitude(), s.GetLongitude(); math.Abs(lat) > 90 && math.Abs(lat) <= 180 && math.Abs(lon) <= 90 && s.Longitude != nil {
		c.errs[len(c.errs)-1].Message += " (are latitude and longitude swapped?)"
	}
	c.atMost("spec.availabilityZones", len(s.AvailabilityZones), maxAvailabilityZones)
	for i, az := range s.AvailabilityZones {
		c.add(fmt.Sprintf("spec.availabilityZones[%d]", i), checkLabel(az))
	}
	c.unique("spec.availabilityZones", s.AvailabilityZones)
}

func (c *checker) coordinate(path string, degrees *float64, most float64) {
	switch {
	case degrees == nil:
		c.addf(path, "required: degrees, %v to %v", -most, most)
	case math.IsNaN(*degrees) || math.Abs(*degrees) > most:
		c.addf(path, "%v is out of range: want degrees, %v to %v", *degrees, -most, most)
	}
}

// checkHostPort says what is wrong with an address or host name and its port.
func checkHostPort(s, example string) string {
	if s == "" {
		return ""
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		if ap.Port() == 0 || ap.Addr().IsUnspecified() {
			return fmt.Sprintf("%q cannot be reached: want an address and a port, as %s", s, example)
		}
		return ""
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Sprintf("%q is no address and port: want %s", s, example)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Sprintf("%q has no valid port: want 1 to 65535, as %s", s, example)
	}
	if looksLikeAddress(host) {
		return fmt.Sprintf("%q is no valid address", host)
	}
	return checkDomain(host)
}

// looksLikeAddress tells whether a host can only be meant as an address: a
// colon, or a last label of digits (RFC 3696 section 2).
func looksLikeAddress(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	return strings.Contains(s, ":") || last != "" && strings.Trim(last, "0123456789") == ""
}

func (c *checker) zone(s *pb.ZoneSpec) {
	if s.Mailbox != DefaultMailbox+c.key.Name && s.Mailbox != "" || len(c.errs) == 0 {
		// The default of a wrong name would be the same mistake again.
		c.add("spec.mailbox", checkMailbox(s.Mailbox))
	}
	const most = (1<<31 - 1) * time.Second // RFC 2181 section 8
	c.ttl("spec.ttl", s.Ttl, 0, most)
	c.ttl("spec.negativeTtl", s.NegativeTtl, 0, most)
	c.atMost("spec.nameservers", len(s.Nameservers), maxNameservers)
	for i, name := range s.Nameservers {
		path := fmt.Sprintf("spec.nameservers[%d]", i)
		if _, err := netip.ParseAddr(name); err == nil {
			c.addf(path, "%q is an address; want a host name (RFC 1035 section 3.3.11)", name)
			continue
		}
		c.add(path, checkHost(name, c.key.Name))
	}
	c.unique("spec.nameservers", s.Nameservers)
	if len(s.Nameservers) == 0 && strings.TrimSpace(s.Records) == "" {
		c.add("spec.nameservers", "required: the host names of the zone's nameservers, unless records holds an NS RRset")
	}
	if len(s.Records) > MaxRecordsSize {
		c.addf("spec.records", "has %d bytes; at most %d may be", len(s.Records), MaxRecordsSize)
		return
	}
	for _, e := range zone.Lint(c.key.Name, s.Records) {
		c.records(e)
	}
}

// records reports a mistake in the records of a zone.
func (c *checker) records(e *zone.Error) {
	path := "spec.records"
	if e.Line > 0 {
		path = fmt.Sprintf("spec.records:%d", e.Line)
	}
	c.add(path, e.Err.Error())
}
