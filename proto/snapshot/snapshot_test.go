package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func sample(rev int64) *pb.Snapshot {
	return &pb.Snapshot{
		Generation: &pb.Generation{Epoch: 2, Revision: rev},
		Objects:    [][]byte{[]byte("manifest"), []byte("part")},
	}
}

func open(t *testing.T) *Dir {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestKeepsTheLastThreeAndLoadsTheNewest(t *testing.T) {
	d := open(t)
	for _, rev := range []int64{5, 9, 10, 100, 99} {
		if err := d.Save(sample(rev)); err != nil {
			t.Fatal(err)
		}
	}
	names, err := d.names()
	if err != nil || len(names) != 3 {
		t.Fatalf("kept %v, %v; want 3 files", names, err)
	}
	// One that is older than three others is not lost as soon as it is saved.
	if err := d.Save(sample(1)); err != nil {
		t.Fatal(err)
	}
	if names, _ := d.names(); len(names) != 4 {
		t.Fatalf("kept %v; want 4 files", names)
	}
	var got *pb.Snapshot
	gen, refused := d.Load(func(s *pb.Snapshot) error { got = proto.CloneOf(s); return nil })
	if gen.GetRevision() != 100 || gen.GetEpoch() != 2 || len(refused) != 0 {
		t.Fatalf("loaded %v (refused %v), want 2.100", gen, refused)
	}
	if !proto.Equal(got, sample(100)) {
		t.Errorf("got %v", got)
	}
}

func TestFallsBackToOlder(t *testing.T) {
	d := open(t)
	for _, rev := range []int64{1, 2, 3} {
		if err := d.Save(sample(rev)); err != nil {
			t.Fatal(err)
		}
	}
	names, _ := d.names()
	if err := os.Truncate(filepath.Join(d.path, names[0]), 30); err != nil {
		t.Fatal(err)
	}
	gen, refused := d.Load(func(s *pb.Snapshot) error {
		if s.GetGeneration().GetRevision() == 2 {
			return errors.New("does not compile")
		}
		return nil
	})
	if gen.GetRevision() != 1 || len(refused) != 2 {
		t.Fatalf("loaded %v, refused %v; want 2.1 and two refusals", gen, refused)
	}
}

// Every cut and every flipped byte of a file is refused.
func TestDamageIsRefused(t *testing.T) {
	d := open(t)
	if err := d.Save(sample(7)); err != nil {
		t.Fatal(err)
	}
	names, _ := d.names()
	path := filepath.Join(d.path, names[0])
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(data []byte) bool {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		gen, _ := d.Load(func(*pb.Snapshot) error { return nil })
		return gen != nil
	}
	if !try(whole) {
		t.Fatal("the whole file is refused")
	}
	for n := range whole {
		if try(whole[:n]) {
			t.Errorf("cut at %d of %d was loaded", n, len(whole))
		}
		flipped := append([]byte(nil), whole...)
		flipped[n] ^= 0x20
		if try(flipped) {
			t.Errorf("a flipped byte at %d was loaded", n)
		}
	}
}

func TestHealthTable(t *testing.T) {
	d := open(t)
	if table, err := d.LoadHealth(); err != nil || len(table.GetTargets()) != 0 {
		t.Fatalf("without a file: %v, %v", table, err)
	}
	want := &pb.HealthTable{Targets: []*pb.TargetHealth{{Target: "web@192.0.2.1", Verdict: pb.HealthStatus_HEALTH_STATUS_UNHEALTHY, HeldMillis: 1500}}}
	if err := d.SaveHealth(want); err != nil {
		t.Fatal(err)
	}
	if got, err := d.LoadHealth(); err != nil || !proto.Equal(got, want) {
		t.Fatalf("got %v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(d.path, healthFile), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if table, err := d.LoadHealth(); err == nil || len(table.GetTargets()) != 0 {
		t.Fatalf("rubbish was loaded: %v", table)
	}
}

func TestRenamedIsRefused(t *testing.T) {
	d := open(t)
	for _, rev := range []int64{1, 2} {
		if err := d.Save(sample(rev)); err != nil {
			t.Fatal(err)
		}
	}
	old, newer := nameOf(sample(1).GetGeneration()), nameOf(sample(3).GetGeneration())
	if err := os.Rename(filepath.Join(d.path, old), filepath.Join(d.path, newer)); err != nil {
		t.Fatal(err)
	}
	gen, refused := d.Load(func(*pb.Snapshot) error { return nil })
	if gen.GetRevision() != 2 || len(refused) != 1 {
		t.Fatalf("loaded %v, refused %v; want 2.2 and one refusal", gen, refused)
	}
}

// A crash leaves files that were being written; they do not pile up.
func TestLeftoversAreRemoved(t *testing.T) {
	d := open(t)
	if err := d.Save(sample(1)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"." + nameOf(sample(2).GetGeneration()) + "123", "." + healthFile + "456", "operator.txt"} {
		if err := os.WriteFile(filepath.Join(d.path, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(d.path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(d.path)
	if err != nil || len(entries) != 2 {
		t.Fatalf("left: %v, %v; want the snapshot and the operator's file", entries, err)
	}
}
