package config

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Locate gives the FieldErrors in err the file and line of the resource in
// docs that they are about. What is not about a resource in docs stays as it
// is, at the end, and so does an error of another type. They are sorted by
// place.
func Locate(err error, docs []Document) error {
	var errs Errors
	if !errors.As(err, &errs) {
		var one FieldError
		if !errors.As(err, &one) {
			return err
		}
		errs = Errors{one}
	}
	sources := make([]Source, len(docs), len(docs)+1)
	for i, doc := range docs {
		sources[i].File = doc.File
	}
	return sortBySource(locate(errs, docs), sources)
}

func locate(errs Errors, docs []Document) Errors {
	byKey := make(map[Key]*Document, len(docs))
	for i := range docs {
		byKey[Key{Kind(docs[i].Resource), canonicalName(Name(docs[i].Resource))}] = &docs[i]
	}
	located := slices.Clone(errs)
	var nodes []*yaml.Node // of the text of the error before
	var parsed *text
	for i := range located {
		e := &located[i]
		doc := byKey[Key{e.Kind, canonicalName(e.Name)}]
		if e.Line != 0 || doc == nil {
			continue
		}
		if doc.text != parsed {
			parsed, nodes = doc.text, doc.nodes()
		}
		e.File, e.Line = doc.File, doc.lineOf(nodes, e.Path)
	}
	return located
}

// LineOf returns the line of a field, or of the nearest thing around it.
func (doc *Document) LineOf(path string) int { return doc.lineOf(doc.nodes(), path) }

// nodes parses the text with the document again.
func (doc *Document) nodes() []*yaml.Node {
	if doc.text == nil {
		return nil
	}
	nodes, _ := doc.text.parse(doc.File)
	return nodes
}

func (doc *Document) lineOf(nodes []*yaml.Node, path string) int {
	if doc.index >= len(nodes) {
		return doc.Line
	}
	n := nodes[doc.index]
	path, inText := cutTextLine(path)
	line := n.Line
	for _, step := range steps(path) {
		next := (*yaml.Node)(nil)
		if i, err := strconv.Atoi(step); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
			next = n.Content[i]
			line = next.Line
		}
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				next = n.Content[i+1]
				line = n.Content[i].Line
			}
		}
		if next == nil {
			return line + doc.text.line - 1
		}
		n = next
	}
	if n.Kind == yaml.ScalarNode {
		line = n.Line
		// The text of a literal block begins below its | sign.
		if n.Style&yaml.LiteralStyle != 0 && inText > 0 {
			line += inText
		}
	}
	return line + doc.text.line - 1
}

// cutTextLine cuts the line within a text off a path: spec.records:3.
func cutTextLine(path string) (string, int) {
	if i := strings.LastIndexByte(path, ':'); i >= 0 {
		if line, err := strconv.Atoi(path[i+1:]); err == nil && line > 0 {
			return path[:i], line
		}
	}
	return path, 0
}

// steps takes a path apart: spec.bias["eu-west"] is spec, bias, eu-west.
func steps(path string) []string {
	var out []string
	for path != "" {
		switch {
		case strings.HasPrefix(path, `["`):
			quoted, err := strconv.QuotedPrefix(path[1:])
			if err != nil {
				return out
			}
			key, err := strconv.Unquote(quoted)
			if err != nil {
				return out
			}
			out = append(out, key)
			path = strings.TrimPrefix(path[1+len(quoted):], "]")
		case path[0] == '[':
			index, rest, _ := strings.Cut(path[1:], "]")
			out, path = append(out, index), rest
		default:
			path = strings.TrimPrefix(path, ".")
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			if end == 0 {
				return out
			}
			out, path = append(out, path[:end]), path[end:]
		}
	}
	return out
}

// sortBySource orders errors by file, as the files were given, and line.
func sortBySource(errs Errors, sources []Source) Errors {
	order := map[string]int{"": len(sources)}
	for i, s := range sources {
		if _, ok := order[s.File]; !ok {
			order[s.File] = i
		}
	}
	slices.SortStableFunc(errs, func(a, b FieldError) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line))
	})
	return errs
}
