package snapshot

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Every cut and every flipped byte is refused, and what is set aside stays.
func TestBreakGlassTable(t *testing.T) {
	d := open(t)
	if got, err := d.LoadBreakGlass(); err != nil || len(got.GetRecords()) != 0 {
		t.Fatalf("without a file: %v, %v", got, err)
	}
	want := &pb.BreakGlassTable{Records: []*pb.BreakGlassRecord{{Id: "bg-1", Reason: "r", RemainingMillis: 5000}}}
	if err := d.SaveBreakGlass(want); err != nil {
		t.Fatal(err)
	}
	if got, err := d.LoadBreakGlass(); err != nil || !proto.Equal(got, want) {
		t.Fatalf("%v, %v", got, err)
	}
	path := filepath.Join(d.path, breakGlassFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(data []byte) error {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := d.LoadBreakGlass()
		return err
	}
	for n := range whole {
		if try(whole[:n]) == nil {
			t.Errorf("cut at %d of %d was loaded", n, len(whole))
		}
		flipped := append([]byte(nil), whole...)
		flipped[n] ^= 0x40
		if try(flipped) == nil {
			t.Errorf("flipped at %d was loaded", n)
		}
	}
	for i := range 2 {
		if err := os.WriteFile(path, whole[:9], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.SetBreakGlassAside(time.Unix(int64(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	damaged, _ := d.DamagedBreakGlass()
	if len(damaged) != 2 {
		t.Fatalf("set aside: %v", damaged)
	}
	if data, err := os.ReadFile(damaged[0]); err != nil || len(data) != 9 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if err := d.SetBreakGlassAside(time.Unix(9, 0)); err == nil {
		t.Error("set aside what is not there")
	}
}
