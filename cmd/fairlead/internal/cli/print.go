package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// format is what -o asks for.
type format string

// The formats.
const (
	formatTable format = "table"
	formatWide  format = "wide"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	formatName  format = "name"
)

var formats = []format{formatTable, formatWide, formatJSON, formatYAML, formatName}

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	if !slices.Contains(formats, format(s)) {
		return fmt.Errorf("want table, wide, json, yaml or name")
	}
	*f = format(s)
	return nil
}

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *format) Type() string { return "FORMAT" }

// outputFlag adds -o; names says what -o name prints.
func outputFlag(c *cobra.Command, f *format, names string) {
	*f = formatTable
	c.Flags().VarP(f, "output", "o", "table, wide, json, yaml or name ("+names+")")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json", "yaml", "name"}, cobra.ShellCompDirectiveNoFileComp))
}

// emit prints a response in the format that -o asks for: names are what `name`
// prints, and human writes for people.
func (a *app) emit(f format, m proto.Message, names []string, human func(p *printer)) error {
	switch f {
	case formatJSON:
		return a.write(config.MessageJSON(m))
	case formatYAML:
		return a.write(config.MessageYAML(m))
	case formatName:
		return a.writeNames(names)
	}
	p := a.printer()
	p.wide = f == formatWide
	human(p)
	return a.write(p.Bytes(), nil)
}

// jsonLine is a message as one line.
func jsonLine(m proto.Message) ([]byte, error) {
	text, err := config.MessageJSON(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return nil, err
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n'), nil
}

func (a *app) write(b []byte, err error) error {
	if err != nil {
		return err
	}
	if _, err := a.Out.Write(b); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

func (a *app) writeNames(names []string) error {
	var b strings.Builder
	for _, n := range names {
		b.WriteString(clean(n) + "\n")
	}
	_, err := io.WriteString(a.Out, b.String())
	return err
}

func (a *app) printer() *printer { return &printer{colour: a.Colour, now: a.Now()} }

// printer collects text for people.
type printer struct {
	bytes.Buffer
	colour bool
	wide   bool
	now    time.Time
}

// style is an SGR sequence's parameter.
type style string

const (
	plain  style = ""
	bold   style = "1"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	alarm  style = "1;31"
)

// paint puts a style around a text, for a terminal.
func (p *printer) paint(s style, text string) string {
	if !p.colour || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// linef writes one line.
func (p *printer) linef(s style, format string, args ...any) {
	p.WriteString(p.paint(s, clean(fmt.Sprintf(format, args...))) + "\n")
}

// clean makes text that others wrote safe for a terminal and for one line:
// control characters become escapes.
func clean(s string) string {
	safe := func(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case safe(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteByte(' ')
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// cleanLines is clean for several lines.
func cleanLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// moment is a time as scripts and logs have it.
func moment(at *timestamppb.Timestamp) string {
	if at == nil {
		return ""
	}
	return at.AsTime().UTC().Format(time.RFC3339)
}

// few lists the first of many.
func few(all []string, most int) string {
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
}

func generation(g *pb.Generation) regions.Generation {
	return regions.Generation{Epoch: g.GetEpoch(), Revision: g.GetRevision()}
}

// inGeneration closes a report: the generation, if there is one yet.
func inGeneration(g *pb.Generation) string {
	if gen := generation(g); !gen.IsZero() {
		return "generation " + gen.String()
	}
	return "no generation yet"
}

// human is a duration as people say it, in two units at most: 3m12s, 4d2h.
func human(d time.Duration) string {
	two := func(big int64, bigUnit string, small int64, smallUnit string) string {
		if small == 0 {
			return fmt.Sprintf("%d%s", big, bigUnit)
		}
		return fmt.Sprintf("%d%s%d%s", big, bigUnit, small, smallUnit)
	}
	s := int64(d / time.Second)
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return two(s/60, "m", s%60, "s")
	case s < 86400:
		return two(s/3600, "h", s%3600/60, "m")
	default:
		return two(s/86400, "d", s%86400/3600, "h")
	}
}

func millis(ms uint64) string {
	const most = uint64(1<<63-1) / uint64(time.Millisecond)
	return human(time.Duration(min(ms, most)) * time.Millisecond)
}

// exact is a duration as in files: 1m30s, never rounded.
func exact(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// word is the value of an enumeration as files spell it: serve-all for
// ALL_DOWN_SERVE_ALL.
func word(v interface {
	String() string
}, prefix string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(v.String(), prefix), "_", "-"))
}
