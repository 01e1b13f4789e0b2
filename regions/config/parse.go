package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// MaxFileSize is the largest file that Parse reads.
const MaxFileSize = 64 << 20

// Source is the contents of one file.
type Source struct {
	File string
	Data []byte
}

// Document is one resource of a file.
type Document struct {
	Resource *pb.Resource
	File     string
	Line     int // where the document begins
	text     *text
	index    int    // among the documents of the text
	errs     Errors // of its form; then it is not handed out
}

// text is a piece of a file between two document markers. Documents keep it
// rather than the position of every field: it is parsed again for the few
// that an error is about.
type text struct {
	data []byte
	line int // of its first line in the file, from 1
}

// Parse reads the resources in a YAML (or JSON) file. All errors are returned
// at once, as Errors, together with the documents that have none.
func Parse(file string, data []byte) ([]Document, error) {
	return ParseAll(Source{File: file, Data: data})
}

// ParseAll is Parse for several files: a resource may be in one place only.
func ParseAll(sources ...Source) ([]Document, error) {
	docs, _, errs := parseAll(sources)
	return docs, sortBySource(errs, sources).err()
}

// parseAll also returns what could be read of the documents with errors.
func parseAll(sources []Source) (docs, broken []Document, errs Errors) {
	seen := map[Key]Document{}
	for _, source := range sources {
		parsed, bad := parseFile(source)
		errs = append(errs, bad...)
		for _, doc := range parsed {
			if len(doc.errs) > 0 {
				broken = append(broken, doc)
				continue
			}
			key := Key{Kind(doc.Resource), canonicalName(Name(doc.Resource))}
			if first, ok := seen[key]; ok {
				errs = append(errs, FieldError{
					File: doc.File, Line: doc.Line, Kind: key.Kind, Name: key.Name,
					Message: fmt.Sprintf("is already at %s:%d; a resource may be in one place only", first.File, first.Line),
				})
				continue
			}
			seen[key] = doc
			docs = append(docs, doc)
		}
	}
	return docs, broken, errs
}

// Load is ParseAll and Default. If files have mistakes, those of their
// contents come with them, as far as they show without the other resources;
// if not, it leaves them to Validate, so that all come at once.
func Load(sources ...Source) ([]Document, error) {
	docs, broken, errs := parseAll(sources)
	for i := range docs {
		Default(docs[i].Resource)
	}
	if len(errs) == 0 {
		return docs, nil
	}
	for i := range docs {
		if bad := ValidateResource(docs[i].Resource); len(bad) > 0 {
			errs = append(errs, locate(bad, docs[i:i+1])...)
		}
	}
	for i := range broken {
		Default(broken[i].Resource)
		bad := slices.DeleteFunc(ValidateResource(broken[i].Resource), func(e FieldError) bool { return follows(e, broken[i].errs) })
		errs = append(errs, locate(bad, broken[i:i+1])...)
	}
	return docs, sortBySource(errs, sources).err()
}

// follows tells whether an error about the contents of a document may only be
// there because of one about its form: it is about the same field, one around
// or in it, or about a field beside it that is missing.
func follows(e FieldError, form Errors) bool {
	path, _ := cutTextLine(e.Path)
	for _, f := range form {
		around := f.Path[:max(0, strings.LastIndexAny(f.Path, ".["))]
		switch {
		case f.Path == "apiVersion", f.Path == "kind":
		case within(path, f.Path), within(f.Path, path), strings.HasPrefix(e.Message, "required") && within(path, around):
			return true
		}
	}
	return false
}

// within tells whether a path is another or leads into it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (outer == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

func parseFile(source Source) ([]Document, Errors) {
	fail := func(line int, message string) Errors {
		return Errors{{File: source.File, Line: line, Message: message}}
	}
	data := source.Data
	if len(data) > MaxFileSize {
		return nil, fail(0, fmt.Sprintf("has %d bytes; a file may have %d (64 MiB): split it", len(data), MaxFileSize))
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if line, message := notText(data); message != "" {
		return nil, fail(line, message)
	}
	var docs []Document
	var errs Errors
	for _, t := range splitTexts(data) {
		nodes, bad := t.parse(source.File)
		errs = append(errs, bad...)
		for i, n := range nodes {
			d := decoder{file: source.File, text: t.data, offset: t.line - 1}
			r := d.document(n)
			errs = append(errs, d.errs...)
			if r != nil {
				docs = append(docs, Document{Resource: r, File: source.File, Line: n.Line + t.line - 1, text: t, index: i, errs: d.errs})
			}
		}
	}
	return docs, errs
}

// splitTexts cuts a file at its document markers, so that a syntax error hides
// no other document. A line that begins with --- is a marker wherever it
// stands (YAML 1.2.2, section 9.1.2, c-forbidden).
func splitTexts(data []byte) []*text {
	var texts []*text
	start, startLine, line := 0, 1, 0
	for pos := 0; pos < len(data); {
		line++
		end := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		row := data[pos:end]
		if bytes.HasPrefix(row, []byte("---")) && (len(row) == 3 || strings.ContainsRune(" \t\r\n", rune(row[3]))) && pos > start {
			texts = append(texts, &text{data[start:pos], startLine})
			start, startLine = pos, line
		}
		pos = end
	}
	return append(texts, &text{data[start:], startLine})
}

// parse returns the documents of a text. A list on the top level is a list of
// documents, as get -o json prints.
func (t *text) parse(file string) ([]*yaml.Node, Errors) {
	if line, ok := directive(t.data); ok {
		return nil, Errors{{File: file, Line: t.line + line, Message: "YAML directives are not supported; remove the line"}}
	}
	var nodes []*yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(t.data))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return nodes, nil
		}
		if err != nil {
			return nodes, Errors{t.syntaxError(file, err)}
		}
		if n.Kind != yaml.DocumentNode || len(n.Content) != 1 {
			continue
		}
		root := n.Content[0]
		switch {
		case root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null":
		case root.Kind == yaml.SequenceNode:
			nodes = append(nodes, root.Content...)
		default:
			nodes = append(nodes, root)
		}
	}
}

// directive finds a %YAML or %TAG line ahead of a document.
func directive(data []byte) (line int, found bool) {
	for row := range bytes.Lines(data) {
		row = bytes.TrimSpace(row)
		if len(row) > 0 && row[0] != '#' {
			return line, row[0] == '%'
		}
		line++
	}
	return 0, false
}
