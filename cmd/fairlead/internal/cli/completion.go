package cli

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	// completeTimeout is how long a person waits for the Tab key.
	completeTimeout = time.Second
	// maxCompletions is more than anybody reads.
	maxCompletions = 1000
)

func (a *app) completionCommand() *cobra.Command {
	var subs []*cobra.Command
	for _, shell := range []struct {
		name, setup string
		generate    func(root *cobra.Command, out io.Writer) error
	}{
		{"bash", "source <(fairlead completion bash)", func(root *cobra.Command, out io.Writer) error { return root.GenBashCompletionV2(out, true) }},
		{"zsh", "source <(fairlead completion zsh)", (*cobra.Command).GenZshCompletion},
		{"fish", "fairlead completion fish | source", func(root *cobra.Command, out io.Writer) error { return root.GenFishCompletion(out, true) }},
	} {
		subs = append(subs, &cobra.Command{
			Use: shell.name, Short: "Print the completion script for " + shell.name,
			Long: "Print the completion script for " + shell.name + ". In your shell, or in the file that it reads at\nits start:\n\n  " + shell.setup,
			Args: exactly(), DisableFlagsInUseLine: true, ValidArgsFunction: cobra.NoFileCompletions,
			RunE: func(c *cobra.Command, _ []string) error { return shell.generate(c.Root(), a.Out) },
		})
	}
	return group("completion", "Complete commands and names in your shell", `Print the script that lets your shell complete commands, flags, and the names of
resources. For names a controller is asked, for a second at most.`, subs...)
}

// suggest asks a controller for completions. Errors mean that there are none:
// a command line that is being typed is no place for them.
func (a *app) suggest(c *cobra.Command, typed string, ask func(context.Context, *client) []string) ([]string, cobra.ShellCompDirective) {
	a.Err, a.completing = io.Discard, true
	if a.settle(c) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	a.timeout = min(a.timeout, completeTimeout)
	var found []string
	_ = a.with(c.Context(), 0, func(ctx context.Context, c *client) error {
		found = ask(ctx, c)
		return nil
	})
	found = slices.DeleteFunc(found, func(s string) bool { return !strings.HasPrefix(s, typed) })
	for i, text := range found {
		name, note, _ := strings.Cut(text, "\t") // what follows describes it
		if found[i] = clean(name); note != "" {
			found[i] += "\t" + clean(note)
		}
	}
	return found[:min(len(found), maxCompletions)], cobra.ShellCompDirectiveNoFileComp
}

// suggestNames suggests the names of a kind: as many as arrive in time.
func (a *app) suggestNames(c *cobra.Command, kind, typed string) ([]string, cobra.ShellCompDirective) {
	kind, err := config.ParseKind(kind)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.suggest(c, typed, func(ctx context.Context, c *client) (names []string) {
		for token := ""; ; {
			page, err := c.ListResources(ctx, &pb.ListResourcesRequest{Kind: kind, PageToken: token})
			if err != nil {
				return names
			}
			for _, r := range page.GetResources() {
				if name := config.Name(r); strings.HasPrefix(name, typed) {
					names = append(names, name)
				}
			}
			if token = page.GetNextPageToken(); token == "" || len(names) >= maxCompletions {
				return names
			}
		}
	})
}

// completeResource completes KIND NAME and KIND/NAME.
func (a *app) completeResource(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	kind, name, both := strings.Cut(typed, "/")
	switch {
	case len(args) == 0 && both:
		names, directive := a.suggestNames(c, kind, name)
		for i := range names {
			names[i] = kind + "/" + names[i]
		}
		return names, directive
	case len(args) == 0:
		var kinds []string
		for _, k := range config.Kinds() {
			kinds = append(kinds, config.Plural(k))
		}
		if c.Name() == "get" {
			kinds = append(kinds, allKinds)
		}
		return kinds, cobra.ShellCompDirectiveNoFileComp
	case len(args) == 1 && !strings.Contains(args[0], "/"):
		return a.suggestNames(c, args[0], typed)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeName completes the only argument, a name of a kind.
func (a *app) completeName(kind string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.suggestNames(c, kind, typed)
	}
}

// completeFlag completes a flag's value, a name of a kind.
func (a *app) completeFlag(kind string) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return a.suggestNames(c, kind, typed)
	}
}

// completeAvailabilityZone completes the availability zones of the region that
// is the first argument.
func (a *app) completeAvailabilityZone(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.suggest(c, typed, func(ctx context.Context, c *client) []string {
		r, err := c.one(ctx, config.KindRegion, args[0])
		if err != nil {
			return nil
		}
		return r.GetRegion().GetSpec().GetAvailabilityZones()
	})
}

// completeGeneration completes generations whose configuration is kept, for
// so many arguments.
func (a *app) completeGeneration(most int) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.suggest(c, typed, func(ctx context.Context, c *client) (kept []string) {
			list, err := c.generations(ctx, maxCompletions)
			if err != nil {
				return nil
			}
			for _, g := range list.GetGenerations() {
				if g.GetKept() {
					kept = append(kept, generation(g.GetGeneration()).String()+"\t"+g.GetEvent().GetReason())
				}
			}
			return kept
		})
	}
}

// completeContext completes the name of a context.
func (a *app) completeContext(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeContextFlag(c, nil, typed)
}

func (a *app) completeContextFlag(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	if a.settle(c) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := a.loadContexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return all.names(), cobra.ShellCompDirectiveNoFileComp
}
