package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	yaml "go.yaml.in/yaml/v3"

	"github.com/fairlead-dns/fairlead/cmd/internal/options"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/cmd/internal/tokenfile"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

const contextHelp = `A context is one installation: the addresses of its controllers, your certificate
for it, and the name that your drains bear. Contexts are kept in
fairlead/config.yaml in your configuration directory ($XDG_CONFIG_HOME, else
~/.config), or in the file that --config or FAIRLEAD_CONFIG names:

  current: prod
  contexts:
    prod:
      controllers: [c1.example.net:7443, c2.example.net:7443]
      tlsCert: alice.crt    # relative to this file
      tlsKey: alice.key
      tlsCA: ca.crt
      author: alice
    # tokenFile: alice.token  # in place of tlsCert and tlsKey
  options:                  # for flags that are not given, of any command
    timeout: 30s
    output: wide

What sets a context changes its lines and leaves the rest as it is, comments too.`

func (a *app) contextCommand() *cobra.Command {
	return group("context", "Keep where to connect, for several installations", contextHelp+`

--context NAME takes another one than the current; --context "" takes none.`,
		a.contextListCommand(), a.contextShowCommand(), a.contextSetCommand(), a.contextUseCommand(), a.contextDeleteCommand())
}

func (a *app) contextListCommand() *cobra.Command {
	var output format
	c := &cobra.Command{
		Use: "list", Short: "List the contexts", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			all, err := a.loadContexts()
			if err != nil {
				return err
			}
			return a.emitContexts(output, all, all.names(), func(p *printer) {
				if len(all.Contexts) == 0 {
					fmt.Fprintf(a.Err, "no contexts in %s; `fairlead context set NAME --controllers HOST:PORT,…` makes one\n", clean(all.path))
					return
				}
				t := newTable("CURRENT", "NAME", "CONTROLLERS", "CERTIFICATE", "AUTHOR")
				t.keepEmpty = true
				for _, name := range all.names() {
					current := ""
					if name == all.Current {
						current = "*"
					}
					s := all.Contexts[name]
					t.row(current, name, strings.Join(s.Controllers, ","), s.TLSCert, s.Author)
				}
				t.print(p)
			})
		},
	}
	outputFlag(c, &output, "the names")
	return c
}

// emitContexts is emit for contexts.
func (a *app) emitContexts(f format, v any, names []string, human func(*printer)) error {
	switch f {
	case formatJSON:
		b, err := json.MarshalIndent(v, "", "  ")
		return a.write(append(b, '\n'), err)
	case formatYAML:
		return a.write(yaml.Marshal(v))
	case formatName:
		return a.writeNames(names)
	}
	p := a.printer()
	human(p)
	return a.write(p.Bytes(), nil)
}

func (a *app) contextShowCommand() *cobra.Command {
	var output format
	c := &cobra.Command{
		Use: "show [NAME]", Short: "Show a context, or the one in effect",
		Long:              "Show a context, or without NAME the one in effect, with where its files are and\nwhat its certificate says.",
		Args:              atMost("NAME"),
		ValidArgsFunction: a.completeContext,
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := a.loadContexts()
			if err != nil {
				return err
			}
			name := all.Current
			switch {
			case len(args) > 0:
				name = args[0]
			case a.flags.Changed("context"):
				name = a.context
			}
			if name == "" {
				return fmt.Errorf("no context is current: `fairlead context use NAME` makes one so, `fairlead context list` lists them")
			}
			s, err := all.get(name)
			if err != nil {
				return err
			}
			s = s.absolute(filepath.Dir(all.path))
			return a.emitContexts(output, s, []string{name}, func(p *printer) { a.printContext(p, all, name, s) })
		},
	}
	outputFlag(c, &output, "the name")
	return c
}

func (a *app) printContext(p *printer, all *contexts, name string, s savedContext) {
	title := name
	if name == all.Current {
		title += " (current)"
	}
	show := func(what, value string) {
		if value != "" {
			p.linef(plain, "%-12s %s", what, value)
		}
	}
	show("Context", title)
	show("File", all.path)
	show("Controllers", strings.Join(s.Controllers, ", "))
	show("Certificate", s.TLSCert)
	show("Key", s.TLSKey)
	show("CA", s.TLSCA)
	show("Token", s.TokenFile)
	show("Author", s.Author)
	switch {
	case s.TLSCert == "" && s.TokenFile != "":
		show("Security", "TLS; you are who the token says")
		return
	case s.TLSCert == "":
		show("Security", "none: plain text, to this machine only")
		return
	}
	certs, err := tlsfiles.ReadCertificates(s.TLSCert)
	if err != nil {
		p.linef(red, "%-12s %v", "Identity", err)
		return
	}
	id, err := identity.FromCertificate(certs[0])
	if err != nil {
		p.linef(red, "%-12s %v", "Identity", err)
	} else {
		show("Identity", fmt.Sprintf("%s of trust domain %s", id, id.TrustDomain))
	}
	if text := expiry(certs[0], p.now); text != "" {
		p.linef(yellow, "%-12s %s", "Validity", "it "+text)
	} else {
		show("Validity", "expires in "+human(certs[0].NotAfter.Sub(p.now)))
	}
}

func (a *app) contextSetCommand() *cobra.Command {
	var given savedContext
	c := &cobra.Command{
		Use: "set NAME [flags]", Short: "Make or change a context",
		Long: `Make a context, or change what the flags name of one. The first context becomes
the current one. An empty value removes a field. Files that lie below the
directory of the contexts are kept relative to it.`,
		Example: "  fairlead context set prod --controllers c1.example.net:7443,c2.example.net:7443 \\\n" +
			"    --tls-cert alice.crt --tls-key alice.key --tls-ca ca.crt",
		Args:                  exactly("NAME"),
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     a.completeContext,
		RunE:                  func(c *cobra.Command, args []string) error { return a.setContext(c.Flags(), args[0], given) },
	}
	f := c.Flags()
	f.StringSliceVar(&given.Controllers, "controllers", nil, "the controllers' gRPC addresses, HOST:PORT")
	f.StringVar(&given.TLSCert, "tls-cert", "", "your certificate, PEM")
	f.StringVar(&given.TLSKey, "tls-key", "", "its key, PEM")
	f.StringVar(&given.TLSCA, "tls-ca", "", "the CA certificates of the installation, PEM")
	f.StringVar(&given.TokenFile, "token-file", "", "a file that holds your token, in place of a certificate")
	f.StringVar(&given.Author, "author", "", "who decides your drains")
	// What is to be written down is said outright.
	options.CommandLineOnly(f, "controllers", "tls-cert", "tls-key", "tls-ca", "token-file", "author")
	return c
}

func (a *app) setContext(f *pflag.FlagSet, name string, given savedContext) error {
	if err := checkContextName(name); err != nil {
		return usageError{err}
	}
	all, err := a.loadContexts()
	if err != nil {
		return err
	}
	s, existed := all.Contexts[name]
	changed := false
	if f.Changed("controllers") {
		changed = true
		s.Controllers = slices.DeleteFunc(given.Controllers, func(addr string) bool { return addr == "" })
	}
	dir := filepath.Dir(all.path)
	for _, field := range []struct {
		flag      string
		to, given *string
		path      bool
	}{
		{"tls-cert", &s.TLSCert, &given.TLSCert, true}, {"tls-key", &s.TLSKey, &given.TLSKey, true},
		{"tls-ca", &s.TLSCA, &given.TLSCA, true}, {"token-file", &s.TokenFile, &given.TokenFile, true}, {"author", &s.Author, &given.Author, false},
	} {
		if !f.Changed(field.flag) {
			continue
		}
		changed = true
		*field.to = *field.given
		if field.path && *field.to != "" {
			if *field.to, err = keepPath(dir, *field.given); err != nil {
				return fmt.Errorf("--%s: %w", field.flag, err)
			}
		}
	}
	switch {
	case !changed:
		return usagef("nothing to set: give --controllers, --tls-cert, --tls-key, --tls-ca, --token-file or --author")
	case len(s.Controllers) == 0:
		return usagef("missing --controllers HOST:PORT,…: a context without any leads nowhere")
	}
	if err := s.check(); err != nil {
		return usageError{fmt.Errorf("context %q: %w", name, err)}
	}
	if all.Contexts == nil {
		all.Contexts = map[string]savedContext{}
	}
	all.Contexts[name] = s
	if !existed && all.Current == "" {
		all.Current = name
	}
	if err := all.save(); err != nil {
		return err
	}
	a.warnOfContext(s.absolute(dir))
	what := "changed"
	if !existed {
		what = "made"
	}
	note := ""
	if all.Current == name {
		note = "; it is the current one"
	}
	fmt.Fprintf(a.Out, "context %q was %s in %s%s\n", name, what, clean(all.path), note)
	return nil
}

// keepPath is a path as the file in dir holds it: relative where the file lies
// below, else absolute, so that it means the same wherever fairlead runs.
func keepPath(dir, path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(dir, abs); err == nil && filepath.IsLocal(rel) {
		return rel, nil
	}
	return abs, nil
}

// warnOfContext says what would fail later.
func (a *app) warnOfContext(s savedContext) {
	if s.TokenFile != "" {
		if _, err := tokenfile.Read(s.TokenFile); err != nil {
			fmt.Fprintf(a.Err, "warning: %s\n", cleanLines(err.Error()))
		}
		if s.TLSCert == "" {
			return
		}
	}
	if s.tls() {
		if files, err := openTLS(s.TLSCert, s.TLSKey, s.TLSCA, a.Now); err != nil {
			fmt.Fprintf(a.Err, "warning: %s\n", cleanLines(err.Error()))
		} else {
			a.warnOfExpiry(s.TLSCert, files.Certificate())
		}
		return
	}
	for _, addr := range s.Controllers {
		if err := (security{}).allow("--controllers", addr); err != nil {
			fmt.Fprintf(a.Err, "warning: %s\n", clean(err.Error()))
			return
		}
	}
}

func (a *app) contextUseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Make a context the current one", Args: exactly("NAME"),
		ValidArgsFunction: a.completeContext,
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := a.loadContexts()
			if err != nil {
				return err
			}
			if _, err := all.get(args[0]); err != nil {
				return err
			}
			all.Current = args[0]
			if err := all.save(); err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "context %q is the current one\n", args[0])
			return nil
		},
	}
}

func (a *app) contextDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Forget a context", Long: "Forget a context. The files that it names stay.", Args: exactly("NAME"),
		ValidArgsFunction: a.completeContext,
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := a.loadContexts()
			if err != nil {
				return err
			}
			if _, err := all.get(args[0]); err != nil {
				return err
			}
			delete(all.Contexts, args[0])
			note := ""
			if all.Current == args[0] {
				all.Current, note = "", "; no context is current now"
			}
			if err := all.save(); err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "context %q was deleted%s\n", args[0], note)
			return nil
		},
	}
}
