package geofile

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/fairlead-dns/fairlead/regions/geo"
)

// write writes a database in which 192.0.2.0/24 is in a country.
func write(t *testing.T, path, country string) {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-Country", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	_, network, _ := net.ParseCIDR("192.0.2.0/24")
	record := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(country)}}
	if err := w.Insert(network, record); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func country(db *geo.Database) string {
	l, _ := db.Lookup(netip.MustParseAddr("192.0.2.1"))
	return l.Country
}

// A file that changes is used; one that is damaged is not, and the next good
// one is again.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	write(t, path, "FR")
	db, err := Load(path)
	if err != nil || country(db) != "FR" {
		t.Fatalf("%v, %v", db, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	used := make(chan *geo.Database, 10)
	done := make(chan error, 1)
	go func() {
		done <- Watch(ctx, path, slog.New(slog.DiscardHandler), func(db *geo.Database) { used <- db })
	}()
	if err := os.WriteFile(path, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(poll + poll/2)
	write(t, path, "JP")
	select {
	case db := <-used:
		if got := country(db); got != "JP" {
			t.Errorf("got %q", got)
		}
	case <-time.After(30 * time.Second):
		t.Error("the new file was not used")
	}
	cancel()
	if err := <-done; err != nil || len(used) > 0 {
		t.Errorf("%v, and %d more", err, len(used))
	}
}

func TestLoad(t *testing.T) {
	if db, err := Load(""); err != nil || db.Networks() < 900_000 {
		t.Errorf("built in: %v, %v", db, err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a file that is not there is loaded")
	}
}
