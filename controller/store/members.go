package store

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// policy is how a client from Dial shares its requests among the members:
// evenly among those that answer. One whose process is stopped, or that hangs
// on its disk, keeps its connections, and whoever just takes turns would go on
// waiting for it at every third request. So a member that has let a request
// run out of time, or said that it cannot serve, is silent until it answers
// one, and silent members are asked last.
const policy = "fairlead_silent_last"

// serviceConfig makes gRPC use the policy; etcd's client would have it take
// turns.
const serviceConfig = `{"loadBalancingConfig": [{"` + policy + `": {}}]}`

func init() { balancer.Register(policyBuilder{}) } // the only time when gRPC takes it

type policyBuilder struct{}

func (policyBuilder) Name() string { return policy }

func (policyBuilder) Build(cc balancer.ClientConn, o balancer.BuildOptions) balancer.Balancer {
	m := &members{ClientConn: cc, ready: map[string]*member{}}
	return endpointsharding.NewBalancer(m, o, balancer.Get(pickfirst.Name).Build, endpointsharding.Options{})
}

// members are those that a client knows. It stands between the connections,
// which endpointsharding looks after, and the client.
type members struct {
	balancer.ClientConn
	// ready are those with a connection, by address. What is known of one goes
	// with its connection: the next one is ready when the member has answered.
	// UpdateState alone uses it, and is never called twice at once.
	ready map[string]*member
	turns atomic.Int64 // counts what was not answered
}

// member is one with a connection.
type member struct {
	address string
	members *members
	// silent is 0 while it answers, else when it last did not, in turns.
	silent atomic.Int64
}

// UpdateState implements balancer.ClientConn: a connection came, or went.
func (m *members) UpdateState(s balancer.State) {
	ready := map[string]*member{}
	p := &picker{}
	for _, c := range endpointsharding.ChildStatesFromPicker(s.Picker) {
		if c.State.ConnectivityState != connectivity.Ready {
			continue
		}
		address := c.Endpoint.Addresses[0].Addr
		if ready[address] = m.ready[address]; ready[address] == nil {
			ready[address] = &member{address: address, members: m}
		}
		p.choices = append(p.choices, choice{ready[address], c.State.Picker})
	}
	m.ready = ready
	if len(p.choices) > 0 {
		s.Picker = p
	}
	m.ClientConn.UpdateState(s)
}

// heard notes how a request to the member ended.
func (m *member) heard(err error) {
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Unavailable:
		m.silent.Store(m.members.turns.Add(1))
	case codes.Canceled: // by who asked; it says nothing
	default:
		m.silent.Store(0)
	}
}

// picker chooses among the members with a connection.
type picker struct {
	choices []choice
	next    atomic.Uint32
}

type choice struct {
	*member
	balancer.Picker // of its connection
}

// Pick implements balancer.Picker.
func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	q, _ := info.Ctx.Value(inquiryKey{}).(*inquiry)
	c, err := p.choose(q)
	if err != nil {
		return balancer.PickResult{}, err
	}
	r, err := c.Pick(info)
	if err != nil {
		return r, err
	}
	done := r.Done
	r.Done = func(d balancer.DoneInfo) {
		c.heard(d.Err)
		if done != nil {
			done(d)
		}
	}
	return r, nil
}

// choose returns the next one that answers, or the one that has been silent
// longest, which is whom an inquiry is for.
func (p *picker) choose(q *inquiry) (choice, error) {
	if q != nil {
		if q.member != "" {
			return choice{}, errNoInquiry
		}
		c, ok := p.silent()
		if !ok {
			return choice{}, errNoInquiry
		}
		q.member = c.address
		return c, nil
	}
	n := uint32(len(p.choices))
	start := p.next.Add(1)
	for i := range n {
		if c := p.choices[(start+i)%n]; c.member.silent.Load() == 0 {
			return c, nil
		}
	}
	if c, ok := p.silent(); ok {
		return c, nil
	}
	return p.choices[start%n], nil // it has just answered
}

// silent returns the member that has been silent longest. It counts as asked
// last from now on, so that many who ask at once do not all wait for one.
func (p *picker) silent() (c choice, ok bool) {
	var since int64
	for _, one := range p.choices {
		if s := one.member.silent.Load(); s != 0 && (!ok || s < since) {
			c, since, ok = one, s, true
		}
	}
	if ok {
		c.member.silent.CompareAndSwap(since, c.members.turns.Add(1))
	}
	return c, ok
}

// inquiry, in a request's context, makes it one for the member that has been
// silent longest, to find out whether it answers again. The request fails if
// none is silent, or upon its second attempt.
type inquiry struct {
	member string // that it went to; empty: none
}

type inquiryKey struct{}

func (q *inquiry) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, inquiryKey{}, q)
}

// errNoInquiry has a code that nobody tries again upon.
var errNoInquiry = status.Error(codes.Unimplemented, "store: no member is silent")
