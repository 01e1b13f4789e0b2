package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/fairlead-dns/fairlead/regions/config"
)

// settings are where to connect and how: from flags, else the environment,
// else the context, else the defaults.
type settings struct {
	controllers   []string
	cert, key, ca string
	token         string
	insecure      bool
	author        string // empty: the system's name of the user
	context       string // empty: none
	// origin says in errors where the files of TLS were named.
	origin string
}

// settings resolves the settings. settle must have run.
func (a *app) settings() (*settings, error) {
	if a.resolved != nil {
		return a.resolved, nil
	}
	s := &settings{
		controllers: a.controllers, cert: a.tls.cert, key: a.tls.key, ca: a.tls.ca, token: a.token, insecure: a.insecure,
		origin: "--tls-cert, --tls-key, --tls-ca",
	}
	if s.insecure && (s.cert != "" || s.key != "" || s.ca != "") {
		return nil, usagef("--insecure-plaintext goes without --tls-cert, --tls-key and --tls-ca")
	}
	name, c, err := a.selected()
	if err != nil {
		return nil, err
	}
	if name != "" {
		s.context, s.author = name, c.Author
		if !a.flags.Changed("controller") && len(c.Controllers) > 0 {
			s.controllers = c.Controllers
		}
		for _, f := range []struct {
			flag string
			to   *string
			from string
		}{{"tls-cert", &s.cert, c.TLSCert}, {"tls-key", &s.key, c.TLSKey}, {"tls-ca", &s.ca, c.TLSCA}, {"token-file", &s.token, c.TokenFile}} {
			if !a.flags.Changed(f.flag) && f.from != "" {
				*f.to, s.origin = f.from, fmt.Sprintf("context %q", name)
			}
		}
	}
	a.resolved = s
	return s, nil
}

// author is who decides a change: as the flag or the environment says, else
// the context, else the system.
func (a *app) author(flag string, given bool) (string, error) {
	if given {
		return flag, nil
	}
	s, err := a.settings()
	if err != nil || s.author == "" {
		return flag, err
	}
	return s.author, nil
}

// selected is the context in effect; its paths are those of files. The name is
// empty when there is none.
func (a *app) selected() (string, savedContext, error) {
	if a.flags.Changed("context") && a.context == "" {
		return "", savedContext{}, nil
	}
	all, err := a.loadContexts()
	if err != nil {
		return "", savedContext{}, err
	}
	name, by := a.context, "--context"
	if name == "" {
		name, by = all.Current, "current, in "+all.path
	}
	if name == "" {
		return "", savedContext{}, nil
	}
	c, err := all.get(name)
	if err != nil {
		return "", savedContext{}, fmt.Errorf("%s: %w", by, err)
	}
	return name, c.absolute(filepath.Dir(all.path)), nil
}

// contextsPath is where contexts are kept; empty when the system has no place
// for it and none was named.
func (a *app) contextsPath() string {
	if a.config != "" {
		return a.config
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "fairlead", "config.yaml")
}

// loadContexts reads the contexts. No file means that there are none.
func (a *app) loadContexts() (*contexts, error) {
	path := a.contextsPath()
	if path == "" {
		return &contexts{}, nil
	}
	data, err := readContexts(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), a.config == "" && errors.Is(err, fs.ErrPermission):
		// Users of the system may have no home, or somebody else's.
		return &contexts{path: path}, nil
	case err != nil:
		return nil, fileError{err}
	}
	return parseContexts(path, data)
}

// get finds a context.
func (c *contexts) get(name string) (savedContext, error) {
	if s, ok := c.Contexts[name]; ok {
		return s, nil
	}
	hint := config.Suggest(name, c.names())
	if hint == "" || len(c.Contexts) == 0 {
		hint = "; `fairlead context set " + name + " --controllers HOST:PORT,…` makes it"
	}
	return savedContext{}, fmt.Errorf("no context %q%s", name, hint)
}
