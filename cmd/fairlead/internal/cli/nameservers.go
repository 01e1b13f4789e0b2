package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	// keepFor is how long a list of nameservers is taken for the present one.
	keepFor = time.Hour
	// learnTimeout is how long a command takes at most to learn it again.
	learnTimeout = time.Second
	// maxNameservers bounds the file, in bytes.
	maxNameservers = 1 << 20
)

// nameserver is where one is asked and told directly.
type nameserver struct {
	// Name is empty of one that --nameservers names by its address.
	Name   string `json:"name,omitempty"`
	Region string `json:"region,omitempty"`
	// GRPC is empty where the configuration does not say it.
	GRPC string `json:"grpc,omitempty"`
	DNS  string `json:"dns,omitempty"`
}

// title is how it is called in words.
func (n nameserver) title() string {
	if n.Name == "" {
		return n.GRPC
	}
	return n.Name
}

// nameserverList is what is kept for the day on which no controller answers.
type nameserverList struct {
	// Learnt is when a controller said so.
	Learnt      time.Time    `json:"learnt"`
	Nameservers []nameserver `json:"nameservers"`
}

// nameserversPath is where the list of the installation in use is kept, one for
// each context; without a context, one for each list of controllers. Empty: the
// system has no place for it.
func (a *app) nameserversPath() string {
	dir, err := os.UserCacheDir()
	s, wrong := a.settings()
	if err != nil || wrong != nil {
		return ""
	}
	name := s.context
	if name == "" || a.flags.Changed("controller") {
		sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(s.controllers)), " ")))
		name = "at=" + hex.EncodeToString(sum[:8])
	}
	return filepath.Join(dir, "fairlead", "nameservers", name+".json")
}

// keptNameservers are those of the installation in use, by name; what is damaged
// is as good as none.
func (a *app) keptNameservers() nameserverList {
	var list nameserverList
	path := a.nameserversPath()
	if path == "" {
		return list
	}
	f, err := os.Open(path)
	if err != nil {
		return list
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxNameservers))
	if err != nil || json.Unmarshal(data, &list) != nil {
		return nameserverList{}
	}
	return list
}

// keepNameservers learns the nameservers again from a controller when that is due,
// or now. That it cannot is no matter of the command that runs.
func (a *app) keepNameservers(ctx context.Context, c *client, now bool) {
	if a.completing || ctx.Err() != nil {
		return
	}
	path := a.nameserversPath()
	age := a.Now().Sub(a.keptNameservers().Learnt)
	if path == "" || !now && age >= 0 && age < keepFor {
		return
	}
	patience := c.conns.patience
	c.conns.patience = nil
	defer func() { c.conns.patience = patience }()
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	resources, err := c.list(ctx, config.KindNameserver, "")
	if err != nil || len(resources.GetResources()) == 0 { // of none there is nothing to be kept
		return
	}
	list := nameserverList{Learnt: a.Now().UTC().Truncate(time.Second)}
	for _, r := range resources.GetResources() {
		list.Nameservers = append(list.Nameservers, nameserverOf(r.GetNameserver()))
	}
	_ = list.save(path)
}

func nameserverOf(n *pb.Nameserver) nameserver {
	return nameserver{Name: n.GetMetadata().GetName(), Region: n.GetSpec().GetRegion(), GRPC: n.GetSpec().GetGrpc(), DNS: n.GetSpec().GetDns()}
}

func (l nameserverList) save(path string) error {
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, append(text, '\n'), 0o600)
}

// nameserversFlag adds --nameservers.
func (a *app) nameserversFlag(c *cobra.Command, to *[]string) {
	c.Flags().StringSliceVar(to, "nameservers", nil, "the nameservers, by name or gRPC address HOST:PORT; default: all that a controller named last")
	_ = c.RegisterFlagCompletionFunc("nameservers", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var out []string
		for _, n := range a.keptNameservers().Nameservers {
			if n.GRPC != "" {
				out = append(out, n.GRPC+"\t"+n.Name)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	})
}

// targets are the nameservers to be told or asked: those that are named, else those
// that are kept, and a note of how old that list is.
func (a *app) targets(named []string) ([]nameserver, error) {
	kept := a.keptNameservers()
	if len(named) == 0 {
		if len(kept.Nameservers) == 0 {
			return nil, fmt.Errorf("no list of nameservers is kept for %s: name them, as --nameservers 192.0.2.53:7444,198.51.100.53:7444", a.installation())
		}
		age := a.Now().Sub(kept.Learnt)
		if age > keepFor {
			fmt.Fprintf(a.Err, "the list of nameservers is %s old: a newer one is not in it (--nameservers names others)\n", human(age))
		}
		return kept.Nameservers, nil
	}
	var out []nameserver
	for _, addr := range named {
		n := nameserver{GRPC: strings.TrimSpace(addr)}
		if i := slices.IndexFunc(kept.Nameservers, func(k nameserver) bool { return k.GRPC == n.GRPC || k.Name == n.GRPC }); i >= 0 {
			n = kept.Nameservers[i]
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out, nil
}

// installation is what is operated, in words.
func (a *app) installation() string {
	s, err := a.settings()
	switch {
	case err != nil:
		return "this installation"
	case s.context != "":
		return fmt.Sprintf("context %q", s.context)
	}
	return "the controllers " + strings.Join(s.controllers, ", ")
}
