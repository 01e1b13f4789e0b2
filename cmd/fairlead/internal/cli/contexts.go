package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/fairlead-dns/fairlead/regions/config"
)

// maxContexts bounds the file, in bytes.
const maxContexts = 1 << 20

// contexts are the installations that somebody works with, and the values of
// flags that are not given otherwise.
type contexts struct {
	path     string
	Current  string                  `yaml:"current,omitempty" json:"current,omitempty"`
	Contexts map[string]savedContext `yaml:"contexts,omitempty" json:"contexts,omitempty"`

	// options are for flags; nil: there are none.
	options *yaml.Node
	// root is the map that the file holds and head what stands above it, so that
	// a change leaves everything else, comments too, as it is.
	root *yaml.Node
	head string
}

// savedContext is where one installation is, and who calls it. Paths are
// relative to the file that they are written in.
type savedContext struct {
	Controllers []string `yaml:"controllers,omitempty,flow" json:"controllers,omitempty"`
	TLSCert     string   `yaml:"tlsCert,omitempty" json:"tlsCert,omitempty"`
	TLSKey      string   `yaml:"tlsKey,omitempty" json:"tlsKey,omitempty"`
	TLSCA       string   `yaml:"tlsCA,omitempty" json:"tlsCA,omitempty"`
	TokenFile   string   `yaml:"tokenFile,omitempty" json:"tokenFile,omitempty"`
	Author      string   `yaml:"author,omitempty" json:"author,omitempty"`
}

// tls tells whether the context names any file of TLS.
func (s savedContext) tls() bool { return s.TLSCert != "" || s.TLSKey != "" || s.TLSCA != "" }

// absolute returns the context with the paths that mean the same anywhere.
func (s savedContext) absolute(dir string) savedContext {
	for _, p := range []*string{&s.TLSCert, &s.TLSKey, &s.TLSCA, &s.TokenFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return s
}

// check says what is wrong with a context.
func (s savedContext) check() error {
	var errs []error
	for _, addr := range s.Controllers {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("controllers: %q: want HOST:PORT", addr))
		}
	}
	switch certificate := s.TLSCert != "" || s.TLSKey != ""; {
	case s.TokenFile != "" && s.TLSCA == "":
		errs = append(errs, errors.New("tokenFile needs tlsCA: a token is sent over TLS alone"))
	case (certificate || s.TokenFile == "" && s.tls()) && (s.TLSCert == "" || s.TLSKey == "" || s.TLSCA == ""):
		errs = append(errs, errors.New("TLS needs tlsCert, tlsKey and tlsCA, all three or none"))
	}
	return errors.Join(errs...)
}

func (c *contexts) names() []string { return slices.Sorted(maps.Keys(c.Contexts)) }

// checkContextName keeps names to what needs no quotes anywhere.
func checkContextName(name string) error {
	ok := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r)
	}
	if name == "" || len(name) > 63 || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) || strings.HasPrefix(name, "-") {
		return fmt.Errorf("%q is no name for a context: want up to 63 letters, digits and . - _", name)
	}
	return nil
}

func readContexts(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxContexts+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxContexts:
		return nil, fmt.Errorf("%s has more than %d KiB: is that a file of contexts?", path, maxContexts>>10)
	}
	return data, nil
}

// parseContexts parses a file of contexts. The error holds all mistakes, each
// with its line.
func parseContexts(path string, data []byte) (*contexts, error) {
	out := &contexts{path: path, Contexts: map[string]savedContext{}}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		out.head = string(data)
		return out, nil
	case err != nil:
		return nil, fileError{fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	if n := doc.Content[0]; n.Kind == yaml.MappingNode {
		out.root = &doc
	}
	p := contextParser{path: path}
	p.fields(doc.Content[0], "", map[string]func(*yaml.Node, string){
		"options": func(n *yaml.Node, _ string) { out.options = n },
		"current": func(n *yaml.Node, at string) { out.Current = p.text(n, at) },
		"contexts": func(n *yaml.Node, at string) {
			p.pairs(n, at, func(key, value *yaml.Node, at string) {
				if err := checkContextName(key.Value); err != nil {
					p.fail(key, at, "%w", err)
				}
				out.Contexts[key.Value] = p.context(value, at)
			})
		},
	})
	if err := dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		p.errs = append(p.errs, fmt.Errorf("%s: want one YAML document", path))
	}
	if err := errors.Join(p.errs...); err != nil {
		return nil, fileError{err}
	}
	return out, nil
}

// fileError is what is wrong with the file of contexts: the command line as a
// whole cannot be meant so.
type fileError struct{ error }

func (e fileError) Unwrap() error { return e.error }

type contextParser struct {
	path string
	errs []error
}

func (p *contextParser) fail(n *yaml.Node, at, format string, args ...any) {
	if at != "" {
		at += ": "
	}
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %s"+format, append([]any{p.path, n.Line, at}, args...)...))
}

func (p *contextParser) context(n *yaml.Node, at string) (s savedContext) {
	set := func(to *string) func(*yaml.Node, string) {
		return func(n *yaml.Node, at string) { *to = p.text(n, at) }
	}
	had := len(p.errs)
	p.fields(n, at, map[string]func(*yaml.Node, string){
		"controllers": func(n *yaml.Node, at string) { s.Controllers = p.texts(n, at) },
		"tlsCert":     set(&s.TLSCert), "tlsKey": set(&s.TLSKey), "tlsCA": set(&s.TLSCA),
		"tokenFile": set(&s.TokenFile),
		"author":    set(&s.Author),
	})
	if err := s.check(); err != nil && len(p.errs) == had {
		for _, line := range strings.Split(err.Error(), "\n") {
			p.fail(n, at, "%s", line)
		}
	}
	return s
}

// fields reads a map of known keys.
func (p *contextParser) fields(n *yaml.Node, at string, known map[string]func(*yaml.Node, string)) {
	p.pairs(n, at, func(key, value *yaml.Node, path string) {
		read, ok := known[key.Value]
		if !ok {
			names := slices.Sorted(maps.Keys(known))
			hint := config.Suggest(key.Value, names)
			if hint == "" {
				hint = ": want one of " + strings.Join(names, ", ")
			}
			p.fail(key, at, "no field %q%s", key.Value, hint)
			return
		}
		read(value, path)
	})
}

// pairs goes through a map.
func (p *contextParser) pairs(n *yaml.Node, at string, each func(key, value *yaml.Node, at string)) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		p.fail(n, at, "want fields, as key: value")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		path := strings.TrimPrefix(at+"."+key.Value, ".")
		switch {
		case key.Kind != yaml.ScalarNode:
			p.fail(key, at, "want a name before the colon")
		case seen[key.Value]:
			p.fail(key, path, "given twice")
		default:
			seen[key.Value] = true
			each(key, n.Content[i+1], path)
		}
	}
}

func (p *contextParser) text(n *yaml.Node, at string) string {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return ""
	case n.Kind != yaml.ScalarNode || n.Tag != "!!str":
		p.fail(n, at, "want a text")
		return ""
	}
	return n.Value
}

func (p *contextParser) texts(n *yaml.Node, at string) (out []string) {
	if n.Kind != yaml.SequenceNode {
		p.fail(n, at, "want a list, as [c1.example.net:7443, c2.example.net:7443]")
		return nil
	}
	for i, item := range n.Content {
		out = append(out, p.text(item, fmt.Sprintf("%s[%d]", at, i)))
	}
	return out
}
