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
)

// protoEnum is any enumeration of the protos.
type protoEnum = protoreflect.Enum

func (c *checker) region(s *pb.RegionSpec) {
	c.coordinate("spec.latitude", s.Latitude, 90)
	c.coordinate("spec.longitude", s.Longitude, 180)
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

func (c *checker) healthCheck(s *pb.HealthCheckSpec) {
	interval, intervalOK := c.duration("spec.interval", s.Interval, 100*time.Millisecond, time.Hour)
	timeout, timeoutOK := c.duration("spec.timeout", s.Timeout, time.Millisecond, time.Hour)
	if intervalOK && timeoutOK && timeout > interval {
		c.addf("spec.timeout", "%s is longer than the interval, %s", formatDuration(timeout), formatDuration(interval))
	}
	c.between("spec.rise", s.Rise, 1, 100)
	c.between("spec.fall", s.Fall, 1, 100)
	switch p := s.Probe.(type) {
	case *pb.HealthCheckSpec_Http:
		c.httpProbe(p.Http)
	case *pb.HealthCheckSpec_Tcp:
		if p.Tcp.GetPort() == 0 {
			c.add("spec.tcp.port", "required: 1 to 65535")
		} else {
			c.between("spec.tcp.port", p.Tcp.GetPort(), 1, 65535)
		}
	default:
		// A probe of a newer version is among the unknown fields.
		if len(s.ProtoReflect().GetUnknown()) == 0 {
			c.add("spec", "has no probe: want http or tcp, as `http: {path: /healthz}`")
		}
	}
}

func (c *checker) httpProbe(p *pb.HttpProbe) {
	c.between("spec.http.port", p.GetPort(), 1, 65535)
	if p == nil {
		return
	}
	switch {
	case !strings.HasPrefix(p.Path, "/"):
		c.addf("spec.http.path", "%q does not begin with /", p.Path)
	case len(p.Path) > maxPath:
		c.addf("spec.http.path", "has %d characters; at most %d may be", len(p.Path), maxPath)
	case strings.ContainsFunc(p.Path, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		// RFC 9112 section 3.2.1: the request target is visible ASCII.
		c.addf("spec.http.path", "%q holds a space, a control character or one that is not ASCII; write it as %%XX", p.Path)
	}
	if p.Host != "" {
		c.add("spec.http.host", checkHostHeader(p.Host))
	}
	c.atMost("spec.http.expectedStatuses", len(p.ExpectedStatuses), maxStatuses)
	for i, status := range p.ExpectedStatuses {
		c.between(fmt.Sprintf("spec.http.expectedStatuses[%d]", i), status, 100, 599)
	}
}

// checkHostHeader says what is wrong with a Host header (RFC 9110 section
// 7.2): a host name or an address, and perhaps a port.
func checkHostHeader(s string) string {
	if strings.ContainsAny(s, "/@") {
		return fmt.Sprintf("%q is no Host header: want a host name, as www.example.test, without scheme and path", s)
	}
	host := s
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil && a.Zone() == "" {
		return ""
	}
	if h, port, err := net.SplitHostPort(s); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Sprintf("%q has no valid port: want 1 to 65535", s)
		}
		if _, err := netip.ParseAddr(h); err == nil {
			return ""
		}
		host = h
	}
	return checkDomain(canonicalName(host))
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
	if s.Mailbox != DefaultMailbox+c.key.Name || len(c.errs) == 0 {
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
		c.add(path, checkDomain(name))
	}
	c.unique("spec.nameservers", s.Nameservers)
	if len(s.Nameservers) == 0 && strings.TrimSpace(s.Records) == "" {
		c.add("spec.nameservers", "required: the host names of the zone's nameservers, unless records holds an NS RRset")
	}
	if len(s.Records) > MaxRecordsSize {
		c.addf("spec.records", "has %d bytes; at most %d may be", len(s.Records), MaxRecordsSize)
		return
	}
	c.directives(s.Records)
}

// directives refuses what would read other files or multiply lines.
func (c *checker) directives(records string) {
	line := 0
	for row := range strings.Lines(records) {
		line++
		if row[0] != '$' {
			continue
		}
		word, _, _ := strings.Cut(strings.TrimRight(row, "\r\n"), " ")
		word, _, _ = strings.Cut(word, "\t")
		switch strings.ToUpper(word) {
		case "$INCLUDE", "$GENERATE":
			c.addf(fmt.Sprintf("spec.records:%d", line), "%s is refused; write the records out", strings.ToUpper(word))
		}
	}
}
