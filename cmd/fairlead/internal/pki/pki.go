// Package pki is `fairlead pki`: a small certificate authority in a directory,
// and the certificates of Fairlead's programs, of people and of etcd. It may
// import cmd/internal/tlsfiles and regions/identity; its data are the files
// that the command line names. It talks to nobody.
package pki

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles/authority"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

const (
	day     = 24 * time.Hour
	maxDays = 36500
)

// Command is `fairlead pki` with its commands.
func Command() *cobra.Command { return command(time.Now) }

func command(clock func() time.Time) *cobra.Command {
	// Certificates know no fractions: 90 days from now are 90 days.
	now := func() time.Time { return clock().Truncate(time.Second) }
	c := &cobra.Command{
		Use: "pki", Short: "Make and renew the certificates of mutual TLS, and tokens",
		Long: `All parts of Fairlead know each other by certificates: what holds one is, does
and may touch is in the certificate's URI. These commands keep a small certificate
authority (CA) in a directory and issue from it. Any other CA does as well, if it
writes the same URIs; show tells what a certificate says.

  fairlead pki init --dir pki
  fairlead pki issue controller c1 --dir pki
  fairlead pki issue agent a1 --region eu-west --dir pki
  fairlead pki issue operator alice --zone example.com --dir pki
  fairlead pki token bob --role viewer --file tokens.yaml
  fairlead pki renew --due pki/*.crt

Programs read their files again when they change: nothing needs a restart.

Keep ca.key offline or on one well-kept machine: who has it is everybody. Give
etcd a CA of its own (pki init --dir etcd-pki): etcd trusts every certificate of
its CA, so an agent's must not be among them. Controllers get a second
certificate there, for etcd.

To replace a CA, make the new one in another directory; put both ca.crt files,
one after the other, into the bundle of every program; renew every certificate
from the new one (renew --dir NEW --old-ca OLD/ca.crt); then take the old ca.crt
out of the bundles.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("no command %q: want init, issue, token, renew or show", args[0])
			}
			return errors.New("want init, issue, token, renew or show")
		},
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE:               func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(initCommand(now), issueCommand(now), tokenCommand(now), renewCommand(now), showCommand(now))
	return c
}

func initCommand(now func() time.Time) *cobra.Command {
	var dir, domain string
	var days int
	c := &cobra.Command{
		Use: "init", Short: "Make a certificate authority",
		Long: `Writes ca.crt, which every program needs, and ca.key, which none needs, into a
directory. Files that are there already are never overwritten.`,
		Example: "  fairlead pki init --dir pki --trust-domain dns.example.com",
		Args:    cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			err := identity.CheckTrustDomain(domain)
			if err != nil {
				err = fmt.Errorf("--trust-domain: %w", err)
			}
			return errors.Join(err, checkDays(days), checkDir(dir))
		},
		RunE: func(c *cobra.Command, _ []string) error {
			ca, err := authority.New(domain, time.Duration(days)*day, now())
			if err != nil {
				return err
			}
			cert, key, err := ca.PEM()
			if err != nil {
				return err
			}
			if err := makeDir(dir); err != nil {
				return err
			}
			certFile, keyFile := caFiles(dir)
			if err := create("a CA is never overwritten, as all that it signed would be lost: choose another --dir",
				file{path: keyFile, data: key, mode: 0o600}, file{path: certFile, data: cert, mode: 0o644}); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "wrote %s and %s (for its owner only; keep it safe)\nCA of trust domain %s, expires %s\n",
				certFile, keyFile, domain, when(ca.Certificate().NotAfter, now()))
			return nil
		},
	}
	f := c.Flags()
	dirFlag(c, &dir)
	f.StringVar(&domain, "trust-domain", "fairlead", "the name of this installation, the first part of every identity")
	f.IntVar(&days, "days", 3650, "how long the CA is valid")
	return c
}

func dirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "dir", "pki", "the directory of the CA, with ca.crt and ca.key")
}

func checkDays(days int) error {
	if days < 1 || days > maxDays {
		return fmt.Errorf("--days %d: want 1 to %d", days, maxDays)
	}
	return nil
}

func checkDir(dir string) error {
	if dir == "" {
		return errors.New("--dir: want the directory of the CA")
	}
	return nil
}

func caFiles(dir string) (cert, key string) {
	return filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
}

// loadCA loads the CA of a directory.
func loadCA(dir string) (*authority.CA, error) {
	certFile, keyFile := caFiles(dir)
	certs, err := tlsfiles.ReadCertificates(certFile)
	if err != nil {
		return nil, noCA(dir, err)
	}
	key, err := tlsfiles.ReadKey(keyFile)
	if err != nil {
		return nil, noCA(dir, err)
	}
	ca, err := authority.Load(certs, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
	}
	return ca, nil
}

// lifetime is how long a certificate is to be valid: as long as wanted, and no
// longer than the CA. A number of days that was asked for is never shortened:
// the CA refuses it.
func lifetime(c *cobra.Command, ca *authority.CA, want time.Duration, asked bool, now time.Time) time.Duration {
	left := ca.Longest(now)
	if left <= 0 || asked {
		return want
	}
	if state, _ := identity.Expiry(ca.Certificate(), now); state == identity.Warn {
		warn(c, "the CA %s expires %s: make a new one", ca.Certificate().Subject.CommonName, when(ca.Certificate().NotAfter, now))
	}
	if want <= left {
		return want
	}
	warn(c, "the certificate expires with its CA %s, %s: make a new CA", ca.Certificate().Subject.CommonName, when(ca.Certificate().NotAfter, now))
	return left
}

func warn(c *cobra.Command, format string, args ...any) {
	fmt.Fprintf(c.ErrOrStderr(), "warning: "+format+"\n", args...)
}

// when tells a time in words, and its date.
func when(t, now time.Time) string {
	date := t.UTC().Format("2006-01-02 15:04 UTC")
	if d := t.Sub(now); d >= 0 {
		return "in " + span(d) + " (" + date + ")"
	}
	return span(now.Sub(t)) + " ago (" + date + ")"
}

// span is a duration in its largest unit that fits twice.
func span(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{day, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}} {
		if d >= 2*u.unit {
			return fmt.Sprintf("%d %s", d/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}

// printable leaves out what could steer a terminal: certificates to be shown
// may be anybody's.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
