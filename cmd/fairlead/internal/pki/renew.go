package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles/authority"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// renewal is what `pki renew` is asked for.
type renewal struct {
	dir, oldCA string
	days       int
	asked      bool // --days was given
	due        bool
}

func renewCommand(now func() time.Time) *cobra.Command {
	var r renewal
	c := &cobra.Command{
		Use: "renew FILE…", Short: "Issue certificates again, with new keys",
		Long: `Issues each certificate again for the same holder and the same hosts, with a new
key, and replaces FILE.crt and FILE.key beside it. The owner of the files stays.

Both files are written in full before they take the old ones' names, first the
key, then the certificate. Programs that read in between find a pair that does not
match, keep what they have, and read again. If the machine fails in between, run
renew again.

Only what this CA has signed is renewed, expired or not, or what --old-ca has
signed, when a new CA takes the place of an old one.`,
		Example: `  fairlead pki renew --due pki/*.crt          # daily, from a timer
  fairlead pki renew --dir new-pki --old-ca pki/ca.crt /etc/fairlead/tls.crt`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("missing FILE, the .crt file of a certificate")
			}
			return nil
		},
		PreRunE: func(c *cobra.Command, _ []string) error {
			if r.asked = c.Flags().Changed("days"); r.asked {
				return errors.Join(checkDays(r.days), checkDir(r.dir))
			}
			return checkDir(r.dir)
		},
		RunE: func(c *cobra.Command, args []string) error { return r.run(c, args, now()) },
	}
	f := c.Flags()
	dirFlag(c, &r.dir)
	f.BoolVar(&r.due, "due", false, "only those that expire soon: within 14 days, or the last third of their life")
	f.IntVar(&r.days, "days", 0, "how long the certificates are valid (default: as long as before)")
	f.StringVar(&r.oldCA, "old-ca", "", "certificate of the CA that signed what is to be renewed, if another one")
	return c
}

func (r *renewal) run(c *cobra.Command, paths []string, now time.Time) error {
	ca, err := loadCA(r.dir)
	if err != nil {
		return err
	}
	var olds []*x509.Certificate
	if r.oldCA != "" {
		if olds, err = tlsfiles.ReadCertificates(r.oldCA); err != nil {
			return fmt.Errorf("--old-ca: %w", err)
		}
	}
	var errs []error
	for _, path := range paths {
		if err := r.renew(c, ca, olds, path, now); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *renewal) renew(c *cobra.Command, ca *authority.CA, olds []*x509.Certificate, path string, now time.Time) error {
	prefix, ok := strings.CutSuffix(path, ".crt")
	if !ok {
		return fmt.Errorf("%s: want a file that ends in .crt, with its key in .key beside it", path)
	}
	certs, err := tlsfiles.ReadCertificates(path)
	if err != nil {
		return err
	}
	old := certs[0]
	if old.IsCA && r.due { // pki/*.crt holds it too
		if state, _ := identity.Expiry(old, now); state != identity.Fresh {
			warn(c, "%s: the CA expires %s: make a new one", path, when(old.NotAfter, now))
		}
		return nil
	}
	if old.IsCA {
		return fmt.Errorf("%s is a CA's certificate: CAs are not renewed, make a new one with pki init in another directory", path)
	}
	// What nobody has signed for may say what it wants.
	signed := func(by *x509.Certificate) bool { return old.CheckSignatureFrom(by) == nil }
	if !ca.Signed(old) && !slices.ContainsFunc(olds, signed) {
		return fmt.Errorf("%s was not issued by the CA in %s: want its own CA as --dir, or its CA's certificate as --old-ca", path, r.dir)
	}
	if state, _ := identity.Expiry(old, now); r.due && state == identity.Fresh {
		fmt.Fprintf(c.OutOrStdout(), "%s is not due: expires %s\n", path, when(old.NotAfter, now))
		return nil
	}
	req, err := authority.RequestFor(old)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if r.asked {
		req.Life = time.Duration(r.days) * day
	}
	req.Life = lifetime(c, ca, req.Life, r.asked, now)
	p, err := ca.Issue(req, now)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	like, err := os.Stat(prefix + ".key")
	if errors.Is(err, os.ErrNotExist) {
		like, err = os.Stat(path)
	}
	if err != nil {
		return err
	}
	if err := replace(
		file{path: prefix + ".key", data: p.KeyPEM, mode: 0o600, like: like},
		file{path: path, data: p.CertificatePEM, mode: 0o644, like: like},
	); err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "renewed %s and %s.key\n%s, expires %s\n", path, prefix, req.Identity, when(p.Certificate.NotAfter, now))
	return nil
}
