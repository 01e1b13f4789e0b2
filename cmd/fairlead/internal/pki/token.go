package pki

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/cmd/internal/tokenfile"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// maxTokenLife bounds what a token that got lost can do.
const maxTokenLife = 366 * day

// tokenOrder is what `pki token` is asked for.
type tokenOrder struct {
	id   identity.Identity
	life time.Duration
	out  string
	file string

	role                     string
	regions, zones, services []string
}

func tokenCommand(now func() time.Time) *cobra.Command {
	var o tokenOrder
	c := &cobra.Command{
		Use: "token NAME", Short: "Make a token for a person, instead of a certificate",
		Long: `Makes a token, which is shown this once and kept nowhere, and the entry by which
controllers know it: whom it names, his role and scope, its SHA-256, and when it
expires. The token goes to stdout, or into a new file with --out; the entry into the
controllers' --tokens file with --file (made if it is not there), or to stderr, to be
put into the file on every controller. They read it again when it changes; to take
a token back, take its entry out.

Who has the token is that person, so a certificate is better where a file for its
owner only can be kept and renewed. Scopes are as with fairlead pki issue. Give the
tool the token by a file for its owner only: fairlead context set NAME --token-file.`,
		Example: `  fairlead pki token alice --role operator --region eu-west --expire-after 720h --file tokens.yaml
  fairlead pki token ci --role viewer --expire-after 24h --out ci.token`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return errors.New("missing NAME")
			case len(args) > 1:
				return fmt.Errorf("unexpected argument %q", args[1])
			}
			return nil
		},
		PreRunE: func(_ *cobra.Command, args []string) error { return o.parse(args[0]) },
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c, now()) },
	}
	f := c.Flags()
	f.StringVar(&o.role, "role", "", "viewer, operator or admin (required)")
	f.StringSliceVar(&o.regions, "region", nil, "a region of the scope (repeatable)")
	f.StringSliceVar(&o.zones, "zone", nil, "a zone of the scope (repeatable)")
	f.StringSliceVar(&o.services, "service", nil, "a service of the scope (repeatable)")
	f.DurationVar(&o.life, "expire-after", 30*day, "how long the token is valid")
	f.StringVar(&o.out, "out", "", "a new `FILE` for the token, for its owner only, instead of stdout")
	f.StringVar(&o.file, "file", "", "the `FILE` of tokens, to which the entry is added")
	return c
}

// parse makes an identity of arguments and flags.
func (o *tokenOrder) parse(name string) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.life < time.Minute || o.life > maxTokenLife {
		wrong("--expire-after %v: want 1m to %dh", o.life, int(maxTokenLife.Hours()))
	}
	role, err := identity.ParseRole(o.role)
	if err != nil || !role.Person() {
		wrong("--role %.40q: want viewer, operator or admin; programs have certificates", o.role)
		return errors.Join(errs...)
	}
	o.id = identity.Identity{TrustDomain: "fairlead", Role: role, Name: name, Token: true, Scope: identity.Scope{
		Zones: canonical(o.zones), Services: canonical(o.services), Regions: slices.Clone(o.regions),
	}.Sorted()}
	return errors.Join(append(errs, o.id.Validate())...)
}

func (o *tokenOrder) run(c *cobra.Command, now time.Time) error {
	token, err := identity.NewToken(rand.Reader)
	if err != nil {
		return err
	}
	digest, err := identity.TokenDigest(token)
	if err != nil {
		return err
	}
	entry := tokenfile.Entry{
		Name: o.id.Name, Role: o.id.Role.String(), Zones: o.id.Scope.Zones, Services: o.id.Scope.Services, Regions: o.id.Scope.Regions,
		SHA256: hex.EncodeToString(digest[:]), Created: now.UTC(), Expires: now.Add(o.life).UTC(),
	}
	if err := o.write(token, entry); err != nil {
		return err
	}
	say := c.ErrOrStderr()
	fmt.Fprintf(say, "token of %s, expires %s\n", o.id, when(entry.Expires, now))
	if o.out != "" {
		fmt.Fprintf(say, "wrote %s (for its owner only)\n", o.out)
	} else {
		fmt.Fprintln(c.OutOrStdout(), token)
	}
	if o.file != "" {
		fmt.Fprintf(say, "added its entry to %s: every controller needs it in its --tokens file\n", o.file)
		return nil
	}
	text, err := entry.Text()
	fmt.Fprintf(say, "the entry for the --tokens file of every controller:\n\ntokens:\n%s", text)
	return err
}

// write writes the files that were asked for: both, or none.
func (o *tokenOrder) write(token string, entry tokenfile.Entry) error {
	var table file
	if o.file != "" {
		old, info, err := tlsfiles.ReadSecret(o.file, "tokens")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("--file: %w", err)
		}
		table = file{path: o.file, mode: 0o600, like: info}
		if table.data, err = tokenfile.Append(o.file, old, entry); err != nil {
			return fmt.Errorf("--file: %w", err)
		}
	}
	if o.out != "" {
		if err := create("a token is never overwritten: choose another --out", file{path: o.out, data: []byte(token + "\n"), mode: 0o600}); err != nil {
			return err
		}
	}
	if o.file == "" {
		return nil
	}
	err := replace(table)
	if err != nil && o.out != "" {
		err = errors.Join(err, os.Remove(o.out))
	}
	return err
}
