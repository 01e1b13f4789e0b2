package config

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

// BumpSerials returns next with the SOA serial raised in every zone whose own
// spec, or one of whose services, was created, updated or deleted. now is Unix
// time in seconds. No serial falls below that of base, also where next is a
// set of old that comes back.
func BumpSerials(base, next *Set, changes []*pb.Change, now uint32) *Set {
	touched := touchedZones(changes)
	k := kindIndex(KindZone)
	out := &Set{byKind: slices.Clone(next.byKind), unknown: next.unknown}
	out.byKind[k] = slices.Clone(next.byKind[k])
	for i, n := range out.byKind[k] {
		own := n.r.GetZone().GetStatus().GetSerial()
		serial := maxSerial(base.zone(n.name).GetStatus().GetSerial(), own)
		if touched[n.name] {
			serial = NextSerial(maxSerial(serial, statedSerial(n.name, n.r.GetZone())), now)
		}
		if serial != own {
			r := withSerial(n.r, serial)
			out.byKind[k][i] = named{n.name, r, proto.Size(r)}
		}
	}
	return out
}

// statedSerial is the serial of the SOA record that a zone brings along, or 0:
// whoever served it before has told it to others, so ours goes on from there.
func statedSerial(name string, z *pb.Zone) uint32 {
	records := z.GetSpec().GetRecords()
	if !strings.Contains(records, "SOA") && !strings.Contains(records, "soa") {
		return 0
	}
	return zone.StatedSerial(name, records)
}

// RaiseSerials returns s with the serial of every zone raised, as a restore
// needs.
func RaiseSerials(s *Set, now uint32) *Set {
	var changes []*pb.Change
	for _, r := range s.ByKind(KindZone) {
		changes = append(changes, &pb.Change{Before: r, After: r})
	}
	return BumpSerials(s, s, changes, now)
}

// touchedZones are the zones whose contents changes alter.
func touchedZones(changes []*pb.Change) map[string]bool {
	touched := map[string]bool{}
	for _, c := range changes {
		for _, r := range []*pb.Resource{c.GetBefore(), c.GetAfter()} {
			switch k := r.GetKind().(type) {
			case *pb.Resource_Zone:
				touched[Name(r)] = true
			case *pb.Resource_Service:
				touched[k.Service.GetSpec().GetZone()] = true
			}
		}
	}
	return touched
}

// NextSerial is the serial after old: now, or old+1 if the clock is behind.
// It is never 0, which stands for none.
func NextSerial(old, now uint32) uint32 {
	if old == 0 {
		return max(now, 1)
	}
	return maxSerial(max(old+1, 1), now)
}

// maxSerial is the later of two serials, 0 being none (RFC 1982 section 3.2).
func maxSerial(a, b uint32) uint32 {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	case int32(b-a) > 0:
		return b
	default:
		return a
	}
}

// withSerial is a zone with another serial; all else is shared.
func withSerial(r *pb.Resource, serial uint32) *pb.Resource {
	out := bare(r, true)
	status := &pb.ZoneStatus{Serial: serial}
	if old := r.GetZone().GetStatus(); old != nil {
		status.ProtoReflect().SetUnknown(old.ProtoReflect().GetUnknown())
	}
	out.GetZone().Status = status
	return out
}

// keepStatus gives after, which is not in a set yet, the status of before.
func keepStatus(before, after *pb.Resource) {
	if z := after.GetZone(); z != nil {
		z.Status = before.GetZone().GetStatus()
	}
}

func dropStatus(r *pb.Resource) {
	if z := r.GetZone(); z != nil {
		z.Status = nil
	}
}
