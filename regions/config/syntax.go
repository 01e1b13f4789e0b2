package config

import (
	"bytes"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// notText says what is wrong with a file that is not text of UTF-8 at all, and
// on which line; or "".
func notText(data []byte) (line int, message string) {
	if utf8.Valid(data) && bytes.IndexByte(data, 0) < 0 {
		return 0, ""
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return 1, "is UTF-16 text; save it as UTF-8"
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return 0, "is a binary file; want YAML text"
	}
	line = 1
	for {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			return line, fmt.Sprintf("is not UTF-8 text (the byte 0x%02X); save it as UTF-8", data[0])
		}
		if r == '\n' {
			line++
		}
		data = data[n:]
	}
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
	if line, r := firstControl(t.data); strings.HasPrefix(m[2], "control characters") && line > 0 {
		e.Line = t.line + line - 1
		e.Message = fmt.Sprintf("is not YAML: holds the control character %U", r)
		return e
	}
	if line := t.conflict(); line > 0 {
		e.Line = line
		e.Message = "is not YAML: the marks of a merge conflict are in it; resolve it"
		return e
	}
	hint := ""
	switch {
	case t.hyphens(e.Line) > 0:
		e.Line = t.hyphens(e.Line)
		hint = " (documents are separated by a line of three hyphens, not indented)"
	case strings.Contains(t.row(e.Line), "{{"):
		hint = " (templates are not filled in here)"
	case strings.Contains(m[2], "cannot start any token"):
		hint = " (YAML is indented with spaces, not tabs; a text that begins with @, ` or % needs quotes)"
	case strings.Contains(m[2], "mapping values are not allowed"):
		hint = " (is the line indented too far, or does a text with a colon need quotes?)"
	case strings.Contains(m[2], "found a tab character"):
		hint = " (YAML is indented with spaces, not tabs)"
	case strings.Contains(m[2], "did not find expected ',' or"):
		hint = " (is a bracket not closed, or a comma missing?)"
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

// row is a line of the file.
func (t *text) row(line int) string {
	for row := range bytes.Lines(t.data) {
		if line--; line == t.line-1 {
			return string(row)
		}
	}
	return ""
}

// hyphens is the line near another that was meant to be a document marker, or 0.
func (t *text) hyphens(line int) int {
	for _, l := range []int{line, line - 1} {
		row := t.row(l)
		if word := strings.TrimSpace(row); len(word) >= 2 && strings.Trim(word, "-") == "" && strings.TrimRight(row, " \t\r\n") != "---" {
			return l
		}
	}
	return 0
}

// conflict is the line of the first mark of a merge conflict, or 0.
func (t *text) conflict() int {
	line := t.line
	for row := range bytes.Lines(t.data) {
		if bytes.HasPrefix(row, []byte("<<<<<<< ")) || bytes.HasPrefix(row, []byte(">>>>>>> ")) {
			return line
		}
		line++
	}
	return 0
}

// firstControl finds the first character that YAML does not allow (YAML 1.2.2
// section 5.1), and its line from 1.
func firstControl(data []byte) (line int, r rune) {
	line = 1
	for _, r := range string(data) {
		switch {
		case r == '\n':
			line++
		case r < ' ' && r != '\t' && r != '\r', r >= 0x7f && r < 0xa0 && r != 0x85, r == 0xfffe, r == 0xffff:
			return line, r
		}
	}
	return 0, 0
}

// maxFirstWrong bounds the search for a better line, which parses the text
// several times.
const maxFirstWrong = 256 << 10

// firstWrong is the number of lines, from 1, of the shortest beginning of the
// text that fails as all of it does.
func (t *text) firstWrong(message string) int {
	if len(t.data) > maxFirstWrong {
		return 0
	}
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
