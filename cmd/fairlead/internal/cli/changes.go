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

// printChanges prints what an apply changed, or would, and sums it up.
func printChanges(p *printer, resp *pb.ApplyResponse, dryRun bool) {
	n := printChangeList(p, resp.GetChanges())
	say := "%d created, %d updated, %d deleted, %d unchanged; %s"
	if dryRun {
		say = "would create %d, update %d, delete %d, leave %d unchanged; %s"
	}
	p.linef(bold, say, n.created, n.updated, n.deleted, resp.GetUnchanged(), inGeneration(resp.GetGeneration()))
}

// changeCount counts changes.
type changeCount struct{ created, updated, deleted int }

// printChangeList prints a line for each resource and, of those that are
// updated, the fields; with -o wide also of those that are created and
// deleted.
func printChangeList(p *printer, changes []*pb.Change) (n changeCount) {
	for _, c := range changes {
		switch c.GetAction() {
		case pb.ChangeAction_CHANGE_ACTION_CREATE:
			n.created++
			p.linef(green, "+ %s", changeKey(c))
		case pb.ChangeAction_CHANGE_ACTION_DELETE:
			n.deleted++
			p.linef(red, "- %s", changeKey(c))
		default:
			n.updated++
			p.linef(yellow, "~ %s", changeKey(c))
		}
		if p.wide || c.GetAction() == pb.ChangeAction_CHANGE_ACTION_UPDATE {
			printFields(p, c)
		}
	}
	return n
}

func changeNames(changes []*pb.Change) (names []string) {
	for _, c := range changes {
		names = append(names, changeKey(c).String())
	}
	return names
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
