package verdicts

import (
	"time"
	"unique"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// opinion is what a vantage says of one target. There is one of each vantage
// for each target, so it is small.
type opinion struct {
	since       int64 // nanoseconds from the tally's base
	reason      unique.Handle[string]
	transitions uint16
	status      regions.Status
	flags       flags
}

// flags are what is true of an opinion.
type flags uint8

const (
	known    flags = 1 << iota // there is one
	wavering                   // the last checks speak against it
	// What was counted of it in the vantage's sight.
	seenDefinite
	seenUnhealthy
	seenContradicted

	seen = seenDefinite | seenUnhealthy | seenContradicted
)

// says tells whether two opinions are the same.
func (o opinion) says(p opinion) bool {
	o.flags &^= seen
	p.flags &^= seen
	return o == p
}

// text is the reason.
func (o *opinion) text() string {
	if o.flags&known == 0 {
		return ""
	}
	return o.reason.Value()
}

// at is when the opinion came about.
func (o *opinion) at(base time.Time) time.Time { return base.Add(time.Duration(o.since)) }

// slots hold the opinions of all vantages on all targets: a row a target, a
// column a vantage, so that a ballot lies in one piece of memory. Columns are
// given out anew when a vantage is gone.
type slots struct {
	rows, width int
	all         []opinion
	free        []int
	used        int // columns below it were given out
}

func (s *slots) row(target int) []opinion { return s.all[target*s.width : (target+1)*s.width] }

// column gives out an empty column.
func (s *slots) column() int {
	if n := len(s.free); n > 0 {
		c := s.free[n-1]
		s.free = s.free[:n-1]
		return c
	}
	if s.used == s.width {
		s.resize(s.rows, s.width+max(4, s.width/8), nil)
	}
	s.used++
	return s.used - 1
}

// release takes a column back and empties it.
func (s *slots) release(column int) {
	for i := range s.rows {
		s.all[i*s.width+column] = opinion{}
	}
	s.free = append(s.free, column)
}

// resize makes another table; from says which row each of the new ones was, or
// -1; nil: the same.
func (s *slots) resize(rows, width int, from []int) {
	old := *s
	s.rows, s.width, s.all = rows, width, make([]opinion, rows*width)
	for i := range rows {
		j := i
		if from != nil {
			j = from[i]
		}
		if j >= 0 {
			copy(s.row(i), old.row(j))
		}
	}
}

// clear forgets all opinions.
func (s *slots) clear() { clear(s.all) }

// forgetSights forgets what was counted in the vantages' sights.
func (s *slots) forgetSights() {
	for i := range s.all {
		s.all[i].flags &^= seen
	}
}

// moveOpinions makes the rows of new targets. What vantages said of targets that
// are gone they keep elsewhere, and from there it comes when they are back.
func (t *tally) moveOpinions(old *index) {
	was := t.slots
	for i, id := range old.ids {
		if _, stays := t.table.index.at[id]; stays {
			continue
		}
		row := was.row(i)
		for _, v := range t.voters {
			if op := row[v.column]; op.flags&known != 0 {
				v.known--
				v.keepElsewhere(id, op)
			}
		}
	}
	from := make([]int, len(t.table.index.ids))
	for i, id := range t.table.index.ids {
		from[i] = -1
		if j, ok := old.at[id]; ok {
			from[i] = j
		}
	}
	t.slots.resize(len(from), was.width, from)
	t.slots.forgetSights()
	for _, v := range t.voters {
		v.sight = health.Sight{}
		for id, op := range v.elsewhere {
			if i, ok := t.table.index.at[id]; ok {
				t.slots.row(i)[v.column] = op
				v.known++
				delete(v.elsewhere, id)
			}
		}
	}
}
