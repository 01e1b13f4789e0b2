package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

var euWest = &pb.OverrideScope{Region: "eu-west"}

func usage(name string, last, cached time.Duration, ttl uint32, lastResort uint64) *pb.NameserverUsage {
	u := &pb.UsageReport{Generation: gen(43), Endpoints: 2, CachedMillis: uint64(cached.Milliseconds()), Ttl: ttl, LastResortAnswers: lastResort}
	if last >= 0 {
		u.LastAnswerMillis = proto.Uint64(uint64(last.Milliseconds()))
	}
	return &pb.NameserverUsage{Nameserver: name, Usage: u}
}

// drained is a confirmation of a drain that began four seconds before noon.
func drained(polls ...*pb.GetOverrideProgressResponse) *confirmation {
	x := &confirmation{change: change{scope: euWest, generation: gen(43), withdraws: true, began: noon.Add(-4 * time.Second), committed: 12 * time.Millisecond}, mode: waitServed, limit: 30 * time.Second}
	for i, resp := range polls {
		x.take(resp, noon.Add(time.Duration(i+1-len(polls))*pollEvery))
	}
	x.waited = 4 * time.Second
	return x
}

func text(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

// What is shown while a drain is confirmed, and what is printed of it in the end.
func TestConfirmation(t *testing.T) {
	late := &pb.GetOverrideProgressResponse{
		Generation: gen(43), Convergence: &pb.Convergence{Serving: []string{"ns-1", "ns-2"}, Missing: []string{"ns-3"}, Reasons: map[string]string{"ns-3": "not connected"}},
		Nameservers: []*pb.NameserverUsage{usage("ns-1", 3*time.Second, 23*time.Second, 30, 0), usage("ns-2", 4*time.Second, 20*time.Second, 30, 0), {Nameserver: "ns-3"}},
		Ttl:         30, CachedUntil: timestamppb.New(noon.Add(23 * time.Second)), Unknown: []string{"ns-3"},
	}
	served := &pb.GetOverrideProgressResponse{
		Generation: gen(43), Convergence: &pb.Convergence{Serving: []string{"ns-1", "ns-2"}},
		Nameservers: late.GetNameservers()[:2], Ttl: 30,
	}
	more := proto.CloneOf(served)
	more.Nameservers = []*pb.NameserverUsage{usage("ns-1", 3*time.Second, 23*time.Second, 30, 0), usage("ns-2", 40*time.Millisecond, 30*time.Second, 30, 7)}
	gone := &pb.GetOverrideProgressResponse{Generation: gen(43), Convergence: served.GetConvergence(), Nameservers: []*pb.NameserverUsage{usage("ns-1", time.Minute, 0, 0, 0), usage("ns-2", -1, 0, 0, 0)}}
	older := drained(&pb.GetOverrideProgressResponse{Convergence: served.GetConvergence()})
	older.older = "192.0.2.1:7443 is of an older version, and does not know how long caches keep what was answered"
	trouble := drained(served)
	trouble.trouble = "192.0.2.1:7443 did not answer in time"
	undrained := drained(served)
	undrained.withdraws = false
	mute := drained(&pb.GetOverrideProgressResponse{Convergence: served.GetConvergence(), Nameservers: []*pb.NameserverUsage{{Nameserver: "ns-1"}}, Unknown: []string{"ns-1", "ns-2"}})
	for _, c := range []struct {
		name  string
		x     *confirmation
		error string
	}{
		{"nothing", drained(), "not converged: after 30s it is not known who serves generation 1.43: "},
		{"nobody", drained(&pb.GetOverrideProgressResponse{}), ""},
		{"late", drained(late), "not converged: after 30s, generation 1.43 is not served by ns-3 (not connected); `fairlead status` says more"},
		{"served", drained(late, served), ""},
		{"last-resort", drained(served, more), ""},
		{"gone", drained(gone), ""},
		{"older", older, ""}, {"trouble", trouble, ""}, {"undrained", undrained, ""}, {"mute", mute, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &printer{now: noon, wide: true}
			p.WriteString(text(c.x.frame(noon)) + "\nin the end:\n")
			c.x.print(p)
			golden(t, "confirm-"+c.name, p.String())
			err := c.x.unconfirmed(noon)
			if got := errText(err); got != c.error {
				t.Errorf("got %q, want %q", got, c.error)
			}
		})
	}
	x := drained(served)
	x.mode = waitCaches
	if got, want := errText(x.unconfirmed(noon)), "not converged: after 4s, caches may hold answers with region eu-west until 12:00:23 UTC (in 23s)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	x = drained(gone)
	x.mode = waitCaches
	if err := x.unconfirmed(noon); err != nil {
		t.Error(err)
	}
	mute.mode = waitCaches
	if got, want := errText(mute.unconfirmed(noon)), "not converged: after 4s, caches may hold answers with region eu-west: it is not known what ns-1, ns-2 answered"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// progressing is a controller whose nameserver follows at the third question, and
// whose caches forget at the fifth.
func progressing(t *testing.T, none bool) string {
	var asked atomic.Int32
	return serve(t, &fake{
		drain: func(r *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
			if r.GetWait() != nil {
				t.Error("the controller is asked to wait")
			}
			o := &pb.Override{Id: "1", Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: euWest, Author: r.GetAuthor(), Reason: r.GetReason()}
			return &pb.DrainRegionResponse{Override: o, Generation: gen(43), Safety: &pb.SafetyDecision{Allowed: true}}, nil
		},
		progress: func(r *pb.GetOverrideProgressRequest) (*pb.GetOverrideProgressResponse, error) {
			if none {
				return nil, status.Error(codes.Unimplemented, "unknown method GetOverrideProgress")
			}
			if r.GetScope().GetRegion() != "eu-west" || r.GetGeneration().GetRevision() != 43 {
				t.Errorf("asked for %v", r)
			}
			resp := &pb.GetOverrideProgressResponse{Generation: gen(43), Convergence: &pb.Convergence{Missing: []string{"ns-1"}}, Nameservers: []*pb.NameserverUsage{usage("ns-1", 0, time.Minute, 60, 0)}}
			n := asked.Add(1)
			if n > 2 {
				resp.Convergence = &pb.Convergence{Serving: []string{"ns-1"}}
			}
			if n > 4 {
				resp.Nameservers[0] = usage("ns-1", time.Minute, 0, 0, 0)
			}
			return resp, nil
		},
		status: func() (*pb.GetStatusResponse, error) {
			return &pb.GetStatusResponse{Generation: gen(43), Nameservers: []*pb.NameserverStatus{{Nameserver: "ns-1", Registered: true, Connected: true, Generation: gen(43)}}}, nil
		},
	})
}

func TestWaitForCaches(t *testing.T) {
	t.Parallel()
	addr := progressing(t, false)
	r := run(t, "", "region", "drain", "EU-West", "--reason", "x", "--wait=caches", "-o", "json", "--controller", addr)
	r.want(t, exitDone)
	var doc struct {
		Override    struct{ ID string }
		Converged   bool
		DrainClock  struct{ Expired bool }
		Timings     struct{ ServedMillis, CachesMillis int64 }
		Nameservers []struct{ Nameserver string }
	}
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatal(err, r.out)
	}
	if doc.Override.ID != "1" || !doc.Converged || !doc.DrainClock.Expired || doc.Timings.ServedMillis == 0 || doc.Timings.CachesMillis < doc.Timings.ServedMillis || len(doc.Nameservers) != 1 {
		t.Errorf("%+v", doc)
	}
	// With a bound, it is kept; what has come until then is told.
	r = run(t, "", "region", "drain", "eu-west", "--reason", "x", "--wait", "--timeout", "300ms", "-o", "yaml", "--controller", progressing(t, false))
	r.want(t, exitNotConverged, "converged: false\n", "not converged: after 300ms, generation 1.43 is not served by ns-1")
}

// A controller of an older version tells of the nameservers alone.
func TestWaitAtAnOlderController(t *testing.T) {
	addr := progressing(t, true)
	run(t, "", "region", "drain", "eu-west", "--reason", "x", "--wait", "caches", "--controller", addr).want(t, exitDone,
		"region eu-west is drained; generation 1.43", "served by ns-1 (1 of 1)", addr+" is of an older version, and does not know how long caches keep")
}

// On a terminal the display is redrawn in place, and nothing is left of it.
func TestScreen(t *testing.T) {
	t.Parallel()
	var out, err bytes.Buffer
	code := Run(t.Context(), []string{"region", "drain", "eu-west", "--reason", "x", "--wait", "--controller", progressing(t, false)},
		Streams{In: strings.NewReader(""), Out: &out, Err: &err, Progress: true})
	if code != exitDone || !strings.HasPrefix(out.String(), "region eu-west is drained") {
		t.Errorf("exit code %d\n%s", code, out.String())
	}
	rows, row := map[int]string{}, 0
	up := regexp.MustCompile(`^\r\x1b\[(\d+)A`)
	for text := err.String(); text != ""; {
		if m := up.FindStringSubmatch(text); m != nil {
			row -= int(m[1][0] - '0')
			text = text[len(m[0]):]
			continue
		}
		if rest, ok := strings.CutPrefix(text, "\x1b[J"); ok {
			for i := range rows {
				if i >= row {
					delete(rows, i)
				}
			}
			text = rest
			continue
		}
		if text[0] == '\n' {
			row++
		} else if text[0] >= ' ' {
			rows[row] += text[:1]
		}
		text = text[1:]
	}
	if row != 0 || len(rows) != 0 {
		t.Errorf("it is left behind, in row %d: %v", row, rows)
	}
	if s := err.String(); !strings.Contains(s, "0 of 1 serve it") || !strings.Contains(s, "1 of 1 serve it") || !strings.Contains(s, "\x1b[?7l") || !strings.HasSuffix(s, "\x1b[J") {
		t.Errorf("%q", s)
	}
}

// Who interrupts the wait is told that the change is made.
func TestInterruptedWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr := serve(t, &fake{
		drain: func(r *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
			return &pb.DrainRegionResponse{Override: &pb.Override{Id: "1", Scope: euWest, Reason: "x"}, Generation: gen(43)}, nil
		},
		progress: func(*pb.GetOverrideProgressRequest) (*pb.GetOverrideProgressResponse, error) {
			defer cancel()
			return &pb.GetOverrideProgressResponse{Convergence: &pb.Convergence{Missing: []string{"ns-1"}}}, nil
		},
	})
	runContext(t, ctx, "", "region", "drain", "eu-west", "--reason", "x", "--author", "", "--wait", "--controller", addr).
		want(t, exitNotConverged, "interrupted before it converged; the change is made all the same")
}

func TestJoinWait(t *testing.T) {
	for args, want := range map[string]string{
		"region drain x --wait 10s":                "region drain x --wait=10s",
		"region drain --wait caches x":             "region drain --wait=caches x",
		"region drain --wait eu-west --reason x":   "region drain --wait eu-west --reason x",
		"region drain eu-west --wait":              "region drain eu-west --wait",
		"region drain eu-west --wait --reason 10s": "region drain eu-west --wait --reason 10s",
		"apply -f x --wait 5 y":                    "apply -f x --wait=5 y",
		"apply -f x -- --wait 5s":                  "apply -f x -- --wait 5s",
	} {
		if got := strings.Join(joinWait(strings.Fields(args)), " "); got != want {
			t.Errorf("%s: got %s, want %s", args, got, want)
		}
	}
}
