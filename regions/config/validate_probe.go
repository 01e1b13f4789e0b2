package config

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

const (
	maxProbeText = 4096 // bytes, of what a probe sends or looks for
	maxHeaders   = 32
	maxCAs       = 64 << 10 // bytes of PEM
	maxAnswers   = 32       // that a DNS probe expects
)

// probe checks what a health check sends and what must come back.
func (c *checker) probe(s *pb.HealthCheckSpec) {
	switch p := s.Probe.(type) {
	case *pb.HealthCheckSpec_Http:
		c.httpProbe(p.Http)
	case *pb.HealthCheckSpec_Tcp:
		c.port("spec.tcp.port", p.Tcp.GetPort(), true)
		c.text("spec.tcp.send", p.Tcp.GetSend())
		c.text("spec.tcp.expect", p.Tcp.GetExpect())
		c.pattern("spec.tcp.expectMatches", p.Tcp.GetExpectMatches())
		c.tls("spec.tcp.tls", p.Tcp.GetTls())
	case *pb.HealthCheckSpec_Tls:
		c.port("spec.tls.port", p.Tls.GetPort(), false)
		c.tls("spec.tls.tls", p.Tls.GetTls())
	case *pb.HealthCheckSpec_Grpc:
		c.port("spec.grpc.port", p.Grpc.GetPort(), true)
		c.text("spec.grpc.service", p.Grpc.GetService())
		if p.Grpc.GetAuthority() != "" {
			c.add("spec.grpc.authority", checkHostHeader(p.Grpc.GetAuthority()))
		}
		c.tls("spec.grpc.tls", p.Grpc.GetTls())
	case *pb.HealthCheckSpec_Dns:
		c.dnsProbe(p.Dns)
	case *pb.HealthCheckSpec_Icmp:
		c.between("spec.icmp.payloadSize", p.Icmp.GetPayloadSize(), 0, 1400)
	default:
		// A probe of a newer version is among the unknown fields.
		if len(s.ProtoReflect().GetUnknown()) == 0 {
			c.add("spec", "has no probe: want one of "+strings.Join(probeWords, ", ")+", as `http: {path: /healthz}`")
		}
	}
}

// probeWords are the fields of the probe.
var probeWords = func() []string {
	fields := (*pb.HealthCheckSpec)(nil).ProtoReflect().Descriptor().Oneofs().ByName("probe").Fields()
	words := make([]string, fields.Len())
	for i := range words {
		words[i] = fields.Get(i).JSONName()
	}
	return words
}()

// port checks a port; 0 is the default where there is one.
func (c *checker) port(path string, port uint32, required bool) {
	switch {
	case port == 0 && required:
		c.add(path, "required: 1 to 65535")
	case port != 0:
		c.between(path, port, 1, 65535)
	}
}

func (c *checker) text(path, s string) {
	if len(s) > maxProbeText {
		c.addf(path, "has %d bytes; at most %d may be", len(s), maxProbeText)
	}
}

func (c *checker) pattern(path, s string) {
	c.text(path, s)
	if _, err := regexp.Compile(s); err != nil {
		c.addf(path, "is no regular expression (RE2): %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
}

var (
	methods     = []string{"GET", "HEAD", "POST", "PUT", "OPTIONS"}
	statusRange = regexp.MustCompile(`^([1-5][0-9]{2})-([1-5][0-9]{2})$`)
	// token is a field name (RFC 9110 section 5.6.2).
	token = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")
	// ownHeaders are set by the probe or belong to the connection (RFC 9110
	// section 7.6.1).
	ownHeaders = []string{"host", "content-length", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)

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
	for _, status := range p.ExpectedStatuses {
		// Without its place: they are sorted by now.
		c.between("spec.http.expectedStatuses", status, 100, 599)
	}
	c.atMost("spec.http.expectedStatusRanges", len(p.ExpectedStatusRanges), maxStatuses)
	for i, s := range p.ExpectedStatusRanges {
		if m := statusRange.FindStringSubmatch(s); m == nil || m[1] > m[2] {
			c.addf(fmt.Sprintf("spec.http.expectedStatusRanges[%d]", i), "%q is no range of statuses: want 200-299", s)
		}
	}
	if p.Method != "" && !slices.Contains(methods, p.Method) {
		c.addf("spec.http.method", "unknown method %q%s", p.Method, wantOneOf(p.Method, methods))
	}
	c.headers(p.Headers)
	c.text("spec.http.body", p.Body)
	if p.Body != "" && !slices.Contains([]string{"POST", "PUT"}, p.Method) {
		c.add("spec.http.body", "is sent with POST and PUT only: set the method, or remove it")
	}
	c.text("spec.http.bodyContains", p.BodyContains)
	c.pattern("spec.http.bodyMatches", p.BodyMatches)
	if head := "HEAD"; p.Method == head && p.BodyContains+p.BodyMatches != "" {
		c.add("spec.http.method", "HEAD has no body to look into: want GET, or no bodyContains and bodyMatches")
	}
	c.between("spec.http.maxRedirects", p.MaxRedirects, 0, 10)
	c.tls("spec.http.tls", p.Tls)
	c.enum("spec.http.version", p.Version)
	if p.Version == pb.HttpVersion_HTTP_VERSION_HTTP3 && p.Tls == nil {
		c.add("spec.http.version", "http3 needs TLS: add `tls: {}`")
	}
}

func (c *checker) headers(headers map[string]string) {
	c.atMost("spec.http.headers", len(headers), maxHeaders)
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		path := fmt.Sprintf("spec.http.headers[%q]", name)
		lower := strings.ToLower(name)
		switch {
		case !token.MatchString(name):
			c.addf(path, "%q is no field name of HTTP", name)
		case lower == "host":
			c.add(path, "is not set here; write it as spec.http.host")
		case slices.Contains(ownHeaders, lower):
			c.add(path, "is set by the probe itself; remove it")
		case seen[lower] != "":
			c.addf(path, "is given twice, as %q too", seen[lower])
		case strings.ContainsFunc(headers[name], func(r rune) bool { return isControl(r) && r != '\t' }):
			c.add(path, "holds a control character")
		}
		c.text(path, headers[name])
		seen[lower] = name
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

func (c *checker) tls(path string, t *pb.TlsOptions) {
	if t == nil {
		return
	}
	if name := t.GetServerName(); name != "" {
		if _, err := netip.ParseAddr(name); err != nil {
			c.add(path+".serverName", checkDomain(canonicalName(name)))
		}
	}
	if t.GetMinValidity() != nil {
		c.duration(path+".minValidity", t.GetMinValidity(), 0, 10*365*24*time.Hour)
	}
	cas := t.GetCaCertificates()
	switch {
	case cas == "":
	case t.GetInsecureSkipVerify():
		c.add(path+".caCertificates", "verify nothing with insecureSkipVerify: remove one of them")
	case len(cas) > maxCAs:
		c.addf(path+".caCertificates", "have %d bytes; at most %d may be", len(cas), maxCAs)
	default:
		c.add(path+".caCertificates", checkCAs(cas))
	}
}

// checkCAs says what is wrong with CA certificates in PEM, or "".
func checkCAs(s string) string {
	count := 0
	for rest := []byte(s); ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil && count == 0:
			return "hold no PEM block: want -----BEGIN CERTIFICATE----- and so on, below a |"
		case block == nil:
			return ""
		case block.Type != "CERTIFICATE":
			return fmt.Sprintf("hold a PEM block of type %q; want certificates only", block.Type)
		}
		count++
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Sprintf("certificate %d cannot be read: %v", count, err)
		}
	}
}

func (c *checker) dnsProbe(p *pb.DnsProbe) {
	c.port("spec.dns.port", p.GetPort(), false)
	if name := canonicalName(p.GetName()); p.GetName() == "" {
		c.add("spec.dns.name", "required: the name that is asked for")
	} else if name != "" { // the root may be asked for
		c.add("spec.dns.name", checkDomain(name))
	}
	c.enum("spec.dns.transport", p.GetTransport())
	if rcode := p.GetExpectedRcode(); rcode != "" && !zone.IsRcode(rcode) {
		c.addf("spec.dns.expectedRcode", "unknown RCODE %q: want one as NOERROR or NXDOMAIN", rcode)
	}
	kind := p.GetType()
	if kind == "" {
		kind = "A"
	} else if err := zone.CheckType(kind); err != nil {
		c.addf("spec.dns.type", "%q is no type of records: want one as A or MX", kind)
		return
	}
	if !c.atMost("spec.dns.expectedAnswers", len(p.GetExpectedAnswers()), maxAnswers) {
		return
	}
	for i, answer := range p.GetExpectedAnswers() {
		if err := zone.CheckRdata(kind, answer); err != nil {
			c.add(fmt.Sprintf("spec.dns.expectedAnswers[%d]", i), err.Error())
		}
	}
}
