package api

import (
	"strings"
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

func TestProgress(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	gen := regions.Generation{Epoch: 2, Revision: 50}
	of := func(epoch uint64, revision int64, cached uint64, ttl uint32) *pb.UsageReport {
		return &pb.UsageReport{Generation: &pb.Generation{Epoch: epoch, Revision: revision}, CachedMillis: cached, Ttl: ttl, LastResortAnswers: 3}
	}
	for what, c := range map[string]struct {
		serving, missing []string
		reports          map[string]*pb.UsageReport
		unknown          string
		ttl              uint32
		cached           time.Duration // 0: none
		lastResort       uint64
	}{
		"nobody": {},
		"none in caches": {
			serving: []string{"a", "b"}, reports: map[string]*pb.UsageReport{"a": of(2, 50, 0, 300), "b": of(2, 60, 0, 60)}, lastResort: 6,
		},
		"the latest counts": {
			serving: []string{"a", "b", "c"},
			reports: map[string]*pb.UsageReport{"a": of(2, 50, 9000, 30), "b": of(2, 51, 20_000, 20), "c": of(2, 51, 0, 900)},
			ttl:     30, cached: 20 * time.Second, lastResort: 9,
		},
		"who is late, silent, elsewhere or away": {
			serving: []string{"a", "silent", "raced"}, missing: []string{"away", "late"},
			reports: map[string]*pb.UsageReport{"a": of(2, 50, 1000, 30), "late": of(2, 49, 60_000, 60), "raced": of(2, 49, 60_000, 60)},
			unknown: "away late raced silent", ttl: 30, cached: time.Second, lastResort: 3,
		},
		"another epoch": {
			serving: []string{"a"}, reports: map[string]*pb.UsageReport{"a": of(3, 50, 1000, 30)}, unknown: "a",
		},
		"a liar": {
			serving: []string{"a"}, reports: map[string]*pb.UsageReport{"a": of(2, 50, 1<<63, 30)}, ttl: 30, cached: -1, lastResort: 3,
		},
	} {
		p := progress{gen: gen, now: now, reports: c.reports, resp: &pb.GetOverrideProgressResponse{
			Convergence: &pb.Convergence{Serving: c.serving, Missing: c.missing},
		}}
		p.merge()
		r := p.resp
		if got := strings.Join(r.GetUnknown(), " "); got != c.unknown || r.GetTtl() != c.ttl || r.GetLastResortAnswers() != c.lastResort {
			t.Errorf("%s: unknown %q, TTL %d, %d answers of the last resort", what, got, r.GetTtl(), r.GetLastResortAnswers())
		}
		if len(r.GetNameservers()) != len(c.serving)+len(c.missing) {
			t.Errorf("%s: nameservers %v", what, r.GetNameservers())
		}
		for i, n := range r.GetNameservers() {
			if n.GetUsage() != c.reports[n.GetNameserver()] || i > 0 && n.GetNameserver() < r.GetNameservers()[i-1].GetNameserver() {
				t.Errorf("%s: nameservers %v", what, r.GetNameservers())
			}
		}
		switch until := r.GetCachedUntil(); {
		case c.cached == 0 && until != nil,
			c.cached > 0 && !until.AsTime().Equal(now.Add(c.cached)),
			c.cached < 0 && !(until.IsValid() && until.AsTime().After(now)):
			t.Errorf("%s: cached until %v, want %v", what, until, c.cached)
		}
	}
}
