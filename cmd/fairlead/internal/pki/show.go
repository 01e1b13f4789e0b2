package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

func showCommand(now func() time.Time) *cobra.Command {
	return &cobra.Command{
		Use: "show FILE…", Short: "Say whose certificates are, and when they expire",
		Long: `Shows every certificate of the files, a CA's too, and warns of those that expire
soon, have expired, or say of no one who holds them.`,
		Example: "  fairlead pki show pki/*.crt",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("missing FILE, of certificates in PEM")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			var errs []error
			for _, path := range args {
				certs, err := tlsfiles.ReadCertificates(path)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				for _, cert := range certs {
					show(c, path, cert, now())
				}
			}
			return errors.Join(errs...)
		},
	}
}

func show(c *cobra.Command, path string, cert *x509.Certificate, now time.Time) {
	fmt.Fprintln(c.OutOrStdout(), path)
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	who := holder(c, w, path, cert)
	if hosts := hosts(cert); hosts != "" {
		row(w, "hosts", hosts)
	}
	row(w, "issuer", cert.Issuer.String())
	row(w, "serial", cert.SerialNumber.Text(16))
	row(w, "valid", "from "+cert.NotBefore.UTC().Format("2006-01-02 15:04 UTC"))
	state, _ := identity.Expiry(cert, now)
	row(w, "expires", when(cert.NotAfter, now))
	_ = w.Flush()
	mend := "run fairlead pki renew " + path
	if cert.IsCA {
		mend = "make a new CA with fairlead pki init"
	}
	switch state {
	case identity.Warn:
		warn(c, "%s: %s expires %s: %s", path, who, when(cert.NotAfter, now), mend)
	case identity.Expired:
		warn(c, "%s: %s expired %s: %s", path, who, when(cert.NotAfter, now), mend)
	case identity.Early:
		warn(c, "%s: %s is valid from %s only: is a clock wrong?", path, who, cert.NotBefore.UTC().Format("2006-01-02 15:04 UTC"))
	}
}

// holder prints whose a certificate is, and returns it in words.
func holder(c *cobra.Command, w io.Writer, path string, cert *x509.Certificate) string {
	if cert.IsCA {
		who := "CA"
		if len(cert.URIs) == 1 {
			who = "CA of trust domain " + printable(cert.URIs[0].Host)
		}
		row(w, "identity", who)
		row(w, "subject", cert.Subject.String())
		return who
	}
	id, err := identity.FromCertificate(cert)
	if err != nil {
		row(w, "identity", "none")
		row(w, "subject", cert.Subject.String())
		warn(c, "%s: %s", path, printable(err.Error()))
		return printable(cert.Subject.String())
	}
	row(w, "identity", id.String())
	if id.Role.Person() && id.Scope.All() { // else the identity says it
		row(w, "for", "everything")
	}
	row(w, "uri", id.URI())
	return id.String()
}

func row(w io.Writer, what, text string) { fmt.Fprintf(w, "  %s\t%s\n", what, printable(text)) }

func hosts(cert *x509.Certificate) string {
	list := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		list = append(list, ip.String())
	}
	return strings.Join(list, ", ")
}
