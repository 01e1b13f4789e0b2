package pki

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles/authority"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// order is what `pki issue` is asked for.
type order struct {
	id    identity.Identity // without its trust domain, which is the CA's
	hosts []string
	days  int
	asked bool // --days was given
	dir   string
	out   string
	force bool

	regions, zones, services []string
}

func issueCommand(now func() time.Time) *cobra.Command {
	var o order
	c := &cobra.Command{
		Use: "issue ROLE NAME", Short: "Issue a certificate and its key",
		Long: `Writes PREFIX.crt and PREFIX.key. The roles:

  agent, nameserver      a program of one --region
  controller             a controller
  etcd                   an etcd member: its server and peer certificate, with the
                         names and addresses that others dial as --host
  viewer                 a person who may look
  operator               a person who may drain, undrain and break glass, too
  admin                  a person who may change all else, too

A person's certificate is for everything, or for some zones, services and regions:
--zone and --service limit the names (what is in one of the zones, or is one of the
services), --region limits in which regions answers may change; given both, both
must hold. A wildcard service is that service only.

Fairlead's own programs check identities, not host names, and need no --host.`,
		Example: `  fairlead pki issue nameserver ns1 --region eu-west --out /etc/fairlead/tls
  fairlead pki issue operator alice --zone example.com --region eu-west --region us-east
  fairlead pki issue etcd e1 --dir etcd-pki --host etcd1.example.net --host 192.0.2.11`,
		Args:    two,
		PreRunE: func(c *cobra.Command, args []string) error { return o.parse(c, args) },
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c, now()) },
	}
	f := c.Flags()
	f.StringSliceVar(&o.regions, "region", nil, "the region of an agent or a nameserver; for people, regions of the scope (repeatable)")
	f.StringSliceVar(&o.zones, "zone", nil, "a zone of a person's scope (repeatable)")
	f.StringSliceVar(&o.services, "service", nil, "a service of a person's scope (repeatable)")
	f.StringSliceVar(&o.hosts, "host", nil, "a DNS name or IP address for clients that check host names (repeatable)")
	f.IntVar(&o.days, "days", 90, "how long the certificate is valid")
	dirFlag(c, &o.dir)
	f.StringVar(&o.out, "out", "", "PREFIX of the files (default DIR/ROLE-NAME)")
	f.BoolVar(&o.force, "force", false, "overwrite files that are there")
	return c
}

func two(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return errors.New("missing ROLE and NAME")
	case len(args) == 1:
		return errors.New("missing NAME")
	case len(args) > 2:
		return fmt.Errorf("unexpected argument %q", args[2])
	}
	return nil
}

// parse makes an identity of arguments and flags.
func (o *order) parse(c *cobra.Command, args []string) error {
	o.asked = c.Flags().Changed("days")
	role, err := identity.ParseRole(args[0])
	if err != nil { // what is right for the rest, hangs on it
		return errors.Join(fmt.Errorf("ROLE: %w", err), checkDays(o.days), checkDir(o.dir), authority.CheckHosts(o.hosts))
	}
	// Any trust domain will do to check the rest.
	o.id = identity.Identity{TrustDomain: "fairlead", Role: role, Name: args[1]}
	errs := []error{checkDays(o.days), checkDir(o.dir)}
	switch {
	case role.Regional() && len(o.regions) != 1:
		errs = append(errs, fmt.Errorf("--region: %s %.80q belongs to one region: want one, and %d are given", role, args[1], len(o.regions)))
		o.id.Region = "any" // so that this is said once
	case role.Regional():
		o.id.Region = o.regions[0]
	default:
		o.id.Scope = identity.Scope{Zones: canonical(o.zones), Services: canonical(o.services), Regions: slices.Clone(o.regions)}.Sorted()
	}
	if role.Regional() && len(o.zones)+len(o.services) > 0 {
		errs = append(errs, fmt.Errorf("--zone, --service: want none for %s %.80q, scopes are for viewer, operator and admin", role, args[1]))
	}
	errs = append(errs, authority.Request{Identity: o.id, Hosts: o.hosts}.Validate())
	return errors.Join(errs...)
}

// canonical writes names as configuration holds them.
func canonical(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, strings.ToLower(strings.TrimSuffix(n, ".")))
	}
	return out
}

func (o *order) run(c *cobra.Command, now time.Time) error {
	ca, err := loadCA(o.dir)
	if err != nil {
		return err
	}
	o.id.TrustDomain = ca.TrustDomain()
	life := lifetime(c, ca, time.Duration(o.days)*day, o.asked, now)
	p, err := ca.Issue(authority.Request{Identity: o.id, Hosts: o.hosts, Life: life}, now)
	if err != nil {
		return err
	}
	prefix := o.out
	if prefix == "" {
		prefix = filepath.Join(o.dir, o.id.Role.String()+"-"+o.id.Name)
	}
	files := []file{
		{path: prefix + ".key", data: p.KeyPEM, mode: 0o600},
		{path: prefix + ".crt", data: p.CertificatePEM, mode: 0o644},
	}
	if o.force {
		err = replace(files...)
	} else {
		err = create("pass --force to overwrite it", files...)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "wrote %s.crt and %s.key (for its owner only)\n%s, expires %s\n%s\n", prefix, prefix, o.id, when(p.Certificate.NotAfter, now), o.id.URI())
	return nil
}
