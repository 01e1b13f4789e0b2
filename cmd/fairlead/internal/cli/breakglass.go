package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	// probeTimeout is how long the controllers have to say that they can write.
	probeTimeout = time.Second
	// maxBreakGlass is as long as a nameserver keeps a record.
	maxBreakGlass = 24 * time.Hour
)

// newBreakGlassID names one record, on every nameserver.
func newBreakGlassID() string { return breakGlassPrefix + strings.ToLower(rand.Text()[:12]) }

// breakGlass pulls a lever at the nameservers themselves.
func (a *app) breakGlass(ctx context.Context, l lever, o leverOptions) error {
	switch {
	case !o.expire.given:
		return usagef("missing --expire-after TIME, as 1h: what nameservers are told directly must end by itself, for no controller looks after it")
	case o.expire.after == 0:
		return usagef("--expire-after never: with --break-glass want 1s to %s; it can be said again", exact(maxBreakGlass))
	case o.expire.after < time.Second, o.expire.after > maxBreakGlass:
		return usagef("--expire-after %s: with --break-glass want 1s to %s", exact(o.expire.after), exact(maxBreakGlass))
	case o.start != "" || o.end != "" || o.dryRun || o.etag != "":
		return usagef("--break-glass goes without --start, --end, --dry-run and --etag: it holds at once, and no safety rule judges it")
	}
	to, err := a.targets(o.nameservers)
	if err != nil {
		return err
	}
	if err := a.mayBreakGlass(ctx, o.force); err != nil {
		return err
	}
	record := &pb.BreakGlassRecord{Id: newBreakGlassID(), Action: l.breakGlass, Scope: o.scope, Author: o.author, Reason: o.reason}
	req := &pb.CreateBreakGlassRequest{Record: record, ExpireAfter: durationpb.New(o.expire.after)}
	verb := word(l.breakGlass, "BREAK_GLASS_ACTION_")
	replies, err := tell(ctx, a, to, func(ctx context.Context, c pb.BreakGlassServiceClient, opts ...grpc.CallOption) (*pb.CreateBreakGlassResponse, error) {
		return c.CreateBreakGlass(ctx, req, opts...)
	})
	if err != nil {
		return err
	}
	done, _, _ := tallyReplies(replies)
	return told[*pb.CreateBreakGlassResponse]{
		id: record.GetId(), action: verb, scope: o.scope, output: o.output, replies: replies,
		summary: fmt.Sprintf("%s is %s at %d of %d nameservers, for %s; it ends by itself, or with: fairlead override end %s --reason TEXT (--break-glass: while no controller can write)",
			scopeText(o.scope), l.done, len(done), len(replies), exact(o.expire.after), record.GetId()),
		none: fmt.Sprintf("%s is not %s: no nameserver did it", scopeText(o.scope), l.done),
		note: func(r *pb.CreateBreakGlassResponse) string {
			var ids []string
			for _, b := range r.GetReplaced() {
				ids = append(ids, b.GetId())
			}
			if len(ids) == 0 {
				return ""
			}
			return "replaces " + strings.Join(ids, ", ")
		},
		generation: func(r *pb.CreateBreakGlassResponse) *pb.Generation { return r.GetGeneration() },
	}.report(a)
}

// endDirectly ends a break-glass record at the nameservers themselves.
func (a *app) endDirectly(ctx context.Context, o leverOptions, id string) error {
	to, err := a.targets(o.nameservers)
	if err != nil {
		return err
	}
	if err := a.mayBreakGlass(ctx, o.force); err != nil {
		return err
	}
	replies, err := tell(ctx, a, to, func(ctx context.Context, c pb.BreakGlassServiceClient, opts ...grpc.CallOption) (*pb.EndBreakGlassRecordResponse, error) {
		return c.EndBreakGlassRecord(ctx, &pb.EndBreakGlassRecordRequest{Id: id, Reason: o.reason}, opts...)
	})
	if err != nil {
		return err
	}
	done, _, _ := tallyReplies(replies)
	return told[*pb.EndBreakGlassRecordResponse]{
		id: id, action: "end", output: o.output, replies: replies,
		summary: fmt.Sprintf("break-glass record %s has ended at %d of %d nameservers", id, len(done), len(replies)),
		none:    fmt.Sprintf("break-glass record %s was not ended: no nameserver did it", id),
		note: func(r *pb.EndBreakGlassRecordResponse) string {
			return recordWords(r.GetRecord())
		},
	}.report(a)
}

// mayBreakGlass refuses what is not needed: a controller can write.
func (a *app) mayBreakGlass(ctx context.Context, force bool) error {
	if force {
		return nil
	}
	stop := a.progress(true, "asking whether a controller can write")
	defer stop()
	able := a.writableController(ctx)
	if able == "" {
		return nil
	}
	return fmt.Errorf("%s answers and can write, so break-glass is not needed: do it without --break-glass, and every nameserver follows, also one that is away now (--force tells the nameservers all the same)", able)
}

// writableController is a controller that can write; empty: none says so in time.
func (a *app) writableController(ctx context.Context) string {
	s, err := a.settings()
	if err != nil {
		return ""
	}
	sec, err := a.secure(s)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	found := make(chan string, len(s.controllers))
	var g sync.WaitGroup
	for _, addr := range s.controllers {
		g.Go(func() {
			c, err := dial(flagController, []string{addr}, sec, nil)
			if err != nil {
				return
			}
			defer c.close()
			st, err := c.GetStatus(ctx, &pb.GetStatusRequest{})
			if err == nil && st.GetStoreAvailable() && st.GetReadOnly() == "" {
				found <- fmt.Sprintf("controller %s (%s)", st.GetController(), addr)
				cancel() // one is enough
			}
		})
	}
	g.Wait()
	select {
	case able := <-found:
		return able
	default:
		return ""
	}
}

// tell is ask with a display of who has done it.
func tell[R any](ctx context.Context, a *app, to []nameserver, call func(context.Context, pb.BreakGlassServiceClient, ...grpc.CallOption) (R, error)) ([]reply[R], error) {
	view := a.screen()
	defer view.close()
	return ask(ctx, a, to, call, func(all []reply[R]) {
		if !a.Progress {
			return
		}
		var lines []line
		for _, r := range all {
			l := line{plain, r.title() + "  …"}
			switch r.outcome {
			case outcomeDone:
				l = line{green, r.title() + "  done"}
			case outcomeRefused, outcomeNotReached:
				l = line{red, r.title() + "  " + string(r.outcome) + ": " + r.why}
			}
			lines = append(lines, l)
		}
		view.show(lines)
	})
}

// told is what came of telling the nameservers something.
type told[R proto.Message] struct {
	id, action    string
	scope         *pb.OverrideScope
	output        format
	replies       []reply[R]
	summary, none string
	note          func(R) string
	generation    func(R) *pb.Generation // nil: it tells none
}

// report prints it, nameserver by nameserver, and makes the exit code.
func (t told[R]) report(a *app) error {
	done, refused, missing := tallyReplies(t.replies)
	var err error
	switch t.output {
	case formatJSON, formatYAML:
		err = a.emitDocument(t.output, t.document())
	case formatName:
		if len(done) > 0 {
			err = a.writeNames([]string{overrideName(t.id)})
		}
	default:
		p := a.printer()
		p.wide = t.output == formatWide
		t.print(p, len(done))
		err = a.write(p.Bytes(), nil)
	}
	switch {
	case err != nil:
		return err
	case len(done) == 0:
		return fmt.Errorf("%s: %s", t.none, strings.Join(t.whys(), "; "))
	case len(missing) > 0:
		rest := strings.Join(missing, ", ") + " was not reached, and answers as before"
		if len(missing) > 1 {
			rest = strings.Join(missing, ", ") + " were not reached, and answer as before"
		}
		if len(refused) > 0 {
			rest += "; " + strings.Join(refused, ", ") + " refused"
		}
		return notConvergedError{fmt.Errorf("%s; repeat the command when that has changed: it does no harm", rest)}
	case len(refused) > 0:
		return notConvergedError{fmt.Errorf("%s refused, and answers as before", strings.Join(refused, ", "))}
	}
	return nil
}

// whys say why those that did not do it did not.
func (t told[R]) whys() (out []string) {
	for _, r := range t.replies {
		if r.outcome != outcomeDone {
			out = append(out, r.title()+" "+string(r.outcome)+": "+r.why)
		}
	}
	return out
}

func (t told[R]) print(p *printer, done int) {
	list := newTable("NAMESERVER", "REGION", "ADDRESS", "RESULT", "GENERATION", "TOOK", "WHY")
	for _, r := range t.replies {
		result, gen, why := cell{string(r.outcome), red}, "", r.why
		if r.outcome == outcomeDone {
			result.style, why = green, t.note(r.resp)
			if t.generation != nil {
				gen = generation(t.generation(r.resp)).String()
			}
		}
		took := ""
		if r.took > 0 && p.wide {
			took = human(r.took)
		}
		list.row(r.title(), r.Region, r.GRPC, result, gen, took, why)
	}
	if done == 0 {
		return // the error says it
	}
	list.print(p)
	p.linef(bold, "%s", t.summary)
}

func (t told[R]) document() *document {
	d := &document{}
	d.add("id", t.id)
	d.add("action", t.action)
	if t.scope != nil {
		d.add("scope", t.scope)
	}
	list := []json.RawMessage{}
	for _, r := range t.replies {
		var one document
		one.add("nameserver", r.nameserver.Name)
		one.add("region", r.Region)
		one.add("address", r.GRPC)
		one.add("result", strings.ReplaceAll(string(r.outcome), " ", "-"))
		if r.why != "" {
			one.add("error", r.why)
		}
		if r.outcome == outcomeDone {
			text, err := config.MessageJSON(r.resp)
			if err != nil {
				d.err = err
			}
			one.add("response", json.RawMessage(text))
		}
		one.add("tookMillis", r.took.Milliseconds())
		list = append(list, one.object())
	}
	d.add("nameservers", list)
	return d
}

// object is the document as one value.
func (d *document) object() json.RawMessage { return json.RawMessage("{" + d.String() + "}") }
