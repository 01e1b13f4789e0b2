package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// steered is the name that the samplers ask for.
const steered = "www.example.test"

// sampleEvery is how far apart the questions to one nameserver are: the
// resolution of what is measured.
const sampleEvery = 5 * time.Millisecond

// silence stands for no answer in time.
const silence = "silence"

// sampler asks nameservers without pause what one client is answered, and
// keeps what they say over time.
type sampler struct {
	t    *testing.T
	end  chan struct{}
	done sync.WaitGroup
	of   []*sampled
}

// sampled is what one nameserver said.
type sampled struct {
	ns *node

	mu      sync.Mutex
	answers int
	changes []change // each other than the one before
}

// change is an answer and when it was first seen.
type change struct {
	at     time.Time
	answer string
}

func (c change) String() string { return c.at.Format("15:04:05.000") + " " + c.answer }

// sample begins to ask nameservers for a client of a region. It has asked each
// of them once when it returns; it asks until stop, or the end of the test.
func (c *cluster) sample(clientRegion int, nameservers ...*node) *sampler {
	c.t.Helper()
	return c.sampleOf(steered, clientRegion, nameservers...)
}

// sampleOf is sample of another name.
func (c *cluster) sampleOf(name string, clientRegion int, nameservers ...*node) *sampler {
	c.t.Helper()
	s := &sampler{t: c.t, end: make(chan struct{})}
	for _, ns := range nameservers {
		one := &sampled{ns: ns}
		s.of = append(s.of, one)
		addr, subnet := c.at(ns.region, nameserverDNS), clusterRegions[clientRegion].client
		s.done.Go(func() { one.run(addr, name, subnet, c.every, s.end) })
	}
	c.t.Cleanup(s.stop)
	eventually(c.t, 10*time.Second, "the first samples", func() bool {
		return !slices.ContainsFunc(s.of, func(o *sampled) bool { return o.last() == "" })
	})
	return s
}

func (o *sampled) run(addr, name, subnet string, every time.Duration, end <-chan struct{}) {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), dns.TypeA)
	q.SetEdns0(1232, false)
	_, prefix, err := net.ParseCIDR(subnet)
	if err != nil {
		panic(err)
	}
	bits, _ := prefix.Mask.Size()
	opt := q.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(bits), Address: prefix.IP})
	client := &dns.Client{Timeout: 2 * time.Second}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var conn *dns.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for {
		answer := silence
		if conn == nil {
			if conn, err = client.Dial(addr); err != nil {
				conn = nil
			}
		}
		if conn != nil {
			q.Id = dns.Id()
			if r, _, err := client.ExchangeWithConn(q, conn); err == nil {
				answer = said(r)
			} else {
				conn.Close()
				conn = nil
			}
		}
		o.note(answer, time.Now())
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}

// said is the answer as dig +short would print it, or its RCODE.
func said(r *dns.Msg) string {
	var all []string
	for _, rr := range r.Answer {
		if a, ok := rr.(*dns.A); ok {
			all = append(all, a.A.String())
		}
	}
	if len(all) == 0 {
		return dns.RcodeToString[r.Rcode]
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (o *sampled) note(answer string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers++
	if n := len(o.changes); n == 0 || o.changes[n-1].answer != answer {
		o.changes = append(o.changes, change{at, answer})
	}
}

// path is all it said, in order.
func (o *sampled) path() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, c := range o.changes {
		all = append(all, c.answer)
	}
	return all
}

func (o *sampled) last() string {
	p := o.path()
	if len(p) == 0 {
		return ""
	}
	return p[len(p)-1]
}

// first is when it first gave an answer after a time.
func (o *sampled) first(answer string, after time.Time) (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.changes {
		if c.answer == answer && c.at.After(after) {
			return c.at, true
		}
	}
	return time.Time{}, false
}

func (s *sampler) stop() {
	select {
	case <-s.end:
	default:
		close(s.end)
	}
	s.done.Wait()
}

// until waits until all nameservers give an answer.
func (s *sampler) until(what, answer string) {
	s.t.Helper()
	s.t.Cleanup(func() {
		for _, o := range s.of {
			if o.last() != answer && s.t.Failed() {
				s.t.Logf("%s said %v", o.ns.name, o.path())
			}
		}
	})
	eventually(s.t, settleLimit, fmt.Sprintf("%s: %s", what, answer), func() bool {
		return !slices.ContainsFunc(s.of, func(o *sampled) bool { return o.last() != answer })
	})
}

// leave waits until all nameservers have left an answer for another, the same
// one, and returns that.
func (s *sampler) leave(from string) (to string) {
	s.t.Helper()
	eventually(s.t, settleLimit, "answers other than "+from, func() bool {
		to = s.of[0].last()
		return to != from && to != silence && !slices.ContainsFunc(s.of, func(o *sampled) bool { return o.last() != to })
	})
	return to
}

// only stops, and checks that every nameserver gave these answers, in this
// order, and no others.
func (s *sampler) only(answers ...string) {
	s.t.Helper()
	s.stop()
	for _, o := range s.of {
		if !slices.Equal(o.path(), answers) {
			o.mu.Lock()
			s.t.Errorf("%s said %v, want %v", o.ns.name, o.changes, answers)
			o.mu.Unlock()
		}
	}
}

// asked is how many answers there were.
func (s *sampler) asked() int {
	n := 0
	for _, o := range s.of {
		o.mu.Lock()
		n += o.answers
		o.mu.Unlock()
	}
	return n
}
