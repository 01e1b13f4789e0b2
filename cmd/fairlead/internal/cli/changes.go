package cli

import (
	"fmt"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func changeKey(c *pb.Change) config.Key {
	if c.GetAfter() != nil {
		return config.KeyOf(c.GetAfter())
	}
	return config.KeyOf(c.GetBefore())
}

// printChanges prints what an apply changed, or would: a line for each
// resource and, of those that are updated, the fields; with -o wide also of
// those that are created and deleted.
func printChanges(p *printer, resp *pb.ApplyResponse, dryRun bool) {
	n := map[pb.ChangeAction]int{}
	for _, c := range resp.GetChanges() {
		n[c.GetAction()]++
		switch c.GetAction() {
		case pb.ChangeAction_CHANGE_ACTION_CREATE:
			p.linef(green, "+ %s", changeKey(c))
		case pb.ChangeAction_CHANGE_ACTION_DELETE:
			p.linef(red, "- %s", changeKey(c))
		default:
			p.linef(yellow, "~ %s", changeKey(c))
		}
		if p.wide || c.GetAction() == pb.ChangeAction_CHANGE_ACTION_UPDATE {
			printFields(p, c)
		}
	}
	created, updated, deleted := n[pb.ChangeAction_CHANGE_ACTION_CREATE], n[pb.ChangeAction_CHANGE_ACTION_UPDATE], n[pb.ChangeAction_CHANGE_ACTION_DELETE]
	if dryRun {
		p.linef(bold, "would create %d, update %d, delete %d, leave %d unchanged; %s", created, updated, deleted, resp.GetUnchanged(), inGeneration(resp.GetGeneration()))
		return
	}
	p.linef(bold, "%d created, %d updated, %d deleted, %d unchanged; %s", created, updated, deleted, resp.GetUnchanged(), inGeneration(resp.GetGeneration()))
}

func printFields(p *printer, c *pb.Change) {
	text := func(r *pb.Resource) []byte {
		if r == nil {
			return nil
		}
		b, err := config.MarshalOptions{OmitOutputOnly: true}.YAML([]*pb.Resource{r})
		if err != nil {
			return fmt.Appendf(nil, "(cannot be shown: %v)\n", err)
		}
		return b
	}
	for _, e := range yamlDiff(text(c.GetBefore()), text(c.GetAfter())) {
		s := plain
		switch e.op {
		case '+':
			s = green
		case '-':
			s = red
		}
		p.linef(s, "  %c %s", e.op, e.text)
	}
}
