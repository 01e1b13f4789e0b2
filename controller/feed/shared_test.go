package feed

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// What subscribers with one state before a change are sent is made once, and is
// what each would be sent by itself.
func TestShared(t *testing.T) {
	s := start(t, false)
	s.judges(1, 3)
	a := s.agent()
	a.says(true, up, 0, 3)
	eventually(t, "ready", func() bool { return s.judge.State().Ready })
	before := s.judge.State()
	a.says(false, down, 1, 2)
	var after *verdicts.State
	eventually(t, "the change", func() bool {
		after = s.judge.State()
		v, _ := after.Get(target(1))
		return v.Last == regions.Unhealthy
	})

	var sh shared
	now := time.Now()
	made := func(sent *verdicts.State, at time.Time) []*pb.SubscribeResponse {
		t.Helper()
		list, to, err := sh.updates(after, sent, at)
		if err != nil || len(list) != 1 || to != after {
			t.Fatal(len(list), to.Version, err)
		}
		return list
	}
	for name, sent := range map[string]*verdicts.State{"a change": before, "all": nil} {
		first := made(sent, now)
		if made(sent, now.Add(sharedFor-1))[0] != first[0] {
			t.Errorf("%s: made twice", name)
		}
		data, err := proto.Marshal(first[0])
		if err != nil {
			t.Fatal(err)
		}
		var got pb.SubscribeResponse
		if err := proto.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		for want := range updates(after, sent, now) {
			if !proto.Equal(got.GetHealth(), want) {
				t.Errorf("%s: sent\n%v\nwant\n%v", name, &got, want)
			}
		}
		if made(sent, now.Add(sharedFor))[0] == first[0] {
			t.Errorf("%s: handed out when it is old", name)
		}
	}
	if made(before, now)[0] == made(nil, now)[0] {
		t.Error("a change and all are one")
	}
	// Whoever comes a moment after a change gets all as it was made, and then the
	// change: however many come while verdicts change, there is one table for them.
	sh = shared{}
	first, to, err := sh.updates(before, nil, now)
	if err != nil || to != before {
		t.Fatal(to.Version, err)
	}
	later, to, err := sh.updates(after, nil, now.Add(sharedFor-1))
	if err != nil || to != before || later[0] != first[0] {
		t.Errorf("all is made twice, or leads to number %d: %v", to.Version.Number, err)
	}
	if _, to, err = sh.updates(after, nil, now.Add(sharedFor)); err != nil || to != after {
		t.Errorf("an old table is handed out: number %d, %v", to.Version.Number, err)
	}
}

// What is kept is bounded, and let go of.
func TestSharedIsBounded(t *testing.T) {
	var sh shared
	now := time.Now()
	for i := range 3 * maxShared {
		sh.of(step{to: verdicts.Version{Incarnation: 1, Number: uint64(i)}}, nil, now)
	}
	if len(sh.by) != maxShared {
		t.Errorf("%d kept, want %d", len(sh.by), maxShared)
	}
	sh.forget(now.Add(sharedFor - 1))
	if len(sh.by) != maxShared {
		t.Errorf("%d kept while they are handed out", len(sh.by))
	}
	sh.forget(now.Add(sharedFor))
	if len(sh.by) != 0 {
		t.Errorf("%d kept when they are not handed out", len(sh.by))
	}
}
