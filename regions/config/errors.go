package config

import (
	"fmt"
	"strconv"
	"strings"
)

// FieldError says what is wrong at one place of one resource.
type FieldError struct {
	// Where in the input, once known (Parse, Locate).
	File string
	Line int
	// Which resource; empty while not known.
	Kind, Name string
	// Which field, as spec.endpoints[0].region, spec.bias["eu-west"], or
	// spec.records:3 for the third line of a text.
	Path string
	// What is wrong and what would be right.
	Message string
}

// Error reads file.yaml:14: services "www.example.test" spec.ttl: message.
func (e FieldError) Error() string {
	var b strings.Builder
	switch {
	case e.File != "" && e.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	case e.File != "":
		fmt.Fprintf(&b, "%s: ", e.File)
	}
	subject := make([]string, 0, 3)
	if e.Kind != "" {
		subject = append(subject, Plural(e.Kind))
	}
	if e.Kind != "" && e.Name != "" {
		subject = append(subject, fmt.Sprintf("%q", e.Name))
	}
	if e.Path != "" {
		subject = append(subject, e.Path)
	}
	if len(subject) > 0 {
		b.WriteString(strings.Join(subject, " "))
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Field names resource and path in one string, as
// `services/www.example.test spec.ttl`, for the field of a
// google.rpc.BadRequest violation.
func (e FieldError) Field() string {
	if e.Kind == "" {
		return e.Path
	}
	name := e.Name
	if quoted := strconv.Quote(name); strings.Contains(name, " ") || quoted != `"`+name+`"` {
		name = quoted
	}
	if e.Path == "" {
		return Plural(e.Kind) + "/" + name
	}
	return Plural(e.Kind) + "/" + name + " " + e.Path
}

// FieldErrorOf is the inverse of Field: the error that an API reported about a
// field.
func FieldErrorOf(field, message string) FieldError {
	plural, rest, ok := strings.Cut(field, "/")
	kind, err := ParseKind(plural)
	if err != nil || !ok {
		return FieldError{Path: field, Message: message}
	}
	name, path, _ := strings.Cut(rest, " ")
	if quoted, err := strconv.QuotedPrefix(rest); err == nil && rest[0] == '"' {
		if unquoted, err := strconv.Unquote(quoted); err == nil {
			name, path = unquoted, strings.TrimPrefix(rest[len(quoted):], " ")
		}
	}
	return FieldError{Kind: kind, Name: name, Path: path, Message: message}
}

// Errors are the mistakes of one input, all of them.
type Errors []FieldError

// maxPrinted is how many errors are printed: more is no help to anybody.
const maxPrinted = 1000

// Error prints one error a line.
func (e Errors) Error() string {
	var lines []string
	for i, f := range e {
		if i == maxPrinted {
			lines = append(lines, fmt.Sprintf("and %d more", len(e)-i))
			break
		}
		lines = append(lines, f.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As its FieldErrors.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, f := range e {
		errs[i] = f
	}
	return errs
}

// err is e as an error: nil when there is none.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
