package cli

import (
	"slices"
	"strings"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// scopeText is a scope in words: region us-east, service www.….
func scopeText(s *pb.OverrideScope) string {
	return regions.Scope{Region: s.GetRegion(), AvailabilityZone: s.GetAvailabilityZone(), Service: s.GetService(), Endpoint: s.GetEndpoint()}.String()
}

// scopeWords is the scope of an override.
func scopeWords(o *pb.Override) string { return scopeText(o.GetScope()) }

// overrideTable lists overrides; with -o wide with their ids and moments.
func overrideTable(p *printer, overrides []*pb.Override) *table {
	titles := []string{"ACTION", "SCOPE", "AUTHOR", "AGE", "STARTS", "EXPIRES", "FORCED", "REASON", "REFUSED"}
	if p.wide {
		titles = append([]string{"ID"}, append(titles, "CREATED", "STARTS AT", "EXPIRES AT", "ETAG")...)
	}
	t := newTable(titles...)
	for _, o := range overrides {
		age, expires, forced := "", never, ""
		if at := o.GetCreateTime(); at != nil {
			age = human(p.now.Sub(at.AsTime()))
		}
		if at := o.GetExpireTime(); at != nil {
			expires = in(at.AsTime(), p.now)
		}
		if o.GetForced() {
			forced = "yes"
		}
		row := []any{word(o.GetAction(), "OVERRIDE_ACTION_"), scopeWords(o), o.GetAuthor(), age, starts(o, p.now), expires, cell{forced, yellow}, o.GetReason(), cell{o.GetRefusal(), red}}
		if p.wide {
			startsAt := ""
			if toCome(o, p.now) {
				startsAt = moment(o.GetStartTime())
			}
			row = append([]any{o.GetId()}, append(row, moment(o.GetCreateTime()), startsAt, moment(o.GetExpireTime()), o.GetEtag())...)
		}
		t.row(row...)
	}
	return t
}

// in is when something will be: in 2h; due, when that has passed.
func in(at, now time.Time) string {
	if !at.After(now) {
		return "due"
	}
	return "in " + human(max(at.Sub(now).Round(time.Second), time.Second)) // what is to come is not over
}

// toCome tells whether an override was to begin later when it was made, and may
// not have begun.
func toCome(o *pb.Override, now time.Time) bool {
	return o.GetStartTime() != nil && (o.GetRefusal() != "" || o.GetStartTime().AsTime().After(now))
}

// starts is when an override begins, if that is to come.
func starts(o *pb.Override, now time.Time) string {
	if !toCome(o, now) {
		return ""
	}
	return in(o.GetStartTime().AsTime(), now)
}

// stands tells whether a break-glass record has not ended.
func stands(r *pb.BreakGlassRecord) bool { return r.GetEnded() == "" && r.GetRemainingMillis() > 0 }

// recordWords is a break-glass record in one phrase.
func recordWords(r *pb.BreakGlassRecord) string {
	text := word(r.GetAction(), "BREAK_GLASS_ACTION_") + " of " + scopeText(r.GetScope())
	if r.GetAuthor() != "" {
		text += " by " + r.GetAuthor()
	}
	if r.GetReason() != "" {
		text += " (" + r.GetReason() + ")"
	}
	return text
}

// breakGlassTable lists break-glass records with who holds them, those that have
// ended with -o wide alone.
func breakGlassTable(p *printer, records []*pb.BreakGlassStatus) *table {
	titles := []string{"ID", "ACTION", "SCOPE", "AUTHOR", "AGE", "EXPIRES", "NAMESERVERS", "NOT AT", "REASON"}
	if p.wide {
		titles = append(titles, "CALLER", "CREATED", "ENDED")
	}
	t := newTable(titles...)
	for _, b := range records {
		r := b.GetRecord()
		if !stands(r) && !p.wide {
			continue
		}
		age, expires := "", "in "+millis(r.GetRemainingMillis())
		if at := r.GetCreateTime(); at != nil {
			age = human(p.now.Sub(at.AsTime()))
		}
		if !stands(r) {
			expires = "ended"
		}
		row := []any{r.GetId(), word(r.GetAction(), "BREAK_GLASS_ACTION_"), scopeText(r.GetScope()), r.GetAuthor(), age, expires,
			strings.Join(b.GetNameservers(), ","), cell{strings.Join(b.GetMissing(), ","), yellow}, r.GetReason()}
		if p.wide {
			row = append(row, r.GetActor(), moment(r.GetCreateTime()), r.GetEnded())
		}
		t.row(row...)
	}
	return t
}

// printBreakGlass prints break-glass records that stand, and with -o wide those that
// have ended, and says how one is ended.
func printBreakGlass(p *printer, title, how string, records []*pb.BreakGlassStatus) {
	t := breakGlassTable(p, records)
	titled(p, title, t)
	i := slices.IndexFunc(records, func(b *pb.BreakGlassStatus) bool { return stands(b.GetRecord()) })
	if i < 0 {
		return
	}
	p.linef(plain, "end with: fairlead override end %s --reason TEXT %s", records[i].GetRecord().GetId(), how)
}

// printChanged tells what pulling a lever has changed, or would.
func printChanged(p *printer, l lever, o leverOptions, d *changed, seen *confirmation) {
	what := scopeText(d.scope(o.scope))
	switch {
	case o.dryRun && d.safety == nil:
		p.linef(yellow, "%s is %s already%s; nothing would change", what, l.done, sinceBy(d.made, p.now))
	case o.dryRun && d.safety.GetAllowed():
		p.linef(bold, "%s would be %s; nothing was changed; %s", what, l.done, inGeneration(d.generation))
	case o.dryRun:
		p.linef(red, "%s would not be %s: the safety rules refuse it; nothing was changed; %s", what, l.done, inGeneration(d.generation))
	case l.undo:
		printUndone(p, l, what, d)
	case d.stood && d.differs:
		p.linef(yellow, "%s was %s already%s; that %s stays (a longer --expire-after replaces it; to shorten it, %s first); %s", what, l.done, sinceBy(d.made, p.now), actionNoun(l), undoWord(l), inGeneration(d.generation))
	case d.stood:
		p.linef(yellow, "%s was %s already%s; nothing was changed; %s", what, l.done, sinceBy(d.made, p.now), inGeneration(d.generation))
	case toCome(d.made, p.now):
		p.linef(bold, "%s will be %s at %s (%s); %s", what, l.done, oclock(d.made.GetStartTime().AsTime(), p.now), starts(d.made, p.now), inGeneration(d.generation))
	case d.made.GetForced():
		p.linef(yellow, "%s is %s, past the safety rules by force; %s", what, l.done, inGeneration(d.generation))
	default:
		p.linef(bold, "%s is %s; %s", what, l.done, inGeneration(d.generation))
	}
	if d.made != nil && !o.dryRun {
		overrideTable(p, []*pb.Override{d.made}).print(p)
	}
	if d.safety != nil && (o.dryRun || p.wide || d.safety.GetForced()) {
		printDecision(p, d.safety, o.dryRun || p.wide)
	}
	seen.print(p)
	d.held.print(p, what)
}

// sinceBy is since when an override stands, and by whom.
func sinceBy(o *pb.Override, now time.Time) (text string) {
	at := o.GetCreateTime()
	if o.GetStartTime() != nil {
		at = o.GetStartTime()
	}
	if at != nil {
		text = ", since " + oclock(at.AsTime(), now)
	}
	if o.GetAuthor() != "" {
		text += ", by " + o.GetAuthor()
	}
	return text
}

func printUndone(p *printer, l lever, what string, d *changed) {
	switch {
	case len(d.removed) == 0 && l == releases:
		p.linef(yellow, "%s was not forced; nothing was changed", what)
	case len(d.removed) == 0:
		p.linef(yellow, "%s had no drain; nothing was changed", what)
	case len(d.held.all)+len(d.held.glass) > 0:
		p.linef(bold, "the %s of %s is removed; %s", word(d.removed[0].GetAction(), "OVERRIDE_ACTION_"), what, inGeneration(d.generation))
		overrideTable(p, d.removed).print(p)
	default:
		p.linef(bold, "%s is %s; %s", what, l.done, inGeneration(d.generation))
		overrideTable(p, d.removed).print(p)
	}
}

func actionNoun(l lever) string { return word(l.action, "OVERRIDE_ACTION_") }

func undoWord(l lever) string {
	if l == drains {
		return "undrain"
	}
	return "release"
}
