package regions

import (
	"testing"
	"time"
)

func TestLatchNames(t *testing.T) {
	l := Latch{Service: "0/25.2.0.192.in-addr.arpa", Region: "eu-west", Trip: 3}
	if got := l.Name(); got != "failback/0/25.2.0.192.in-addr.arpa/eu-west" {
		t.Error(got)
	}
	if service, region, ok := SplitFailbackLatch(l.Name()); service != l.Service || region != l.Region || !ok {
		t.Error(service, region, ok)
	}
	for _, bad := range []string{"", "guard", "failback/", "failback/www.example.test", "failback/www.example.test/", "failback//eu", "x/www.example.test/eu"} {
		if service, region, ok := SplitFailbackLatch(bad); ok {
			t.Errorf("%q is of %q, %q", bad, service, region)
		}
	}
}

func TestStands(t *testing.T) {
	p := &Plan{Releases: map[string]uint64{"guard": 4}}
	for _, c := range []struct {
		latch string
		trip  uint64
		want  bool
	}{{"guard", 4, false}, {"guard", 3, false}, {"guard", 5, true}, {"failback/a/b", 1, true}, {"failback/a/b", 0, false}} {
		if got := p.Stands(c.latch, c.trip); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestHealthState(t *testing.T) {
	ages := HealthAges{FrozenAfter: 10 * time.Second, FailOpenAfter: time.Minute}
	for age, want := range map[time.Duration]string{0: "fresh", 10 * time.Second: "fresh", 10*time.Second + 1: "frozen", time.Minute: "frozen", time.Minute + 1: "fail-open"} {
		if got := ages.State(age).String(); got != want {
			t.Errorf("%v is %s, want %s", age, got, want)
		}
	}
	if got := DefaultSafety().Ages.State(1000 * time.Hour); got != Frozen {
		t.Errorf("without an age for it, fails open: %v", got)
	}
}

// TestContinue: the same verdict keeps its time, a recovery where it is the same.
func TestContinue(t *testing.T) {
	epoch := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := func(v Status, at time.Duration, restored bool) Standing {
		return Standing{Verdict: v, Since: epoch.Add(at), Restored: restored}
	}
	for _, c := range []struct {
		name           string
		before, is     Standing
		keepsBeforesIt bool
	}{
		{"another verdict", s(Healthy, 0, false), s(Unhealthy, time.Second, false), false},
		{"the same, however far apart", s(Unhealthy, 0, false), s(Unhealthy, time.Hour, false), true},
		{"of the healthy too", s(Healthy, 0, false), s(Healthy, -time.Hour, false), true},
		{"a recovery, a little apart", s(Healthy, 0, true), s(Healthy, 5*time.Second, true), true},
		{"a little before", s(Healthy, 0, true), s(Healthy, -5*time.Second, true), true},
		{"another recovery", s(Healthy, 0, true), s(Healthy, 6*time.Second, true), false},
		{"an earlier one", s(Healthy, 0, true), s(Healthy, -6*time.Second, true), false},
		{"a recovery that was not known", s(Healthy, 0, false), s(Healthy, time.Second, true), false},
		{"none known", Standing{}, s(Healthy, 0, false), false},
	} {
		want := c.is
		if c.keepsBeforesIt {
			want.Since = c.before.Since
		}
		if got := c.is.Continue(c.before); !got.Equal(want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, want)
		}
	}
}
