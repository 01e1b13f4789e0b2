package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func (a *app) endpointCommand() *cobra.Command {
	judged := ` The safety rules judge it; --force passes those that are not
absolute, and --dry-run shows what they say.`
	return group("endpoint", "Take one endpoint of a service out of the answers, force it, and release it",
		"Drain, undrain and force endpoints, each named SERVICE/ENDPOINT.",
		a.endpointLever("drain", "Take an endpoint out of the answers", `Take one endpoint of a service out of the answers. It answers again as the last
resort, when nothing else is healthy.`+judged, drains),
		a.endpointLever("undrain", "Take a drained endpoint back into the answers", `Remove the drain of an endpoint. A drain of its region or of the service in its region
is another one, and stays.`, undrains),
		a.endpointLever("force-up", "Let an endpoint count as healthy, whatever its checks say", `Let an endpoint count as healthy, whatever its checks say. A drain and force-down
win over it.`, forcesUp),
		a.endpointLever("force-down", "Never answer with an endpoint", `Never answer with an endpoint, not as the last resort either.`+judged, forcesDown),
		a.endpointLever("release", "End force-up or force-down of an endpoint", `End force-up or force-down of an endpoint: its checks count again at once.`, releases))
}

func (a *app) endpointLever(verb, short, long string, l lever) *cobra.Command {
	o := leverOptions{scope: &pb.OverrideScope{}}
	long += waitHelp(l.withdraws()) + jsonHelp
	if l.breakGlass != 0 {
		long += breakGlassHelp
	} else {
		long += "\n\nWhat a nameserver was told directly ends with: fairlead override end ID."
	}
	c := &cobra.Command{
		Use:               verb + " SERVICE/ENDPOINT --reason TEXT",
		Short:             short,
		Long:              long,
		Example:           "  fairlead endpoint " + verb + " www.example.test/eu-1 --reason \"new kernel\" --wait",
		Args:              exactly("SERVICE/ENDPOINT"),
		ValidArgsFunction: a.completeEndpoint,
		RunE: func(c *cobra.Command, args []string) error {
			service, endpoint, err := splitEndpoint(args[0])
			if err != nil {
				return err
			}
			o.target, o.scope.Service, o.scope.Endpoint = args[0], service, endpoint
			return a.pull(c, l, o)
		},
	}
	a.leverFlags(c, l, &o)
	return c
}

// splitEndpoint reads SERVICE/ENDPOINT.
func splitEndpoint(s string) (service, endpoint string, err error) {
	service, endpoint, ok := strings.Cut(s, "/")
	service = strings.ToLower(strings.TrimSuffix(service, "."))
	if !ok || service == "" || endpoint == "" || strings.Contains(endpoint, "/") {
		return "", "", usagef("%q is no endpoint: want SERVICE/ENDPOINT, as www.example.test/eu-1", s)
	}
	return service, strings.ToLower(endpoint), nil
}

// completeEndpoint completes SERVICE/ENDPOINT: the services first, then the
// endpoints of one.
func (a *app) completeEndpoint(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	service, _, ok := strings.Cut(typed, "/")
	if !ok {
		names, directive := a.suggestNames(c, config.KindService, typed)
		for i := range names {
			names[i] += "/"
		}
		return names, directive | cobra.ShellCompDirectiveNoSpace
	}
	return a.suggest(c, typed, func(ctx context.Context, c *client) (names []string) {
		r, err := c.one(ctx, config.KindService, service)
		if err != nil {
			return nil
		}
		for _, e := range r.GetService().GetSpec().GetEndpoints() {
			names = append(names, service+"/"+e.GetName()+"\t"+e.GetRegion())
		}
		return names
	})
}
