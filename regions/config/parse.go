package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

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
	index    int // among the documents of the text
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
	var docs []Document
	var errs Errors
	seen := map[Key]Document{}
	for _, source := range sources {
		parsed, bad := parseFile(source)
		errs = append(errs, bad...)
		for _, doc := range parsed {
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
	return docs, sortBySource(errs, sources).err()
}

// Load is ParseAll and Default. If files have mistakes, those of their
// contents come with them, as far as they show without the other resources;
// if not, it leaves them to Validate, so that all come at once.
func Load(sources ...Source) ([]Document, error) {
	docs, err := ParseAll(sources...)
	var errs Errors
	errors.As(err, &errs)
	for i := range docs {
		Default(docs[i].Resource)
		if len(errs) == 0 {
			continue
		}
		if bad := ValidateResource(docs[i].Resource); len(bad) > 0 {
			errs = append(errs, locate(bad, docs[i:i+1])...)
		}
	}
	return docs, sortBySource(errs, sources).err()
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
	if !utf8.Valid(data) {
		line := 1
		for rest := data; len(rest) > 0; {
			r, n := utf8.DecodeRune(rest)
			if r == utf8.RuneError && n == 1 {
				break
			}
			if r == '\n' {
				line++
			}
			rest = rest[n:]
		}
		return nil, fail(line, "is not UTF-8 text")
	}
	var docs []Document
	var errs Errors
	for _, t := range splitTexts(data) {
		nodes, bad := t.parse(source.File)
		errs = append(errs, bad...)
		for i, n := range nodes {
			d := decoder{file: source.File, offset: t.line - 1}
			r := d.document(n)
			errs = append(errs, d.errs...)
			if r != nil && len(d.errs) == 0 {
				docs = append(docs, Document{Resource: r, File: source.File, Line: n.Line + t.line - 1, text: t, index: i})
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

var yamlError = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// syntaxError makes an error of the YAML library one of ours.
func (t *text) syntaxError(file string, err error) FieldError {
	e := FieldError{File: file, Line: t.line, Message: "is not YAML: " + err.Error()}
	m := yamlError.FindStringSubmatch(err.Error())
	if m == nil {
		return e
	}
	if line, convErr := strconv.Atoi(m[1]); convErr == nil {
		// The library counts from 0 in what its parser says, from 1 in what
		// its scanner says.
		parser := strings.HasPrefix(m[2], "did not find expected")
		if parser {
			line++
		}
		e.Line = t.line + max(line, 1) - 1
		if parser {
			// And it says where the list or map begins that something is wrong
			// in; the first line that makes it wrong is of more use.
			e.Line = max(e.Line, t.line+t.firstWrong(m[2])-1)
		}
		e.Line = min(e.Line, t.line+bytes.Count(bytes.TrimSuffix(t.data, []byte{'\n'}), []byte{'\n'}))
	}
	hint := ""
	switch {
	case strings.Contains(m[2], "cannot start any token"):
		hint = " (YAML is indented with spaces, not tabs; a text that begins with @, ` or % needs quotes)"
	case strings.Contains(m[2], "mapping values are not allowed"):
		hint = " (is the line indented too far, or does a text with a colon need quotes?)"
	case strings.Contains(m[2], "did not find expected key"), strings.Contains(m[2], "could not find expected ':'"):
		hint = " (near this line: check the indentation, quotes and colons)"
	case strings.Contains(m[2], "unexpected end of stream"):
		hint = " (is a quote not closed?)"
	case strings.HasPrefix(m[2], "unknown anchor"):
		hint = ": aliases are not supported; write the value out"
	}
	e.Message = "is not YAML: " + m[2] + hint
	return e
}

// firstWrong is the number of lines, from 1, of the shortest beginning of the
// text that fails as all of it does.
func (t *text) firstWrong(message string) int {
	var ends []int
	for i, c := range t.data {
		if c == '\n' || i == len(t.data)-1 {
			ends = append(ends, i+1)
		}
	}
	return 1 + sort.Search(len(ends)-1, func(i int) bool {
		dec := yaml.NewDecoder(bytes.NewReader(t.data[:ends[i]]))
		for {
			var n yaml.Node
			if err := dec.Decode(&n); err != nil {
				return strings.HasSuffix(err.Error(), message)
			}
		}
	})
}
