package options

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	yaml "go.yaml.in/yaml/v3"

	"github.com/fairlead-dns/fairlead/regions/config"
)

// maxFile bounds a file of options, in bytes.
const maxFile = 1 << 20

// File is options as a file has them.
type File struct {
	Path string
	// Mode is the file's; one that others than its owner can get at holds no
	// secrets.
	Mode os.FileMode
	// Node is their map; nil: there are none.
	Node *yaml.Node
	// At is where in the file they are, as in options.timeout; empty: at the top.
	At string
	// Others are names that are right and no flags of this command.
	Others []string
	// Hints say what a name means that is wrong here, for names that are
	// something elsewhere.
	Hints map[string]string
}

// Read reads a file of options.
func Read(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("--%s: %w", ConfigFlag, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{}, fmt.Errorf("--%s: %w", ConfigFlag, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return File{}, fmt.Errorf("--%s: %w", ConfigFlag, err)
	case len(data) > maxFile:
		return File{}, fmt.Errorf("--%s: %s has more than %d KiB: is that a file of options?", ConfigFlag, path, maxFile>>10)
	}
	file, err := Parse(path, data)
	file.Mode = info.Mode().Perm()
	return file, err
}

// hints are for files of another kind in the place of options.
var hints = map[string]string{
	"contexts":   "this is a file of contexts, of the operator's tool fairlead",
	"current":    "this is a file of contexts, of the operator's tool fairlead",
	"apiVersion": "this is a file of resources, for fairlead apply -f",
	"kind":       "this is a file of resources, for fairlead apply -f",
}

// Parse parses a file of options: one YAML document, a map.
func Parse(path string, data []byte) (File, error) {
	file := File{Path: path, Hints: hints}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return file, nil
	case err != nil:
		return file, yamlError(path, err)
	}
	switch err := dec.Decode(&yaml.Node{}); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return file, yamlError(path, err)
	default:
		return file, fmt.Errorf("%s: want one YAML document", path)
	}
	if n := doc.Content[0]; n.Kind != yaml.ScalarNode || n.Tag != "!!null" {
		file.Node = n
	}
	return file, nil
}

// yamlError puts the line where editors look for it.
func yamlError(path string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if line, what, ok := strings.Cut(rest, ": "); ok {
			return fmt.Errorf("%s:%s: %s", path, line, what)
		}
	}
	return fmt.Errorf("%s: %s", path, text)
}

// Fill sets the flags that were not given from the file. What was given is
// checked all the same. The error holds all mistakes, each with its line.
func (o File) Fill(f *pflag.FlagSet) error {
	if o.Node == nil {
		return nil
	}
	if o.Node.Kind != yaml.MappingNode {
		return o.wrong(o.Node, "", "want options, as log-level: info")
	}
	var errs []error
	seen := map[string]int{}
	for i := 0; i+1 < len(o.Node.Content); i += 2 {
		key, value := o.Node.Content[i], o.Node.Content[i+1]
		name := key.Value
		switch before, twice := seen[name]; {
		case key.Kind != yaml.ScalarNode || name == "":
			errs = append(errs, o.wrong(key, "", "want the name of an option before the colon, as log-level"))
			continue
		case twice:
			errs = append(errs, o.wrong(key, name, "given twice, first in line %d", before))
			continue
		}
		seen[name] = key.Line
		if err := o.fill(f, key, value); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// fill sets one flag.
func (o File) fill(f *pflag.FlagSet, key, value *yaml.Node) error {
	name := key.Value
	flag := f.Lookup(name)
	if flag == nil || !fromOutside(flag) {
		return o.unknown(f, key, flag != nil)
	}
	if why := flag.Annotations[notInFile]; why != nil {
		return o.wrong(key, name, "%s", why[0])
	}
	texts, problem := read(flag, value)
	if problem != "" && flag.Annotations[secret] != nil {
		problem = "want a text: put it in quotes" // and do not show it
	}
	if problem == "" && flag.Annotations[secret] != nil && texts[0] != "" && o.Mode&0o077 != 0 {
		problem = fmt.Sprintf("is a secret, and the file has mode %04o, so that others than its owner can get at it: run chmod 600 %s", o.Mode, o.Path)
	}
	if problem != "" {
		return o.wrong(value, name, "%s", problem)
	}
	if flag.Changed {
		return nil
	}
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		// Not Set, which takes a comma in a text for the end of it.
		flag.Changed = true
		if err := list.Replace(texts); err != nil {
			return o.wrong(value, name, "%v", err)
		}
	} else if err := f.Set(name, texts[0]); err != nil {
		return o.wrong(value, name, "%v", cause(err))
	}
	from(flag, fmt.Sprintf("file %s:%d", o.Path, key.Line))
	return nil
}

// unknown says what may have been meant.
func (o File) unknown(f *pflag.FlagSet, key *yaml.Node, hidden bool) error {
	name := key.Value
	switch {
	case slices.Contains(o.Others, name):
		return nil
	case hidden:
		return o.wrong(key, name, "is for the command line only")
	case o.Hints[name] != "":
		return o.wrong(key, name, "no such option: %s", o.Hints[name])
	}
	names := slices.Clone(o.Others)
	f.VisitAll(func(flag *pflag.Flag) {
		if InFile(flag) {
			names = append(names, flag.Name)
		}
	})
	hint := config.Suggest(strings.TrimPrefix(name, "--"), names)
	if hint == "" {
		hint = "; --help lists the options"
	}
	return o.wrong(key, name, "no such option%s", hint)
}

func (o File) wrong(n *yaml.Node, name, format string, args ...any) error {
	at := strings.Trim(o.At+"."+clean(name), ".")
	if at != "" {
		at += ": "
	}
	return fmt.Errorf("%s:%d: %s"+format, append([]any{o.Path, n.Line, at}, args...)...)
}

// clean bounds what is shown of a name that may be anything.
func clean(name string) string {
	if q := strconv.Quote(name); len(name) > 60 || q != `"`+name+`"` {
		return fmt.Sprintf("%.60q", name)
	}
	return name
}

// read is a value's texts as flags take them, or what is wrong with it.
func read(flag *pflag.Flag, n *yaml.Node) (texts []string, problem string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch _, list := flag.Value.(pflag.SliceValue); {
	case list:
		return readList(flag, n)
	case n.Kind == yaml.SequenceNode:
		return nil, "want one value, not a list"
	case n.Kind != yaml.ScalarNode:
		return nil, "want one value, not fields"
	case n.Tag == "!!null":
		want := wanted(flag)
		if want == "" {
			want = "one"
		}
		return nil, "has no value: want " + want + ", or no such line"
	}
	text, problem := readText(flag.Value.Type(), n)
	if problem == "" && flag.Value.Type() != "string" {
		problem = try(flag, text)
	}
	return []string{text}, problem
}

func readList(flag *pflag.Flag, n *yaml.Node) (texts []string, problem string) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil, "has no value: want a list, or no such line"
	}
	if n.Kind != yaml.SequenceNode {
		example := "a, b"
		if n.Kind == yaml.ScalarNode && n.Value != "" {
			quoted := strings.Split(n.Value, ",")
			for i, text := range quoted {
				quoted[i] = strconv.Quote(strings.TrimSpace(text))
			}
			example = strings.Join(quoted, ", ")
		}
		return nil, "want a list, as [" + example + "]"
	}
	for i, item := range n.Content {
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
			return nil, fmt.Sprintf("want texts, and number %d of the list is none", i+1)
		}
		text, problem := readText("string", item)
		if problem != "" {
			return nil, fmt.Sprintf("number %d of the list: %s", i+1, problem)
		}
		texts = append(texts, text)
	}
	return texts, ""
}

// readText is a scalar's text, if it is of the type that a flag wants. What
// YAML takes for a number or a truth is no text: it may be read as another one
// than was written (1e3, 0777).
func readText(kind string, n *yaml.Node) (text, problem string) {
	number, truth := n.Tag == "!!int" || n.Tag == "!!float", n.Tag == "!!bool"
	switch kind {
	case "bool":
		if !truth {
			return "", fmt.Sprintf("%s: want true or false, without quotes", clean(n.Value))
		}
	case "int", "int32", "int64", "uint", "uint16", "uint32", "uint64":
		if n.Tag != "!!int" {
			return "", fmt.Sprintf("%s: want a whole number, without quotes", clean(n.Value))
		}
	case "duration":
		if number {
			return "", fmt.Sprintf("%s: want a duration with its unit, as %ss", n.Value, n.Value)
		}
	default:
		if number || truth || n.Tag == "!!timestamp" {
			return "", fmt.Sprintf("%s: want a text: put it in quotes, as %q", n.Value, n.Value)
		}
	}
	return n.Value, ""
}

// try says why a flag would not take a text, without setting it.
func try(flag *pflag.Flag, text string) string {
	var err error
	switch flag.Value.Type() {
	case "bool":
		_, err = strconv.ParseBool(text)
	case "duration":
		_, err = time.ParseDuration(text)
	case "uint16":
		_, err = strconv.ParseUint(text, 0, 16)
	case "int", "int32", "int64":
		_, err = strconv.ParseInt(text, 0, 64)
	case "uint", "uint32", "uint64":
		_, err = strconv.ParseUint(text, 0, 64)
	}
	if err != nil {
		return fmt.Sprintf("%s: want %s", clean(text), wanted(flag))
	}
	return ""
}
