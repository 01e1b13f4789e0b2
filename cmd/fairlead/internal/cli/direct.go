package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// direct asks the nameservers themselves what they hold, and prints it.
func (a *app) direct(ctx context.Context, named []string, output format) error {
	to, err := a.targets(named)
	if err != nil {
		return err
	}
	all, err := ask(ctx, a, to, func(ctx context.Context, c pb.BreakGlassServiceClient, opts ...grpc.CallOption) (*pb.ListBreakGlassResponse, error) {
		return c.ListBreakGlass(ctx, &pb.ListBreakGlassRequest{}, opts...)
	}, func([]reply[*pb.ListBreakGlassResponse]) {})
	if err != nil {
		return err
	}
	for i, r := range all {
		if r.outcome == outcomeDone { // it says itself who it is, where no certificate does
			all[i].Name, all[i].Region = r.resp.GetNameserver(), r.resp.GetRegion()
		}
	}
	switch output {
	case formatJSON, formatYAML:
		err = a.emitDocument(output, directDocument(all))
	case formatName:
		var names []string
		for _, b := range heldRecords(all) {
			if stands(b.GetRecord()) {
				names = append(names, overrideName(b.GetRecord().GetId()))
			}
		}
		err = a.writeNames(names)
	default:
		p := a.printer()
		p.wide = output == formatWide
		printDirect(p, all)
		err = a.write(p.Bytes(), nil)
	}
	done, refused, missing := tallyReplies(all)
	switch silent := append(missing, refused...); {
	case err != nil:
		return err
	case len(done) == 0:
		return fmt.Errorf("no nameserver answered")
	case len(silent) > 0:
		return notConvergedError{fmt.Errorf("not known: what %s holds", strings.Join(silent, ", "))}
	}
	return nil
}

// printDirect prints what nameservers say of themselves.
func printDirect(p *printer, all []reply[*pb.ListBreakGlassResponse]) {
	t := newTable("NAMESERVER", "REGION", "ADDRESS", "STATE", "GENERATION", "VERDICTS", "OVERRIDES", "BREAK-GLASS")
	var newest *pb.ListBreakGlassResponse
	for _, r := range all {
		if r.outcome != outcomeDone {
			t.row(r.title(), r.Region, r.GRPC, cell{string(r.outcome) + ": " + r.why, red})
			continue
		}
		if newest == nil || generation(r.resp.GetGeneration()).Compare(generation(newest.GetGeneration())) > 0 {
			newest = r.resp
		}
		gen := cell{generation(r.resp.GetGeneration()).String(), plain}
		if generation(r.resp.GetGeneration()).IsZero() {
			gen = cell{"serves nothing", red}
		}
		age := cell{text: millis(r.resp.GetHealthAgeMillis()) + " old"}
		if s := r.resp.GetHealthState(); s != "" && s != fresh {
			age = cell{s + ", " + age.text, red}
		}
		standing := 0
		for _, b := range r.resp.GetRecords() {
			if stands(b) {
				standing++
			}
		}
		t.row(r.title(), r.Region, r.GRPC, cell{"answers", green}, gen, age, fmt.Sprint(len(r.resp.GetOverrides())), fmt.Sprint(standing))
	}
	t.print(p)
	if newest == nil {
		return
	}
	section(p, "OVERRIDES", overrideTable(p, newest.GetOverrides()), "none of the control plane, in "+inGeneration(newest.GetGeneration()))
	held := heldRecords(all)
	printBreakGlass(p, "BREAK-GLASS", "(--break-glass: while no controller can write)", held)
	if len(held) == 0 {
		p.WriteString("\n" + p.paint(bold, "BREAK-GLASS") + "  none\n")
	}
	for _, r := range all {
		if text := r.resp.GetTrouble(); text != "" {
			p.linef(alarm, "ALARM: %s: %s", r.title(), text)
		}
	}
}

// heldRecords are the records that nameservers hold, by id, each with who holds it
// and who else answered.
func heldRecords(all []reply[*pb.ListBreakGlassResponse]) (out []*pb.BreakGlassStatus) {
	at := map[string]*pb.BreakGlassStatus{}
	for _, r := range all {
		for _, b := range r.resp.GetRecords() {
			s := at[b.GetId()]
			if s == nil {
				s = &pb.BreakGlassStatus{Record: b}
				at[b.GetId()] = s
				out = append(out, s)
			}
			if stands(b) {
				s.Nameservers = append(s.Nameservers, r.title())
				if !stands(s.GetRecord()) || b.GetRemainingMillis() > s.GetRecord().GetRemainingMillis() {
					s.Record = b
				}
			}
		}
	}
	for _, s := range out {
		for _, r := range all {
			if stands(s.GetRecord()) && r.outcome == outcomeDone && !slices.Contains(s.GetNameservers(), r.title()) {
				s.Missing = append(s.Missing, r.title())
			}
		}
	}
	slices.SortFunc(out, func(a, b *pb.BreakGlassStatus) int {
		return strings.Compare(a.GetRecord().GetId(), b.GetRecord().GetId())
	})
	return out
}

func directDocument(all []reply[*pb.ListBreakGlassResponse]) *document {
	d := &document{}
	list := []json.RawMessage{}
	for _, r := range all {
		var one document
		if r.outcome == outcomeDone {
			one.fields(r.resp, "nameserver", "region")
		}
		var head document
		head.add("nameserver", r.nameserver.Name)
		head.add("region", r.Region)
		head.add("address", r.GRPC)
		head.add("result", strings.ReplaceAll(string(r.outcome), " ", "-"))
		if r.why != "" {
			head.add("error", r.why)
		}
		if one.Len() > 0 {
			head.WriteByte(',')
			head.Write(one.Bytes())
		}
		list = append(list, head.object())
	}
	d.add("nameservers", list)
	return d
}

// orAskNameservers adds to an error of controllers that do not answer how the
// nameservers are asked.
func (a *app) orAskNameservers(err error, command string) error {
	if status.Code(err) != codes.Unavailable {
		return err
	}
	return fmt.Errorf("%w\nthe nameservers themselves say more: %s", err, command)
}
