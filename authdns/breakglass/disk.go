package breakglass

import (
	"context"
	"fmt"
	"strings"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// saveEvery is how often the remainders are written while a record stands, and how
// often what could not be written is tried again: by so much longer may a record
// stand after the process was killed.
const saveEvery = 5 * time.Second

// saveFirst is how soon after a start they are: a process that is killed over and
// over, and is up for a few seconds between, lets no record stand for ever.
const saveFirst = time.Second

// Load reads the records on disk, before anything else is done. Those that cannot
// be read are lost, and that is said aloud: the file is set aside, and for as long
// as it is there it is in the log at every start, in a metric and in every list of
// records.
func (r *Records) Load(now time.Time) {
	if r.opts.Dir == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &state{}
	t, err := r.opts.Dir.LoadBreakGlass()
	if err == nil {
		err = next.take(t, now)
	}
	if err != nil {
		next.records, next.standing = nil, nil
		r.opts.Log.Error("break-glass records on disk refused; what stood before does not count any more", "err", err)
		if err := r.opts.Dir.SetBreakGlassAside(now); err != nil {
			next.damaged = fmt.Sprintf("the break-glass records on disk are damaged, and the file cannot be set aside: %v", err)
		}
	}
	if files, _ := r.opts.Dir.DamagedBreakGlass(); len(files) > 0 {
		next.setAside, next.damaged = true, fmt.Sprintf("break-glass records were lost: the damaged file was set aside as %s; say again what must stand, then remove it", strings.Join(files, ", "))
		r.opts.Log.Error("damaged break-glass records lie in the snapshot directory", "files", strings.Join(files, " "))
	}
	r.savedAt = now.Add(saveFirst - saveEvery)
	r.adopt(next)
	for i := range next.standing {
		o := &next.standing[i]
		r.opts.Log.Warn("break-glass from disk", "id", o.ID, "action", o.Action.String(), "scope", o.Scope.String(), "author", o.Author,
			"reason", o.Reason, "remaining", o.Expires.Sub(now).Round(time.Second).String())
	}
}

// take fills an empty state from a table, which must keep the bounds that Create
// does. A record that only a newer version understands is carried, without effect.
func (s *state) take(t *pb.BreakGlassTable, now time.Time) error {
	if n := len(t.GetRecords()); n > MaxStanding+MaxEnded {
		return fmt.Errorf("%d records, at most %d", n, MaxStanding+MaxEnded)
	}
	for _, m := range t.GetRecords() {
		if err := checkStored(m); err != nil {
			return err
		}
		if s.find(m.GetId()) != nil {
			return fmt.Errorf("record %s is there twice", m.GetId())
		}
		left := time.Duration(m.GetRemainingMillis()) * time.Millisecond
		m.RemainingMillis = 0
		rec, err := recordOf(m, now.Add(left))
		if err != nil {
			rec.refused = err.Error()
		}
		if rec.stands() && left <= 0 {
			rec = rec.ended(expired, now)
		}
		s.records = append(s.records, rec)
	}
	if s.count(func(r *record) bool { return r.stands() }) > MaxStanding {
		return fmt.Errorf("more than %d records stand", MaxStanding)
	}
	s.arrange()
	return nil
}

// write puts a state on disk. mu is held.
func (r *Records) write(s *state, now time.Time) error {
	if r.opts.Dir == nil {
		return nil
	}
	t := &pb.BreakGlassTable{}
	for i := range s.records {
		t.Records = append(t.Records, s.records[i].show(now))
	}
	r.savedAt = now
	if err := r.opts.Dir.SaveBreakGlass(t); err != nil {
		return err
	}
	r.unsaved, s.unwritten = false, ""
	return nil
}

// change adopts a state that counts whether it can be written or not. mu is held.
func (r *Records) change(next *state, now time.Time) {
	next.arrange()
	if err := r.write(next, now); err != nil {
		r.unsaved = true
		r.warn(err)
		next.unwritten = r.state.Load().unwritten
	}
	r.adopt(next)
}

// warn tells that the records cannot be written, once. mu is held.
func (r *Records) warn(err error) {
	text := "break-glass records cannot be written, so a restart brings back those on disk: " + err.Error()
	if s := r.state.Load(); s.unwritten != text {
		r.opts.Log.Error("break-glass records not written", "err", err)
		next := s.next()
		next.unwritten = text
		r.adopt(next)
	}
}

// Run lets records expire, notes the ends of plans and writes the remainders until
// ctx ends.
func (r *Records) Run(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			r.keep(time.Now(), 0)
			return nil
		case <-t.C:
		case <-r.wake:
		}
		t.Reset(r.step(time.Now()))
	}
}

// step does what is due and returns when there is more to do.
func (r *Records) step(now time.Time) time.Duration {
	r.note(now)
	r.keep(now, saveEvery)
	r.relieve()
	r.mu.Lock()
	wait := saveEvery - now.Sub(r.savedAt)
	r.mu.Unlock()
	if wait <= 0 { // nothing was to be written
		wait = saveEvery
	}
	for s, i := r.state.Load(), 0; i < len(s.records); i++ {
		if rec := &s.records[i]; rec.stands() {
			wait = min(wait, max(rec.deadline.Sub(now), time.Millisecond))
		}
	}
	return wait
}

// relieve notes that what was set aside has been removed.
func (r *Records) relieve() {
	if !r.state.Load().setAside {
		return
	}
	if files, err := r.opts.Dir.DamagedBreakGlass(); err != nil || len(files) > 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.state.Load().next()
	next.setAside, next.damaged = false, ""
	r.opts.Log.Info("the damaged break-glass records that were set aside have been removed")
	r.adopt(next)
}

// note ends what expired and what the plan ends.
func (r *Records) note(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ends := r.ends()
	next := r.state.Load().next()
	changed := false
	for i := range next.records {
		rec := &next.records[i]
		how, cited := ends[rec.pb.GetId()]
		at := now
		switch {
		case !rec.stands():
			continue
		case cited:
			how = "ended by the control plane, " + how
		case !now.Before(rec.deadline):
			how, at = expired, now.Add(rec.deadline.Sub(now))
		default:
			continue
		}
		r.opts.Log.Warn("break-glass ended", "id", rec.pb.GetId(), "action", rec.override.Action.String(), "scope", rec.override.Scope.String(), "how", how)
		*rec, changed = rec.ended(how, at), true
	}
	if changed {
		r.change(next, now)
	}
}

// keep writes the remainders of what stands, and what could not be written, if
// that was last done so long ago.
func (r *Records) keep(now time.Time, after time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state.Load()
	stands := s.count(func(r *record) bool { return r.stands() }) > 0
	if !r.unsaved && s.unwritten == "" && !stands || now.Sub(r.savedAt) < after {
		return
	}
	next := s.next()
	err := r.write(next, now)
	switch {
	case err != nil:
		r.unsaved = true
		r.warn(err)
	case s.unwritten != "":
		r.opts.Log.Info("break-glass records written after all")
		r.adopt(next)
	}
}
