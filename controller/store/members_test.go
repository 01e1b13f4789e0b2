package store

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"
)

// router is a picker over members whose connections are always ready.
type router struct {
	picker
	asked string
}

// connection is one to the member of that address.
type connection struct {
	*router
	address string
}

func (c connection) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	c.router.asked = c.address
	return balancer.PickResult{}, nil
}

func newRouter(addresses ...string) *router {
	r, m := &router{}, &members{}
	for _, a := range addresses {
		r.choices = append(r.choices, choice{&member{address: a, members: m}, connection{r, a}})
	}
	return r
}

// ask sends a request and returns whom it went to, and how to end it.
func (r *router) ask(ctx context.Context) (string, func(error), error) {
	got, err := r.Pick(balancer.PickInfo{Ctx: ctx})
	return r.asked, func(err error) { got.Done(balancer.DoneInfo{Err: err}) }, err
}

var (
	errSlow     = status.Error(codes.DeadlineExceeded, "context deadline exceeded")
	errNoLeader = status.Error(codes.Unavailable, "etcdserver: no leader")
	errGone     = status.Error(codes.Canceled, "context canceled")
	errTooLarge = status.Error(codes.InvalidArgument, "etcdserver: request is too large")
)

// Members take turns while all answer, and one that does not is left out until
// it answers an inquiry.
func TestSilentMember(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newRouter("a", "b", "c")
	round := func(want int) {
		t.Helper()
		asked := map[string]int{}
		for range 12 {
			who, end, err := r.ask(ctx)
			if err != nil {
				t.Fatal(err)
			}
			end(nil)
			asked[who]++
		}
		if len(asked) != want || asked["a"] < 12/3 {
			t.Fatalf("asked %v, want %d members, and a at every third time at least", asked, want)
		}
	}
	inquire := func(want string, result error) {
		t.Helper()
		q := &inquiry{}
		who, end, err := r.ask(q.context(ctx))
		if want == "" {
			if !errors.Is(err, errNoInquiry) || q.member != "" {
				t.Fatalf("an inquiry to %q, %v, want none", q.member, err)
			}
			return
		}
		if err != nil || who != want || q.member != want {
			t.Fatalf("an inquiry to %q (%q), %v, want %q", who, q.member, err, want)
		}
		end(result)
		if _, _, err := r.ask(q.context(ctx)); !errors.Is(err, errNoInquiry) {
			t.Fatalf("the inquiry was sent again: %v", err)
		}
	}
	endsAt := func(member string, result error) {
		t.Helper()
		for range 12 {
			who, end, err := r.ask(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if who == member {
				end(result)
				return
			}
			end(nil)
		}
		t.Fatalf("%s is not asked", member)
	}

	round(3)
	inquire("", nil)
	for _, silence := range []error{errSlow, errNoLeader} {
		endsAt("b", silence)
		round(2)
		inquire("b", errSlow)
		round(2)
		inquire("b", errGone) // whoever gave up learnt nothing
		round(2)
		inquire("b", nil)
		round(3)
		inquire("", nil)
	}
	for _, answer := range []error{nil, errGone, errTooLarge} {
		endsAt("b", answer)
		round(3)
	}
	// Inquiries go round.
	endsAt("b", errSlow)
	endsAt("c", errSlow)
	round(1)
	inquire("b", errSlow)
	inquire("c", errSlow)
	inquire("b", errTooLarge) // an answer
	round(2)
	inquire("c", nil)
	round(3)
}

// Those who ask while none answers do not all wait for the same one.
func TestAllSilent(t *testing.T) {
	t.Parallel()
	r := newRouter("a", "b", "c")
	var ends []func(error)
	for range 6 {
		_, end, _ := r.ask(t.Context())
		ends = append(ends, end)
	}
	for _, end := range ends {
		end(errSlow)
	}
	asked := map[string]bool{}
	for range 3 {
		who, _, err := r.ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		asked[who] = true
	}
	if len(asked) != 3 {
		t.Errorf("asked %v, want all three", asked)
	}
}

// However requests end, also long after they were sent: nobody who is silent is
// asked while another is not, and nobody is forgotten.
func TestMembersModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := newRouter("a", "b", "c", "d", "e")
		silent := map[string]bool{}
		type request struct {
			member string
			end    func(error)
		}
		var sent []request
		for range 200 {
			if len(sent) > 0 && rapid.Bool().Draw(t, "ends") {
				i := rapid.IntRange(0, len(sent)-1).Draw(t, "which")
				err := rapid.SampledFrom([]error{nil, nil, errSlow, errNoLeader, errGone, errTooLarge}).Draw(t, "how")
				sent[i].end(err)
				switch {
				case errors.Is(err, errSlow), errors.Is(err, errNoLeader):
					silent[sent[i].member] = true
				case !errors.Is(err, errGone):
					delete(silent, sent[i].member)
				}
				sent = append(sent[:i], sent[i+1:]...)
				continue
			}
			ctx, q := t.Context(), &inquiry{}
			isInquiry := rapid.IntRange(0, 3).Draw(t, "inquiry") == 0
			if isInquiry {
				ctx = q.context(ctx)
			}
			who, end, err := r.ask(ctx)
			switch {
			case isInquiry && (err == nil) != (len(silent) > 0):
				t.Fatalf("an inquiry while %v are silent: %v", silent, err)
			case isInquiry && err == nil && !silent[who]:
				t.Fatalf("an inquiry to %s while %v are silent", who, silent)
			case !isInquiry && (err != nil || silent[who] && len(silent) < 5):
				t.Fatalf("asked %s while %v are silent: %v", who, silent, err)
			}
			if err == nil {
				sent = append(sent, request{who, end})
			}
		}
		if len(silent) == 5 {
			return
		}
		asked := map[string]bool{}
		for range 5 {
			who, _, _ := r.ask(t.Context())
			asked[who] = true
		}
		if len(asked)+len(silent) != 5 {
			t.Fatalf("asked %v while %v are silent", asked, silent)
		}
	})
}
