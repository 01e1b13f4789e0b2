package snapshot_test

import (
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/proto/snapshot"
)

func TestConfirm(t *testing.T) {
	path := t.TempDir()
	d, err := snapshot.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	g := &pb.Generation{Epoch: 1, Revision: 7}
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	if err := d.Confirm(g, at); err == nil {
		t.Error("confirmed what is not there")
	}
	if got := d.Confirmed(g); !got.IsZero() {
		t.Errorf("confirmed at %v, and it is not there", got)
	}
	if err := d.Save(&pb.Snapshot{Generation: g}); err != nil {
		t.Fatal(err)
	}
	if d.Confirmed(g).IsZero() {
		t.Error("what was saved was never confirmed")
	}
	if err := d.Confirm(g, at); err != nil {
		t.Fatal(err)
	}
	if d, err = snapshot.Open(path); err != nil {
		t.Fatal(err)
	}
	if got := d.Confirmed(g); !got.Equal(at) {
		t.Errorf("confirmed at %v, want %v", got, at)
	}
	if got, refused := d.Load(func(*pb.Snapshot) error { return nil }); got.GetRevision() != 7 || len(refused) > 0 {
		t.Errorf("loaded %v, refused %v", got, refused)
	}
}
