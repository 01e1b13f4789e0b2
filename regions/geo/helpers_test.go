package geo

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Regions of most tests, by index.
const (
	eu = iota // Frankfurt
	us        // Virginia
	ap        // Tokyo
)

func threeRegions() Spec {
	return Spec{
		Nearest: true,
		Sites: []Site{
			eu: {Latitude: 50.1, Longitude: 8.7},
			us: {Latitude: 38.9, Longitude: -77.4},
			ap: {Latitude: 35.7, Longitude: 139.7},
		},
		Candidates: []uint16{eu, us, ap},
	}
}

func builtin(tb failer) *Database {
	tb.Helper()
	db, err := Builtin()
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

func compile(tb failer, db *Database, spec Spec) *Table {
	tb.Helper()
	t, err := Compile(db, spec)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// randomV4 and randomV6 draw from unicast space; half of the IPv6 addresses lie where networks are.
func randomV4(r *rand.Rand) netip.Addr {
	v := r.Uint32()
	return netip.AddrFrom4([4]byte{byte(1 + v>>24%223), byte(v >> 16), byte(v >> 8), byte(v)})
}

func randomV6(r *rand.Rand) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	b[0] = 0x20 | b[0]&0x1f
	if r.IntN(2) == 0 {
		high := [...][2]byte{{0x20, 0x01}, {0x24, 0x02}, {0x26, 0x00}, {0x28, 0x03}, {0x2a, 0x02}, {0x2c, 0x0f}}[r.IntN(6)]
		b[0], b[1] = high[0], high[1]
	}
	return netip.AddrFrom16(b)
}

// fixture is an MMDB made for a test: network → record.
type fixture struct {
	mmdbwriter.Options
	rows []row
}

type row struct {
	network string
	record  mmdbtype.Map
}

// failer is what helpers need of a test; rapid's T has it too.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func (f fixture) bytes(tb failer) []byte {
	tb.Helper()
	f.IncludeReservedNetworks = true // documentation prefixes are reserved
	f.BuildEpoch = 1_700_000_000
	if f.Description == nil {
		f.Description = map[string]string{"en": "made by a test"}
	}
	tree, err := mmdbwriter.New(f.Options)
	if err != nil {
		tb.Fatal(err)
	}
	for _, r := range f.rows {
		p := netip.MustParsePrefix(r.network)
		network := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
		if err := tree.Insert(network, r.record); err != nil {
			tb.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func (f fixture) load(tb failer) *Database {
	tb.Helper()
	db, err := Load(f.bytes(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

func ofType(databaseType string) mmdbwriter.Options {
	return mmdbwriter.Options{DatabaseType: databaseType}
}

func obj(pairs ...any) mmdbtype.Map {
	m := mmdbtype.Map{}
	for i := 0; i < len(pairs); i += 2 {
		var v mmdbtype.DataType
		switch x := pairs[i+1].(type) {
		case string:
			v = mmdbtype.String(x)
		case float64:
			v = mmdbtype.Float64(x)
		case float32:
			v = mmdbtype.Float32(x)
		case mmdbtype.DataType:
			v = x
		}
		m[mmdbtype.String(pairs[i].(string))] = v
	}
	return m
}
