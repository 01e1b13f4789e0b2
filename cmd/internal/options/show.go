package options

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	yaml "go.yaml.in/yaml/v3"

	"github.com/fairlead-dns/fairlead/regions/config"
)

// Show prints the options in effect as a file for --config would hold them,
// each with where it is from.
func Show(w io.Writer, f *pflag.FlagSet) error {
	type line struct{ text, from string }
	var lines []line
	var failed error
	width := 0
	f.VisitAll(func(flag *pflag.Flag) {
		if !InFile(flag) {
			return
		}
		text, err := entry(flag)
		if err != nil {
			failed = err
		}
		where := "default"
		switch o := flag.Annotations[origin]; {
		case o != nil:
			where = o[0]
		case flag.Changed:
			where = "--" + flag.Name
		}
		lines = append(lines, line{text, where})
		width = max(width, min(len(text), 60))
	})
	if failed != nil {
		return failed
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "%-*s  # %s\n", width, l.text, l.from); err != nil {
			return err
		}
	}
	return nil
}

// entry is a flag's name and value as YAML, on one line.
func entry(flag *pflag.Flag) (string, error) {
	if flag.Annotations[secret] != nil && flag.Value.String() != "" {
		return "# " + flag.Name + ": (not shown)", nil
	}
	value := yaml.Node{Kind: yaml.ScalarNode, Value: flag.Value.String()}
	list, isList := flag.Value.(pflag.SliceValue)
	switch {
	case isList:
		value = yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, text := range list.GetSlice() {
			value.Content = append(value.Content, textNode(text))
		}
	case slices.Contains([]string{"bool", "int", "int32", "int64", "uint", "uint16", "uint32", "uint64"}, flag.Value.Type()):
	default:
		value = *textNode(flag.Value.String())
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	doc := yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode(flag.Name), &value}}
	if err := enc.Encode(&doc); err != nil {
		return "", err
	}
	return strings.TrimRight(b.String(), "\n"), nil
}

func textNode(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	if strings.ContainsAny(text, "\n\r") {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// Strangers says which environment variables begin as those of options do and
// are none, where one that is was probably meant. Others may be of another
// program.
func Strangers(f *pflag.FlagSet) []string {
	var names, out []string
	f.VisitAll(func(flag *pflag.Flag) {
		if fromOutside(flag) {
			names = append(names, Variable(flag.Name))
		}
	})
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "FAIRLEAD_") || slices.Contains(names, name) {
			continue
		}
		if hint := config.Suggest(name, names); strings.Contains(hint, "did you mean") {
			out = append(out, name+" is no option here"+hint)
		}
	}
	slices.Sort(out)
	return out
}
