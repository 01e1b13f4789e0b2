package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The race: several operators drain and undrain the three regions at both
// controllers, of which two must stay in service, while controllers and members
// of etcd are killed and started again. Porcupine looks for an order of what was
// answered that the rule allows.

// raceFor is how long it goes on.
const raceFor = 20 * time.Second

type lever struct {
	drain  bool
	region int
}

type pulled uint8

const (
	accepted pulled = iota
	refused         // by the rule
	unknown         // it may have been carried out, or may be yet
)

// ruleModel is what the regions' drains may be: bit n stands for region n.
var ruleModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{uint8(0)} },
	Step: func(state, input, output any) []any {
		drained, in := state.(uint8), input.(lever)
		after := drained &^ (1 << in.region)
		allowed := true
		if in.drain {
			after = drained | 1<<in.region
			allowed = after == drained || drained == 0
		}
		switch output.(pulled) {
		case accepted:
			if allowed {
				return []any{after}
			}
			return nil
		case refused:
			if !allowed {
				return []any{drained}
			}
			return nil
		}
		if allowed && after != drained {
			return []any{drained, after}
		}
		return []any{drained}
	},
	DescribeOperation: func(input, output any) string {
		in := input.(lever)
		what := "undrain "
		if in.drain {
			what = "drain "
		}
		return what + clusterRegions[in.region].name + [...]string{": done", ": refused", ": unknown"}[output.(pulled)]
	},
}).ToModel()

// TestRuleModel: the model knows a broken rule from a kept one.
func TestRuleModel(t *testing.T) {
	op := func(client int, l lever, out pulled, call, back int64) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Input: l, Output: out, Call: call, Return: back}
	}
	eu, us := lever{true, 0}, lever{true, 1}
	for _, c := range []struct {
		what    string
		history []porcupine.Operation
		kept    bool
	}{
		{"one of two", []porcupine.Operation{op(0, eu, accepted, 0, 10), op(1, us, refused, 0, 10)}, true},
		{"both", []porcupine.Operation{op(0, eu, accepted, 0, 10), op(1, us, accepted, 0, 10)}, false},
		{"neither", []porcupine.Operation{op(0, eu, refused, 0, 10), op(1, us, refused, 0, 10)}, false},
		{"one after the other's end", []porcupine.Operation{op(0, eu, accepted, 0, 10), op(0, lever{false, 0}, accepted, 11, 12), op(1, us, accepted, 13, 20)}, true},
		{"one that may not have been", []porcupine.Operation{op(0, eu, unknown, 0, 100), op(1, us, accepted, 0, 10)}, true},
		{"a refusal by one that may have been", []porcupine.Operation{op(0, eu, unknown, 0, 100), op(1, us, refused, 20, 30)}, true},
	} {
		if got := porcupine.CheckOperations(ruleModel, c.history); got != c.kept {
			t.Errorf("%s: %v, want %v", c.what, got, c.kept)
		}
	}
}

const twoInService = `apiVersion: fairlead/v1
kind: SafetyPolicy
metadata: {name: default}
spec: {drains: {minRegions: 2}}
`

// TestOperatorRace shows that no interleaving of drains, at several controllers
// and under kills, breaks a safety rule.
func TestOperatorRace(t *testing.T) {
	if only := os.Getenv(operatorWanted); only == "" || only != "1" && !strings.Contains("race", only) {
		t.Skipf("SKIPPED, NOTHING RACED: make e2e-operator sets %s=1", operatorWanted)
	}
	c := newCluster(t, shape{etcd: 3, controllers: 2, nameservers: 2})
	c.run(0, "apply", "-f", write(t, "safety.yaml", twoInService), "--controller", c.allControllers())
	c.onlyOnePasses()

	r := &race{c: c, began: time.Now(), creds: c.as("admin")}
	ctx, cancel := context.WithTimeout(t.Context(), raceFor)
	defer cancel()
	var operators sync.WaitGroup
	for i := range 6 {
		operators.Go(func() { r.operate(ctx, i, rand.New(rand.NewPCG(7, uint64(i)))) })
	}
	kills := r.killing(ctx)
	operators.Wait()
	result, info := porcupine.CheckOperationsVerbose(ruleModel, r.history, time.Minute)
	if result != porcupine.Ok {
		path := filepath.Join(t.TempDir(), "race.html")
		if dir := os.Getenv("FAIRLEAD_E2E_ARTIFACTS"); dir != "" {
			path = filepath.Join(dir, "race.html")
		}
		if err := porcupine.VisualizePath(ruleModel, info, path); err != nil {
			t.Error(err)
		}
		t.Fatalf("porcupine says %v of %d operations; drawn in %s", result, len(r.history), path)
	}
	var n [3]int
	for _, op := range r.history {
		n[op.Output.(pulled)]++
	}
	if n[accepted] < 20 || n[refused] < 20 {
		t.Errorf("%d accepted and %d refused: too few to say anything", n[accepted], n[refused])
	}
	t.Logf("porcupine: %v; %d operations (%d done, %d refused by the rule, %d unknown) in %v under %d kills",
		result, len(r.history), n[accepted], n[refused], n[unknown], raceFor, kills)
	c.restore()
}

// onlyOnePasses drains two regions at the same time at two controllers, again
// and again: of the two exactly one passes.
func (c *cluster) onlyOnePasses() {
	c.t.Helper()
	var text string
	for round := range 10 {
		var codes [2]int
		var outs [2]string
		var both sync.WaitGroup
		for i := range 2 {
			both.Go(func() {
				codes[i], outs[i], _ = runTry(c.tls(admin, "region", "drain", clusterRegions[i].name, "--reason", "race", "--controller", c.controller(i))...)
			})
		}
		both.Wait()
		if codes[0]+codes[1] != 1 {
			c.t.Fatalf("round %d: exits %v, want one 0 and one 1:\n%s\n%s", round, codes, outs[0], outs[1])
		}
		loser := 0
		if codes[1] != 0 {
			loser = 1
		}
		if text = outs[loser]; !strings.Contains(text, "min-regions") {
			c.t.Fatalf("the refusal names no rule:\n%s", text)
		}
		c.run(0, "region", "undrain", clusterRegions[1-loser].name, "--reason", "race", "--controller", c.controller(loser))
	}
	c.t.Logf("10 rounds of two drains at once: one passed, the other said\n%s", text)
}

// race is what the operators did.
type race struct {
	c       *cluster
	creds   credentials.TransportCredentials
	began   time.Time
	mu      sync.Mutex
	history []porcupine.Operation
}

// operate pulls levers until ctx ends.
func (r *race) operate(ctx context.Context, client int, lot *rand.Rand) {
	conn, err := grpc.NewClient("passthrough:///"+r.c.controller(client%2), grpc.WithTransportCredentials(r.creds))
	if err != nil {
		r.c.t.Error(err)
		return
	}
	defer conn.Close()
	regions := pb.NewRegionServiceClient(conn)
	for n := 0; ctx.Err() == nil; n++ {
		l := lever{drain: lot.IntN(2) == 0, region: lot.IntN(3)}
		call := time.Since(r.began)
		one, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		err := l.pull(one, regions, fmt.Sprintf("race-%d-%d", client, n))
		cancel()
		op := porcupine.Operation{ClientId: client, Input: l, Output: accepted, Call: int64(call), Return: int64(time.Since(r.began))}
		switch status.Code(err) {
		case codes.OK:
		case codes.FailedPrecondition:
			op.Output = refused
		default:
			// It may be carried out at any time from its call on; whoever called does
			// nothing else under that name.
			op.Output, op.Return = unknown, int64(time.Hour)
			client += 100
		}
		r.mu.Lock()
		r.history = append(r.history, op)
		r.mu.Unlock()
		if op.Output == unknown {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (l lever) pull(ctx context.Context, c pb.RegionServiceClient, id string) error {
	name := clusterRegions[l.region].name
	if l.drain {
		_, err := c.DrainRegion(ctx, &pb.DrainRegionRequest{Region: name, Reason: "race", RequestId: id})
		return err
	}
	_, err := c.UndrainRegion(ctx, &pb.UndrainRegionRequest{Region: name, Reason: "race", RequestId: id})
	return err
}

// killing kills and starts controllers and members of etcd in turn, so that a
// quorum stays, until ctx ends.
func (r *race) killing(ctx context.Context) (kills int) {
	victims := []*node{r.c.controllers[0], r.c.etcd[0], r.c.controllers[1], r.c.etcd[1], r.c.etcd[2]}
	for i := 0; ; i++ {
		n := victims[i%len(victims)]
		select {
		case <-ctx.Done():
			return kills
		case <-time.After(time.Second + rand.N(time.Second)):
		}
		n.kill()
		kills++
		time.Sleep(rand.N(500 * time.Millisecond))
		n.start()
	}
}
