package cli

import (
	"bytes"
	"encoding/json"
	"time"

	yaml "go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// document is a JSON object that is built field by field, in order.
type document struct {
	bytes.Buffer
	err error
}

// add adds a field; nil adds none.
func (d *document) add(name string, value any) {
	var text []byte
	var err error
	switch v := value.(type) {
	case proto.Message:
		text, err = config.MessageJSON(v)
	default:
		text, err = json.Marshal(v)
	}
	if err != nil {
		d.err = err
		return
	}
	if d.Len() > 0 {
		d.WriteByte(',')
	}
	key, _ := json.Marshal(name)
	d.Write(append(append(key, ':'), text...))
}

// fields adds the fields of a message.
func (d *document) fields(m proto.Message, leaveOut ...string) {
	text, err := config.MessageJSON(m)
	if err != nil {
		d.err = err
		return
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		d.err = err
		return
	}
	for dec.More() {
		key, err := dec.Token()
		var value json.RawMessage
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			d.err = err
			return
		}
		name, _ := key.(string)
		skip := false
		for _, l := range leaveOut {
			skip = skip || l == name
		}
		if !skip {
			d.add(name, value)
		}
	}
}

// emitDocument prints a document as -o json or -o yaml.
func (a *app) emitDocument(f format, d *document) error {
	if d.err != nil {
		return d.err
	}
	text := "{" + d.String() + "}"
	if f == formatYAML {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(text), &n); err != nil {
			return err
		}
		unflow(&n)
		return a.write(encode(n.Content[0]))
	}
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(text), "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	return a.write(b.Bytes(), nil)
}

// unflow gives a document that was read as JSON the form of YAML.
func unflow(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		unflow(c)
	}
}

// emitChanged is emit for a change of overrides: as JSON and YAML one document with
// what else holds the scope and all that was confirmed.
func (a *app) emitChanged(f format, d *changed, x *confirmation, human func(p *printer)) error {
	if f != formatJSON && f != formatYAML {
		return a.emit(f, d.response, d.names(), human)
	}
	var out document
	if x == nil {
		out.fields(d.response)
	} else {
		out.fields(d.response, "convergence")
	}
	if d.stood {
		out.add("stoodAlready", true)
	}
	d.held.add(&out)
	if x != nil {
		x.add(&out, a.Now())
	}
	return a.emitDocument(f, &out)
}

// add adds what was confirmed to a document for machines.
func (x *confirmation) add(out *document, now time.Time) {
	last := x.last
	if last == nil {
		last = &pb.GetOverrideProgressResponse{}
	}
	out.add("convergence", last.GetConvergence())
	out.add("converged", x.served > 0)
	if len(last.GetNameservers()) > 0 {
		out.add("nameservers", messages(last.GetNameservers(), out))
	}
	if left, known := x.clockLeft(now); known || x.withdraws && len(last.GetUnknown()) > 0 {
		drain := map[string]any{"largestTtlSeconds": last.GetTtl(), "remainingMillis": left.Milliseconds(), "expired": x.cached > 0, "unknown": append([]string{}, last.GetUnknown()...)}
		if left > 0 {
			drain["cachedUntil"] = now.Add(left).UTC().Format(time.RFC3339)
		}
		out.add("drainClock", drain)
		out.add("lastResortAnswers", last.GetLastResortAnswers())
		out.add("stillAnswering", append([]string{}, x.stillAnswers()...))
	}
	if x.older != "" {
		out.add("note", x.older)
	}
	timings := map[string]int64{"committedMillis": x.committed.Milliseconds(), "waitedMillis": x.waited.Milliseconds()}
	if x.served > 0 {
		timings["servedMillis"] = x.served.Milliseconds()
	}
	if x.cached > 0 {
		timings["cachesMillis"] = x.cached.Milliseconds()
	}
	out.add("timings", timings)
}

// messages are messages as a list.
func messages[M proto.Message](list []M, d *document) []json.RawMessage {
	out := []json.RawMessage{}
	for _, m := range list {
		text, err := config.MessageJSON(m)
		if err != nil {
			d.err = err
		}
		out = append(out, text)
	}
	return out
}
