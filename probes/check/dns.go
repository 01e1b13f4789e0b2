package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Bounds on what a specification says of a query, and on what is read.
const (
	maxAnswers   = 32
	maxDatagram  = 4 << 10
	maxDatagrams = 64
)

// dnsCheck passes when a query is answered with the expected RCODE and records.
type dnsCheck struct {
	dialer
	question dns.Question
	rcode    int
	answers  []dns.RR
	tcp      bool
	recurse  bool
}

// metaTypes are not of data (RFC 6895 section 3.1).
var metaTypes = []uint16{
	dns.TypeNone, dns.TypeOPT, dns.TypeTKEY, dns.TypeTSIG, dns.TypeIXFR, dns.TypeAXFR, dns.TypeMAILB, dns.TypeMAILA, dns.TypeANY,
}

func newDNS(spec *pb.HealthCheckSpec, probe *pb.DnsProbe, o Options) (Check, error) {
	c := &dnsCheck{recurse: probe.GetRecursionDesired()}
	var err error
	if c.dialer, err = newDialer(spec, probe.GetPort(), 53, o); err != nil {
		return nil, err
	}
	if _, ok := dns.IsDomainName(probe.GetName()); !ok || probe.GetName() == "" {
		return nil, fmt.Errorf("query name %.80q: want a domain name as www.example.com", probe.GetName())
	}
	c.question = dns.Question{Name: dns.Fqdn(probe.GetName()), Qtype: dns.TypeA, Qclass: dns.ClassINET}
	if t := strings.ToUpper(probe.GetType()); t != "" {
		c.question.Qtype = dns.StringToType[t]
		if slices.Contains(metaTypes, c.question.Qtype) {
			return nil, fmt.Errorf("query type %.20q: want a type of data, as A or TXT", probe.GetType())
		}
	}
	if r := strings.ToUpper(probe.GetExpectedRcode()); r != "" {
		var ok bool
		// What is larger needs EDNS, which the query is without.
		if c.rcode, ok = dns.StringToRcode[r]; !ok || c.rcode > 15 {
			return nil, fmt.Errorf("expected RCODE %.20q: want one as NOERROR or NXDOMAIN", probe.GetExpectedRcode())
		}
	}
	switch probe.GetTransport() {
	case pb.DnsTransport_DNS_TRANSPORT_UNSPECIFIED, pb.DnsTransport_DNS_TRANSPORT_UDP:
	case pb.DnsTransport_DNS_TRANSPORT_TCP:
		c.tcp = true
	default:
		return nil, tooNew(o, "DNS transport")
	}
	if n := len(probe.GetExpectedAnswers()); n > maxAnswers {
		return nil, fmt.Errorf("%d expected answers: want at most %d", n, maxAnswers)
	}
	for _, text := range probe.GetExpectedAnswers() {
		rr, err := c.data(text)
		if err != nil {
			return nil, err
		}
		c.answers = append(c.answers, rr)
	}
	return c, nil
}

// data reads record data in presentation format (RFC 1035 section 5.1).
func (c *dnsCheck) data(text string) (dns.RR, error) {
	t := dns.TypeToString[c.question.Qtype]
	wrong := func(why string) error {
		return fmt.Errorf("expected answer %.80q: want the data of one %s record: %s", text, t, why)
	}
	if strings.ContainsAny(text, "\r\n") {
		return nil, wrong("it holds a line break")
	}
	rr, err := dns.NewRR(". 0 IN " + t + " " + text)
	if err != nil {
		why, _, _ := strings.Cut(err.Error(), " at line: ") // a line that nobody wrote
		return nil, wrong(strings.TrimPrefix(why, "dns: "))
	}
	if rr == nil || rr.Header().Rrtype != c.question.Qtype {
		return nil, wrong("it holds nothing")
	}
	return rr, nil
}

// Probe implements Check.
func (c *dnsCheck) Probe(ctx context.Context, target string) Outcome {
	a, cancel := c.begin(ctx)
	defer cancel()
	addr, ok := a.locate(target)
	if !ok {
		return a.out
	}
	query := new(dns.Msg)
	query.Id, query.RecursionDesired, query.Question = dns.Id(), c.recurse, []dns.Question{c.question}
	for _, network := range []string{"udp", "tcp"} {
		if network == "udp" && c.tcp {
			continue
		}
		conn := a.connect(network, addr, c.port)
		if conn == nil {
			return a.out
		}
		asked := time.Now()
		reply, err := exchange(conn, network, query)
		conn.Close()
		a.out.Phases.FirstByte += time.Since(asked)
		if errors.Is(err, errReply) && !errors.Is(a.ctx.Err(), context.Canceled) {
			return a.end(Failed, "no valid DNS response")
		}
		if err != nil {
			return a.fail(err, "waiting for the response", "no valid DNS response")
		}
		if !reply.Truncated || network == "tcp" {
			return c.judge(a, reply)
		}
	}
	return a.end(Failed, "no valid DNS response")
}

var errReply = errors.New("no reply to the query")

// exchange asks on a connection.
func exchange(conn *conn, network string, query *dns.Msg) (*dns.Msg, error) {
	if network == "tcp" {
		over := &dns.Conn{Conn: conn}
		if err := over.WriteMsg(query); err != nil {
			return nil, err
		}
		reply, err := over.ReadMsg()
		if err == nil && !replies(reply, query) {
			err = errReply
		}
		return reply, err
	}
	packed, err := query.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	buffer := make([]byte, maxDatagram)
	// Datagrams that are no reply to the query may be anybody's and are passed
	// over (RFC 5452 section 9.1).
	for i := range maxDatagrams {
		n, err := conn.Read(buffer)
		if err != nil {
			if i > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, errReply
			}
			return nil, err
		}
		reply := new(dns.Msg)
		if reply.Unpack(buffer[:n]) == nil && replies(reply, query) {
			return reply, nil
		}
	}
	return nil, errReply
}

// replies tells whether a message is a response to a query: with its id and its
// question, which only an error may leave out (RFC 1035 section 4.1.1).
func replies(reply, query *dns.Msg) bool {
	if !reply.Response || reply.Id != query.Id || reply.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(reply.Question) != 1 {
		return len(reply.Question) == 0 && reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError
	}
	q, asked := reply.Question[0], query.Question[0]
	return q.Qtype == asked.Qtype && q.Qclass == asked.Qclass && dns.CanonicalName(q.Name) == dns.CanonicalName(asked.Name)
}

// judge compares a reply with what is expected. The owner names of the records
// do not count: aliases may lead to them.
func (c *dnsCheck) judge(a *attempt, reply *dns.Msg) Outcome {
	rcode, ok := dns.RcodeToString[reply.Rcode]
	if !ok {
		rcode = "RCODE out of range"
	}
	if reply.Rcode != c.rcode {
		return a.end(Failed, "DNS "+rcode)
	}
	for _, rr := range reply.Answer {
		*rr.Header() = dns.RR_Header{Name: ".", Rrtype: rr.Header().Rrtype, Class: rr.Header().Class}
	}
	for _, want := range c.answers {
		if !slices.ContainsFunc(reply.Answer, func(rr dns.RR) bool { return dns.IsDuplicate(rr, want) }) {
			return a.end(Failed, "DNS "+rcode+", an expected answer is missing")
		}
	}
	return a.end(Passed, "DNS "+rcode)
}
