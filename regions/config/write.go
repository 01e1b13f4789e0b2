package config

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// The two notations are written here rather than by a library: the shapes are
// few, the style is ours (short lists in a line, texts of several lines as
// blocks), and go-yaml's emitter keeps every event of a stream in memory.
// TestTextRoundTrip holds them against the library's reader.

// appendYAML writes a document.
func appendYAML(out []byte, n node) []byte {
	if n.shape == mapShape && len(n.items) > 0 {
		return appendMap(out, n, "", true)
	}
	out = appendInline(out, n)
	return append(out, '\n')
}

// appendMap writes the fields of a map, each on lines of its own. The first is
// not indented if it follows the dash of a list item.
func appendMap(out []byte, n node, indent string, indentFirst bool) []byte {
	for i, key := range n.keys {
		if i > 0 || indentFirst {
			out = append(out, indent...)
		}
		out = appendWord(out, key)
		out = append(out, ':')
		out = appendField(out, n.items[i], indent)
	}
	return out
}

// appendField writes what follows the colon.
func appendField(out []byte, n node, indent string) []byte {
	inner := indent + "  "
	switch {
	case n.shape == mapShape && len(n.items) > 0:
		return appendMap(append(out, '\n'), n, inner, true)
	case n.shape == listShape && !fitsLine(n):
		out = append(out, '\n')
		for _, item := range n.items {
			out = append(append(out, inner...), "- "...)
			if item.shape == mapShape && len(item.items) > 0 {
				out = appendMap(out, item, inner+"  ", false)
			} else {
				out = append(appendInline(out, item), '\n')
			}
		}
		return out
	case n.shape == textShape && isBlock(n.text):
		out = append(out, " |"...)
		if !strings.HasSuffix(n.text, "\n") {
			out = append(out, '-') // no line break at the end
		}
		out = append(out, '\n')
		for line := range strings.Lines(n.text) {
			if line != "\n" {
				out = append(out, inner...)
			}
			out = append(out, line...)
		}
		if !strings.HasSuffix(n.text, "\n") {
			out = append(out, '\n')
		}
		return out
	default:
		out = append(out, ' ')
		return append(appendInline(out, n), '\n')
	}
}

// fitsLine tells whether a list is written as [a, b].
func fitsLine(n node) bool {
	for _, item := range n.items {
		if item.shape == mapShape && len(item.items) > 0 || item.shape == listShape || len(item.text) > 64 {
			return false
		}
	}
	return true
}

// appendInline writes what has no lines of its own.
func appendInline(out []byte, n node) []byte {
	switch n.shape {
	case mapShape:
		return append(out, "{}"...)
	case listShape:
		out = append(out, '[')
		for i, item := range n.items {
			if i > 0 {
				out = append(out, ", "...)
			}
			out = appendInline(out, item)
		}
		return append(out, ']')
	case numberShape:
		return append(out, n.text...)
	default:
		return appendWord(out, n.text)
	}
}

// bareWord is a text that means the same, unquoted, to every YAML reader, were
// it not for oldWords: a word, an IPv4 address or prefix, a duration.
var bareWord = regexp.MustCompile(`^([A-Za-z_/][A-Za-z0-9_./:*+-]*[A-Za-z0-9_./*+-]` +
	`|[A-Za-z_/]` +
	`|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(/[0-9]+)?` +
	`|([0-9]+(\.[0-9]+)?(h|m|s|ms|µs|ns))+)$`)

// oldWords are booleans and nulls to readers of YAML 1.1: NO is Norway.
var oldWords = []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

// appendWord writes a text, in quotes where it needs them.
func appendWord(out []byte, s string) []byte {
	if len(s) > 256 || !bareWord.MatchString(s) || len(s) <= 5 && slices.Contains(oldWords, strings.ToLower(s)) {
		return appendQuoted(out, s)
	}
	return append(out, s...)
}

// isBlock tells whether a text can be a literal block: several lines, none of
// which begins or ends so that a reader would take it for something else.
func isBlock(s string) bool {
	if !strings.Contains(s, "\n") || strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\t") ||
		strings.HasPrefix(s, "\n") || strings.HasSuffix(s, "\n\n") {
		return false
	}
	for line := range strings.SplitSeq(s, "\n") {
		if strings.HasSuffix(line, " ") || strings.HasSuffix(line, "\t") {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || needsEscape(r) || r == '\u2028' || r == '\u2029'
	})
}

// appendQuoted writes a text in double quotes, as JSON does, and so that a
// YAML reader takes it for the same: control characters and foreign line
// breaks are escaped, which JSON leaves to the writer (RFC 8259 section 7).
func appendQuoted(out []byte, s string) []byte {
	var quoted strings.Builder
	enc := json.NewEncoder(&quoted)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string and a strings.Builder cannot fail
	}
	text := strings.TrimSuffix(quoted.String(), "\n")
	if !strings.ContainsFunc(text, needsEscape) {
		return append(out, text...)
	}
	const digits = "0123456789abcdef"
	for _, r := range text {
		if needsEscape(r) {
			out = append(out, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

func needsEscape(r rune) bool {
	return r >= 0x7f && r < 0xa0 || r == 0xfeff || r == 0xfffe || r == 0xffff
}

// appendJSON writes n; indent is a line break and what follows it.
func appendJSON(out []byte, n node, indent string) []byte {
	inner := indent + "  "
	switch n.shape {
	case mapShape, listShape:
		open, end := "{", "}"
		if n.shape == listShape {
			open, end = "[", "]"
		}
		if len(n.items) == 0 {
			return append(append(out, open...), end...)
		}
		for i, item := range n.items {
			if i > 0 {
				open = ","
			}
			out = append(append(out, open...), inner...)
			if n.shape == mapShape {
				out = append(appendQuoted(out, n.keys[i]), ": "...)
			}
			out = appendJSON(out, item, inner)
		}
		return append(append(out, indent...), end...)
	case numberShape:
		return append(out, n.text...)
	default:
		return appendQuoted(out, n.text)
	}
}
