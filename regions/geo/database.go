package geo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// typeCountry is the database type of the built-in data.
const typeCountry = "Fairlead-Country"

// Database maps every address to a location. It is immutable and keeps nothing of the file it was
// loaded from.
type Database struct {
	v4, v6    spans      // → index in locations
	locations []Location // 0 is the unknown one; no two are equal
	networks4 int
	networks6 int
	digest    string
	typ       string
	built     time.Time
}

// Load reads an MMDB file: a country or city database of MaxMind or DB-IP or in their shape, one with
// plain fields such as ip-location-db's and IPinfo's, or our own. The whole file is verified and
// walked; a damaged file, or one that locates no network, is an error that says what is wrong with it.
//
// The time taken is linear in the size of the file: about 0.1 s for a million networks of a country
// database, 0.5 s for a million of a city database. The Database does not refer to data.
func Load(data []byte) (*Database, error) {
	if len(data) == 0 {
		return nil, errors.New("geo: the file is empty")
	}
	reader, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("geo: these %d bytes are not a whole MMDB file: %w", len(data), err)
	}
	// Verify insists on a description, which ip-location-db leaves out.
	if len(reader.Metadata.Description) == 0 {
		reader.Metadata.Description = map[string]string{"en": reader.Metadata.DatabaseType}
	}
	if err := reader.Verify(); err != nil {
		return nil, fmt.Errorf("geo: the MMDB file is damaged: %w", err)
	}
	sum := sha256.Sum256(data)
	db := &Database{
		locations: []Location{{}},
		digest:    hex.EncodeToString(sum[:8]),
		typ:       reader.Metadata.DatabaseType,
		built:     reader.Metadata.BuildTime().UTC(),
	}
	if err := db.fill(data, reader); err != nil {
		return nil, fmt.Errorf("geo: database of type %q: %w", db.typ, err)
	}
	return db, nil
}

func (d *Database) fill(data []byte, reader *maxminddb.Reader) error {
	t := newTree(data, reader.Metadata)
	in := intern{db: d, reader: reader, tree: t, records: map[uint]uint32{}, locations: map[Location]uint32{{}: 0}}
	if err := t.walk4(in.into(&d.v4)); err != nil {
		return err
	}
	d.networks4 = t.networks
	if err := t.walk6(in.into(&d.v6)); err != nil {
		return err
	}
	d.networks6 = t.networks - d.networks4
	switch {
	case t.networks == 0:
		return errors.New("it has no networks")
	case len(d.locations) == 1:
		return fmt.Errorf("none of its %d networks has a country or coordinates "+
			"(looked for country.iso_code, continent.code, location.latitude, country_code, country, "+
			"continent_code, latitude, lat): a country or city database is needed", t.networks)
	}
	d.v4.finish(false)
	d.v6.finish(true)
	return nil
}

// intern decodes each record of a file once, and keeps each different location once.
type intern struct {
	db        *Database
	reader    *maxminddb.Reader
	tree      *tree
	records   map[uint]uint32
	locations map[Location]uint32
}

func (in *intern) into(s *spans) func(key, uint) error {
	return func(start key, record uint) error {
		i, err := in.location(record)
		if err != nil {
			return fmt.Errorf("record at %x: %w", record, err)
		}
		s.add(start, i)
		return nil
	}
}

func (in *intern) location(record uint) (uint32, error) {
	if record == in.tree.nodes {
		return 0, nil
	}
	if i, ok := in.records[record]; ok {
		return i, nil
	}
	offset, err := in.tree.offset(record)
	if err != nil {
		return 0, err
	}
	loc, err := decodeLocation(in.reader.LookupOffset(offset))
	if err != nil {
		return 0, err
	}
	loc.complete()
	if in.db.typ == typeCountry {
		loc.Centroid = loc.HasCoordinates
	}
	i, ok := in.locations[loc]
	if !ok {
		i = uint32(len(in.db.locations))
		in.db.locations = append(in.db.locations, loc)
		in.locations[loc] = i
	}
	in.records[record] = i
	return i, nil
}

// Join makes one database of what v4 says of IPv4 and v6 of IPv6, for data that come in two files, as
// ip-location-db's city databases do. Neither is changed. The build time is the earlier one.
func Join(v4, v6 *Database) *Database {
	sum := sha256.Sum256([]byte(v4.digest + v6.digest))
	d := &Database{
		v4:        v4.v4,
		v6:        v6.v6,
		locations: slices.Clone(v4.locations),
		networks4: v4.networks4,
		networks6: v6.networks6,
		digest:    hex.EncodeToString(sum[:8]),
		typ:       v4.typ + " + " + v6.typ,
		built:     v4.built,
	}
	if v6.built.Before(d.built) {
		d.built = v6.built
	}
	known := make(map[Location]uint32, len(d.locations))
	for i, loc := range d.locations {
		known[loc] = uint32(i)
	}
	moved := make([]uint32, len(v6.locations))
	for i, loc := range v6.locations {
		to, ok := known[loc]
		if !ok {
			to = uint32(len(d.locations))
			d.locations = append(d.locations, loc)
		}
		moved[i] = to
	}
	// Different locations stay different, so no runs have to be merged, and the rest of v6 is shared.
	d.v6.value = make([]uint32, len(v6.v6.value))
	for i, loc := range v6.v6.value {
		d.v6.value[i] = moved[loc]
	}
	return d
}

// family returns the spans for an address, which must be unmapped.
func (d *Database) family(addr netip.Addr) *spans {
	if addr.Is4() {
		return &d.v4
	}
	return &d.v6
}

// Lookup returns the location of addr and the largest network around it that shares it, which may be
// larger than the one in the file. IPv4-mapped addresses are looked up as IPv4. An invalid address has
// no location and no network.
func (d *Database) Lookup(addr netip.Addr) (Location, netip.Prefix) {
	if !addr.IsValid() {
		return Location{}, netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	s, k := d.family(addr), keyOf(addr)
	i := s.find(k)
	return d.locations[s.value[i]], netip.PrefixFrom(addr, s.scope(i, k)).Masked()
}

// Networks is the number of networks with data in the file.
func (d *Database) Networks() int { return d.networks4 + d.networks6 }

// Locations is the number of different locations; after Join, of either database.
func (d *Database) Locations() int { return len(d.locations) - 1 }

// Ranges is the number of address ranges that remained after merging.
func (d *Database) Ranges() int { return d.v4.len() + d.v6.len() }

// Digest identifies the file: the first 16 hex digits of its SHA-256.
func (d *Database) Digest() string { return d.digest }

// Type is the database type that the file states, for example GeoLite2-City.
func (d *Database) Type() string { return d.typ }

// String is the type of the database and the day it was built, as
// GeoLite2-City of 2026-10-20.
func (d *Database) String() string { return d.typ + " of " + d.built.UTC().Format(time.DateOnly) }

// BuildTime is when the file says that it was made.
func (d *Database) BuildTime() time.Time { return d.built }
