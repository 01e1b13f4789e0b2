package steer

import (
	"encoding/binary"
	"math"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
)

// clientOf returns the nth IPv4 network's client.
func clientOf(n int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 11<<24|uint32(n)<<8|7)
	return netip.AddrFrom4(a)
}

// TestBuckets: nameservers of every version deal the same, so these values must
// not change.
func TestBuckets(t *testing.T) {
	for _, c := range []struct {
		service, client string
		want            int
	}{
		{"www.example.test", "198.51.100.7", 69},
		{"www.example.test", "198.51.100.200", 69},
		{"www.example.test", "::ffff:198.51.100.7", 69},
		{"www.example.test", "198.51.101.7", 77},
		{"www.example.test", "2001:db8:1:200::7", 47},
		{"www.example.test", "2001:db8:1:2ff:ffff::7", 47},
		{"www.example.test", "2001:db8:1:300::7", 48},
		{"api.example.test", "198.51.100.7", 12},
	} {
		if got := bucketOf(seedOf(c.service), netip.MustParseAddr(c.client)); got != c.want {
			t.Errorf("%s, %s: bucket %d, want %d", c.service, c.client, got, c.want)
		}
	}
	var count [buckets]int
	const n = 200_000
	for i := range n {
		count[bucketOf(seedOf("www.example.test"), clientOf(i))]++
	}
	for b, c := range count {
		if math.Abs(float64(c)-n/buckets) > 6*math.Sqrt(n/buckets) {
			t.Errorf("bucket %d has %d of %d", b, c, n)
		}
	}
}

func TestRampAt(t *testing.T) {
	f := regions.Failback{RampSteps: []int{10, 25, 50}, RampInterval: time.Minute}
	at := func(d time.Duration) time.Time { return epoch.Add(d) }
	for _, c := range []struct {
		failback regions.Failback
		from     time.Time
		held     time.Duration
		want     rampState
	}{
		{f, epoch, 0, rampState{10, 1, 3, at(time.Minute)}},
		{f, epoch, time.Minute - 1, rampState{10, 1, 3, at(time.Minute)}},
		{f, epoch, time.Minute, rampState{25, 2, 3, at(2 * time.Minute)}},
		{f, epoch, 3*time.Minute - 1, rampState{50, 3, 3, at(3 * time.Minute)}},
		{f, epoch, 3 * time.Minute, rampState{Percent: 100}},
		{f, epoch, math.MaxInt64, rampState{Percent: 100}},
		{f, time.Time{}, 0, rampState{Percent: 100}},
		{regions.Failback{}, epoch, 0, rampState{Percent: 100}},
	} {
		now := epoch.Add(c.held)
		if got := rampAt(&c.failback, c.from, now); got != c.want {
			t.Errorf("held %v: %+v, want %+v", c.held, got, c.want)
		}
	}
}

// TestRamp: a region gets its clients back in steps, and its scope says so.
func TestRamp(t *testing.T) {
	ramp := regions.Service{Failback: regions.Failback{HoldDown: 30 * time.Second, RampSteps: []int{10, 50}, RampInterval: time.Minute}}
	manual := ramp
	manual.Failback.Manual = true
	for _, c := range []struct {
		name      string
		service   regions.Service
		policy    regions.Policy
		endpoints []string
		released  time.Duration // after epoch; 0: never
		want      map[int]int   // seconds after epoch → percent of clients in eu
	}{
		{
			"from the hold-down on", ramp, regions.Policy{}, []string{"eu-1 up - back=0s", "us-1 up -"}, 0,
			map[int]int{0: 0, 29: 0, 30: 10, 89: 10, 90: 50, 149: 50, 150: 100},
		},
		{
			"from when the share was there", ramp, regions.Policy{MinHealthyPercent: 50}, []string{"eu-1 up - back=1h", "eu-2 up - back=0s", "eu-3 up - at=0s", "eu-4 down -", "eu-5 down -", "us-1 up -"}, 0,
			map[int]int{0: 0, 30: 10, 150: 100},
		},
		{"what was never out does not ramp", ramp, regions.Policy{}, []string{"eu-1 up -", "eu-2 up - back=0s", "us-1 up -"}, 0, map[int]int{0: 100}},
		{"nothing else is in service", ramp, regions.Policy{}, []string{"eu-1 up - back=30s", "us-1 down -"}, 0, map[int]int{0: 100}},
		{"everything comes back", ramp, regions.Policy{}, []string{"eu-1 up - back=30s", "us-1 up - back=50s"}, 0, map[int]int{0: 100, 60: 100}},
		{"everything else is back already", ramp, regions.Policy{}, []string{"eu-1 up - back=0s", "us-1 up - back=30s"}, 0, map[int]int{29: 0, 30: 100, 119: 100, 120: 50, 150: 100}},
		{"from the release of the latch on", manual, regions.Policy{}, []string{"eu-1 up - back=1h", "us-1 up -"}, 10 * time.Second, map[int]int{10: 10, 70: 50, 130: 100}},
		{"a release ahead of the clock", manual, regions.Policy{}, []string{"eu-1 up - back=1h", "us-1 up -"}, 60 * time.Second, map[int]int{0: 10, 119: 10, 120: 50, 180: 100}},
		{"a release far ahead of the clock", manual, regions.Policy{}, []string{"eu-1 up - back=1h", "us-1 up -"}, 61 * time.Second, map[int]int{0: 100, 1: 10}},
		{"an old release", manual, regions.Policy{}, []string{"eu-1 up - back=1h", "us-1 up -"}, -time.Hour, map[int]int{0: 100}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := worldOf(t, c.policy, c.service, c.endpoints...)
			if c.released != 0 {
				w.plan.ReleasedAt = map[string]time.Time{regions.FailbackLatch("www.example.test", "eu"): epoch.Add(c.released)}
			}
			v := w.view(t)
			for s := range 230 {
				v = v.At(epoch.Add(time.Duration(s) * time.Second))
				want, ok := c.want[s]
				if !ok {
					continue
				}
				near, scopes := 0, map[uint8]bool{}
				const n = 5000
				for i := range n {
					sel := v.Select(0, regions.V4, clientOf(i), 1, nil)
					scopes[sel.Scope] = true
					if sel.Region == eu {
						near++
					}
				}
				if share := float64(near) / n * 100; math.Abs(share-float64(want)) > 3 {
					t.Errorf("at %d s: %.1f %% of clients, want %d", s, share, want)
				}
				if partial := want > 0 && want < 100; len(scopes) != 1 || scopes[stickyV4] != partial {
					t.Errorf("at %d s: scopes %v", s, scopes)
				}
				if sel := v.Select(0, regions.V4, netip.MustParseAddr("2001:db8::1"), 1, nil); sel.Scope != 0 && sel.Scope != stickyV6 {
					t.Errorf("at %d s: scope %d for IPv6", s, sel.Scope)
				}
			}
		})
	}
}

// TestRampMonotone: a client that has the region back keeps it, whatever the
// steps.
func TestRampMonotone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		failback := regions.Failback{RampInterval: time.Minute}
		last := 0
		for range rapid.IntRange(1, 5).Draw(rt, "steps") {
			last += rapid.IntRange(1, 19).Draw(rt, "step")
			failback.RampSteps = append(failback.RampSteps, last)
		}
		v := worldOf(rt, regions.Policy{}, regions.Service{Failback: failback}, "eu-1 up up back=0s", "us-1 up up").view(rt)
		client := anyClient(rt)
		has := false
		for minute := range len(failback.RampSteps) + 1 {
			v = v.At(epoch.Add(time.Duration(minute) * time.Minute))
			a, aaaa := v.Select(0, regions.V4, client, 1, nil), v.Select(0, regions.V6, client, 1, nil)
			if a.Region != aaaa.Region {
				rt.Fatalf("in minute %d A is from %d and AAAA from %d", minute, a.Region, aaaa.Region)
			}
			if has && a.Region != eu {
				rt.Fatalf("in minute %d %v lost the region again", minute, client)
			}
			has = a.Region == eu
		}
		if !has {
			rt.Fatal("the ramp is over, and yet not for", client)
		}
	})
}
