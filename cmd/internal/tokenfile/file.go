package tokenfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// maxTokens bounds a file: what more people share is a directory's to keep.
const maxTokens = 1000

// Entry is a token as the file has it.
type Entry struct {
	Name     string   `yaml:"name"`
	Role     string   `yaml:"role"`
	Zones    []string `yaml:"zones,omitempty,flow"`
	Services []string `yaml:"services,omitempty,flow"`
	Regions  []string `yaml:"regions,omitempty,flow"`
	// SHA256 is of the token, in hexadecimal.
	SHA256 string `yaml:"sha256"`
	// Created is optional: warnings begin with the last third of the time from
	// then on, or 14 days before the end.
	Created time.Time `yaml:"created,omitempty"`
	Expires time.Time `yaml:"expires"`
}

// document is the file.
type document struct {
	Tokens []yaml.Node `yaml:"tokens"`
}

// Text is the entry as a list of one, as it goes below tokens: in a file.
func (e Entry) Text() (string, error) {
	b, err := yaml.Marshal([]Entry{e})
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		out.WriteString("  " + line)
	}
	return out.String(), nil
}

// Append is the contents of a file with one entry more; without contents, of a
// new file. What the file holds already, comments too, stays as it is.
func Append(path string, data []byte, e Entry) ([]byte, error) {
	text, err := e.Text()
	if err != nil {
		return nil, err
	}
	switch trimmed := bytes.TrimSpace(data); {
	case len(trimmed) == 0:
		data = []byte("# The tokens of people; for the controllers' --tokens. Not the tokens themselves, but their SHA-256.\ntokens:\n")
	case !bytes.HasSuffix(data, []byte("\n")):
		data = append(bytes.Clone(data), '\n')
	}
	out := append(bytes.Clone(data), text...)
	if _, err := (&Options{Path: path, TrustDomain: "fairlead"}).load(out); err != nil {
		return nil, fmt.Errorf("with the new token the file would be refused; nothing was written: %w", err)
	}
	return out, nil
}

// token is one in use.
type token struct {
	id          identity.Identity
	digest      identity.Digest
	from, until time.Time
}

func (t token) standing(now time.Time) (identity.State, time.Duration) {
	return identity.Standing(t.from, t.until, now)
}

// table is a file's contents, found good. Immutable.
type table struct {
	contents [sha256.Size]byte
	byDigest map[identity.Digest]token
	order    []token
}

func (t *table) same(data []byte) bool { return t.contents == sha256.Sum256(data) }

// load makes a table of a file's contents, or says all that is wrong with them.
// Time alone makes nothing wrong here: an expired token is no reason not to
// start.
func (o *Options) load(data []byte) (*table, error) {
	var doc document
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", o.Path, shown(err))
	}
	if err := dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: want one YAML document", o.Path)
	}
	if len(doc.Tokens) > maxTokens {
		return nil, fmt.Errorf("%s: %d tokens, at most %d", o.Path, len(doc.Tokens), maxTokens)
	}
	t := &table{contents: sha256.Sum256(data), byDigest: map[identity.Digest]token{}}
	var errs []error
	for i := range doc.Tokens {
		node := &doc.Tokens[i]
		entry, err := o.entry(node)
		if err == nil {
			if _, twice := t.byDigest[entry.digest]; twice {
				err = errors.New("sha256: another token has the same: make one for each")
			}
			t.byDigest[entry.digest] = entry
			t.order = append(t.order, entry)
		}
		for _, e := range split(err) {
			errs = append(errs, fmt.Errorf("%s:%d: %w", o.Path, node.Line, e))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// split is the errors of a joined one, however deep.
func split(err error) []error {
	var joined interface{ Unwrap() []error }
	if err == nil {
		return nil
	}
	if !errors.As(err, &joined) {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, split(e)...)
	}
	return out
}

// fields are those of an entry.
var fields = []string{"name", "role", "zones", "services", "regions", "sha256", "created", "expires"}

// entry checks one token.
func (o *Options) entry(node *yaml.Node) (t token, err error) {
	if node.Kind != yaml.MappingNode {
		return t, fmt.Errorf("want a token: %s", strings.Join(fields, ", "))
	}
	if bare(node) {
		return t, errors.New("a token itself is here: take it out, it is no secret any more, and put in the SHA-256 of a new one")
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if key := node.Content[i].Value; !slices.Contains(fields, key) {
			return t, fmt.Errorf("no such field %.40q: want %s", key, strings.Join(fields, ", "))
		}
	}
	var e Entry
	if err := node.Decode(&e); err != nil {
		return t, shown(err)
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	role, err := identity.ParseRole(e.Role)
	switch {
	case err != nil:
		wrong("role: %w", err)
	case !role.Person():
		wrong("role: %s: tokens are for people: want viewer, operator or admin; programs have certificates", role)
	default:
		t.id = identity.Identity{
			TrustDomain: o.TrustDomain, Role: role, Name: e.Name, Token: true,
			Scope: identity.Scope{Zones: e.Zones, Services: e.Services, Regions: e.Regions}.Sorted(),
		}
		if err := t.id.Validate(); err != nil {
			errs = append(errs, err)
		}
	}
	switch sum, err := hex.DecodeString(e.SHA256); {
	case err != nil || len(sum) != len(t.digest):
		wrong("sha256: want the SHA-256 of the token, %d hexadecimal digits", 2*len(t.digest))
	default:
		t.digest = identity.Digest(sum)
	}
	t.from, t.until = e.Created, e.Expires
	switch {
	case e.Expires.IsZero():
		wrong("expires: missing: want a time, as 2027-01-31T12:00:00Z; every token ends")
	case e.Created.IsZero():
		t.from = e.Expires.AddDate(-1, 0, 0) // so that warnings begin 14 days before
	case !e.Created.Before(e.Expires):
		wrong("expires: %s: want a time after it was created, %s", e.Expires.Format(time.RFC3339), e.Created.Format(time.RFC3339))
	}
	return t, errors.Join(errs...)
}

// bare tells whether a token itself is among the values.
func bare(node *yaml.Node) bool {
	return strings.Contains(node.Value, identity.TokenPrefix) || slices.ContainsFunc(node.Content, bare)
}

// place finds the line in a decoder's error.
var place = regexp.MustCompile(`line [0-9]+`)

// shown is a decoder's error without the values that it may cite: one of them
// may be a token that somebody has put in the wrong place.
func shown(err error) error {
	what := "is no YAML, or has a value of the wrong type"
	if at := place.FindString(err.Error()); at != "" {
		what = at + " " + what
	}
	return errors.New(what + ": want tokens: and a list; names, role and sha256 are texts, zones, services and regions lists, created and expires times as 2027-01-31T12:00:00Z")
}
