package cli

import (
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func (a *app) regionCommand() *cobra.Command {
	return group("region", "Take a region out of the answers, and back in", "Drain and undrain regions.",
		a.drainCommand(), a.undrainCommand())
}

// waitHelp tells of --wait.
func waitHelp(caches bool) string {
	if !caches {
		return `

With --wait the command ends when every registered nameserver serves the change. On
a terminal it shows how far it has come.`
	}
	return `

With --wait the command ends when every registered nameserver serves the change,
and tells how long caches may keep what was answered before; --wait=caches waits
for these too. On a terminal it shows how far it has come.`
}

func (a *app) drainCommand() *cobra.Command {
	o := leverOptions{scope: &pb.OverrideScope{}}
	c := &cobra.Command{
		Use:   "drain REGION --reason TEXT",
		Short: "Take a region out of the answers",
		Long: `Take a region, or with --availability-zone or --service a part of it, out of the
answers. Its endpoints answer again as the last resort, when nothing else is
healthy. The drain stands until undrain, or until --expire-after has passed or --end
has come; with --start it is scheduled. A drain that stands already stays as it is,
unless the new one states a longer --expire-after, and so replaces it.

The safety rules (fairlead get safetypolicy) judge a drain; what they refuse, --force
passes where the rule allows it. --dry-run shows what they say and how the regions
would be afterwards.` + waitHelp(true) + jsonHelp + breakGlassHelp,
		Example: `  fairlead region drain us-east --reason "fibre cut" --expire-after 2h --wait
  fairlead region drain us-east --reason "new switches" --start 22:00 --end +3h
  fairlead region drain us-east --reason "fibre cut" --break-glass --expire-after 1h`,
		Args:              exactly("REGION"),
		ValidArgsFunction: a.completeName("region"),
		RunE: func(c *cobra.Command, args []string) error {
			o.target, o.scope.Region = args[0], strings.ToLower(args[0])
			return a.pull(c, drains, o)
		},
	}
	a.regionFlags(c, &o)
	a.leverFlags(c, drains, &o)
	return c
}

func (a *app) undrainCommand() *cobra.Command {
	o := leverOptions{scope: &pb.OverrideScope{}}
	c := &cobra.Command{
		Use:   "undrain REGION --reason TEXT",
		Short: "Take a drained region back into the answers",
		Long: `Remove the drain of exactly the given scope, a scheduled one too. The verdicts on
the region's endpoints count again at once.` + waitHelp(false) + jsonHelp + breakGlassHelp + ` Until it ends,
no drain of the control plane counts in the scope.`,
		Args:              exactly("REGION"),
		ValidArgsFunction: a.completeName("region"),
		RunE: func(c *cobra.Command, args []string) error {
			o.target, o.scope.Region = args[0], strings.ToLower(args[0])
			return a.pull(c, undrains, o)
		},
	}
	a.regionFlags(c, &o)
	a.leverFlags(c, undrains, &o)
	return c
}

// regionFlags add the parts of a region.
func (a *app) regionFlags(c *cobra.Command, o *leverOptions) {
	f := c.Flags()
	f.StringVar(&o.scope.AvailabilityZone, "availability-zone", "", "only this part of the region")
	f.StringVar(&o.scope.Service, "service", "", "only for this service")
	_ = c.RegisterFlagCompletionFunc("service", a.completeFlag("service"))
	_ = c.RegisterFlagCompletionFunc("availability-zone", a.completeAvailabilityZone)
}

// username is the name that the system knows the caller by; empty when it
// knows none.
func username() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}
