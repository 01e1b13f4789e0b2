package regions

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Generation is the version of configuration and overrides together, ordered
// by epoch (raised at every restore of the store) and then by the store's
// revision of the head key. The zero value is older than every other.
type Generation struct {
	Epoch    uint64
	Revision int64
}

// IsZero tells whether g is no generation at all.
func (g Generation) IsZero() bool { return g == Generation{} }

// Compare returns -1, 0 or 1 as g is older than, equal to or newer than h.
func (g Generation) Compare(h Generation) int {
	return cmp.Or(cmp.Compare(g.Epoch, h.Epoch), cmp.Compare(g.Revision, h.Revision))
}

// String prints EPOCH.REVISION, or - for the zero value.
func (g Generation) String() string {
	if g.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%d.%d", g.Epoch, g.Revision)
}

// ParseGeneration reads what String prints, except for the zero value, which
// is no generation that could be asked for.
func ParseGeneration(s string) (Generation, error) {
	e, r, _ := strings.Cut(s, ".")
	epoch, err1 := strconv.ParseUint(e, 10, 64)
	rev, err2 := strconv.ParseUint(r, 10, 63)
	g := Generation{Epoch: epoch, Revision: int64(rev)}
	if err1 != nil || err2 != nil || g.IsZero() {
		return Generation{}, fmt.Errorf("%q is no generation: want EPOCH.REVISION, as 1.42", s)
	}
	return g, nil
}
