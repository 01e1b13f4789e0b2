package cli

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	yaml "go.yaml.in/yaml/v3"
)

const contextsHeader = "# Where fairlead connects to; `fairlead context` changes this file, and leaves\n# comments in it. Paths are relative to this file.\n"

// save writes the contexts: whoever reads them meanwhile finds the old file or
// the new one.
func (c *contexts) save() error {
	if c.path == "" {
		return errors.New("no place for contexts: neither $XDG_CONFIG_HOME nor $HOME is set; name a file with --config or FAIRLEAD_CONFIG")
	}
	text, err := c.text()
	if err != nil {
		return err
	}
	// A link to the file stays one.
	path := c.path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, text, 0o600)
}

// text is the file with what has changed.
func (c *contexts) text() ([]byte, error) {
	if c.root != nil {
		// The library moves comments in odd places, at times so that another
		// file comes of it: what counts is what the file says.
		if text, err := c.edited(); err == nil && c.said(text) {
			return text, nil
		}
	}
	head := c.head
	if head == "" {
		head = contextsHeader
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	c.edit(root)
	if c.options != nil {
		root.Content = append(root.Content, textNode("options"), c.options)
	}
	text, err := encode(root)
	return append([]byte(strings.TrimRight(head, "\n")+"\n"), text...), err
}

// said tells whether a text says what c does.
func (c *contexts) said(text []byte) bool {
	got, err := parseContexts(c.path, text)
	if err != nil || got.Current != c.Current || len(got.Contexts) != len(c.Contexts) {
		return false
	}
	for name, want := range c.Contexts {
		if !reflect.DeepEqual(got.Contexts[name], want) {
			return false
		}
	}
	var was, is any
	if c.options != nil && c.options.Decode(&was) != nil || got.options != nil && got.options.Decode(&is) != nil {
		return false
	}
	return reflect.DeepEqual(was, is)
}

// edited is the file that was read with what has changed since.
func (c *contexts) edited() ([]byte, error) {
	c.edit(c.root.Content[0])
	return encode(c.root)
}

func encode(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	err := enc.Encode(n)
	return b.Bytes(), err
}

// edit changes in a map what differs from c.
func (c *contexts) edit(root *yaml.Node) {
	setText(root, "current", c.Current)
	all := field(root, "contexts")
	if all == nil || all.Kind != yaml.MappingNode {
		all = &yaml.Node{Kind: yaml.MappingNode}
	}
	for i := 0; i+1 < len(all.Content); {
		if _, ok := c.Contexts[all.Content[i].Value]; ok {
			i += 2
			continue
		}
		all.Content = slices.Delete(all.Content, i, i+2)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Contexts)) {
		one := field(all, name)
		if one == nil || one.Kind != yaml.MappingNode {
			one = &yaml.Node{Kind: yaml.MappingNode, Style: all.Style}
			set(all, name, one)
		}
		c.Contexts[name].edit(one)
	}
	if len(all.Content) == 0 {
		remove(root, "contexts")
		return
	}
	set(root, "contexts", all)
}

// edit changes in a map what differs from s.
func (s savedContext) edit(n *yaml.Node) {
	list := field(n, "controllers")
	switch {
	case len(s.Controllers) == 0:
		remove(n, "controllers")
	case list == nil || list.Kind != yaml.SequenceNode:
		list = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		fallthrough
	default:
		var items []*yaml.Node
		for _, addr := range s.Controllers {
			i := slices.IndexFunc(list.Content, func(item *yaml.Node) bool { return item.Value == addr })
			if i < 0 {
				items = append(items, textNode(addr))
				continue
			}
			items = append(items, list.Content[i])
		}
		list.Content = items
		set(n, "controllers", list)
	}
	for _, f := range []struct{ key, text string }{{"tlsCert", s.TLSCert}, {"tlsKey", s.TLSKey}, {"tlsCA", s.TLSCA}, {"tokenFile", s.TokenFile}, {"author", s.Author}} {
		setText(n, f.key, f.text)
	}
}

// field finds a value in a map; nil: there is none.
func field(m *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

// set sets a value in a map, in its place or at the end.
func set(m *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = value
			return
		}
	}
	m.Content = append(m.Content, textNode(key), value)
}

// setText sets a text in a map, and removes an empty one.
func setText(m *yaml.Node, key, text string) {
	old := field(m, key)
	switch {
	case text == "":
		remove(m, key)
	case old == nil:
		set(m, key, textNode(text))
	case old.Kind != yaml.ScalarNode || old.Value != text:
		n := textNode(text)
		n.HeadComment, n.LineComment, n.FootComment = old.HeadComment, old.LineComment, old.FootComment
		set(m, key, n)
	}
}

// remove removes a value from a map. What stands above it stays, above the
// next one: it may be about all that follows.
func remove(m *yaml.Node, key string) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value != key {
			continue
		}
		above := m.Content[i].HeadComment
		m.Content = slices.Delete(m.Content, i, i+2)
		if above != "" && i < len(m.Content) {
			m.Content[i].HeadComment = strings.TrimRight(above+"\n"+m.Content[i].HeadComment, "\n")
		}
		return
	}
}

func textNode(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}
