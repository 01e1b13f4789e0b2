package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	jsonType  = "application/json"
	lineType  = "application/x-ndjson"
	eventType = "text/event-stream"
)

// framing is how the messages of a stream are told apart.
type framing struct{ contentType, before, after string }

var (
	lines  = framing{lineType, "", "\n"}
	events = framing{eventType, "data: ", "\n\n"} // HTML, section 9.2.6: an event is one data line
)

// marshaler is JSON as protojson has it: names in lowerCamelCase, zero values
// left out, and unknown fields refused.
type marshaler struct {
	runtime.JSONPb
	framing framing
}

func newMarshaler(f framing) *marshaler { return &marshaler{framing: f} }

// Marshal implements runtime.Marshaler. Of a stream it is called for each
// message, which holds no line break.
func (m *marshaler) Marshal(v any) ([]byte, error) {
	b, err := m.JSONPb.Marshal(v)
	if err != nil || m.framing.before == "" {
		return b, err
	}
	return append([]byte(m.framing.before), b...), nil
}

// Delimiter implements runtime.Delimited.
func (m *marshaler) Delimiter() []byte { return []byte(m.framing.after) }

// StreamContentType implements runtime.StreamContentType.
func (m *marshaler) StreamContentType(any) string { return m.framing.contentType }

// NewDecoder implements runtime.Marshaler. An empty body is io.EOF, which the
// generated code takes for an empty message.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		body, ok := r.(*requestBody)
		msg, isMessage := v.(proto.Message)
		if !ok || !isMessage {
			return fmt.Errorf("rest: cannot decode %T into %T", r, v)
		}
		if len(bytes.TrimSpace(body.data)) == 0 {
			return io.EOF
		}
		data, all := allFields(body.data, msg)
		if err := protojson.Unmarshal(data, msg); err != nil {
			return wrongBody(err)
		}
		if all {
			msg.(*pb.UpdateResourceRequest).UpdateMask = &fieldmaskpb.FieldMask{Paths: []string{"*"}}
		}
		for name, want := range body.path {
			if got := textAt(msg.ProtoReflect(), strings.Split(name, ".")); got != "" && got != want {
				return fmt.Errorf("body: %s is %.80q, and the path says %.80q; leave it out of the body", name, got, want)
			}
		}
		return nil
	})
}

// allFields tells whether an update asks for the mask *, which protojson takes
// for no path, and if so returns the body with an empty mask in its place, at
// equal length so that positions in errors stay right.
func allFields(data []byte, msg proto.Message) ([]byte, bool) {
	const all, none = `"*"`, `"" `
	if _, ok := msg.(*pb.UpdateResourceRequest); !ok || !bytes.Contains(data, []byte(all)) {
		return data, false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return data, false
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return data, false
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return data, false
		}
		if (key == "updateMask" || key == "update_mask") && string(value) == all {
			end := d.InputOffset()
			return slices.Concat(data[:end-int64(len(all))], []byte(none), data[end:]), true
		}
	}
	return data, false
}

// wrongBody words protojson's errors, which vary in their white space so that
// nobody compares them.
func wrongBody(err error) error {
	text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
	if len(text) > 512 {
		text = strings.ToValidUTF8(text[:512], "") + "…"
	}
	if strings.Contains(text, "unknown field") {
		text += "; GET " + openAPIPath + " lists the fields"
	}
	return errors.New("body: " + text)
}

// textAt is the text of a field below a message, and empty when it is not set.
func textAt(m protoreflect.Message, path []string) string {
	f := m.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case f == nil || !m.Has(f):
		return ""
	case len(path) == 1:
		return m.Get(f).String()
	case f.Message() == nil || f.IsList() || f.IsMap():
		return ""
	}
	return textAt(m.Get(f).Message(), path[1:])
}
