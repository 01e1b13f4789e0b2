package config

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// JSON writes resources as a JSON list in the spelling of files; Parse
// reads that too.
func (o MarshalOptions) JSON(resources []*pb.Resource) ([]byte, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, r := range resources {
		n, err := o.resourceNode(r)
		if err != nil {
			return nil, err
		}
		list.Content = append(list.Content, n)
	}
	return nodeJSON(list)
}

// MessageJSON writes any message of the API in the spelling of files.
func MessageJSON(m proto.Message) ([]byte, error) {
	n, err := anyNode(m)
	if err != nil {
		return nil, err
	}
	return nodeJSON(n)
}

func nodeJSON(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	if err := writeJSON(&out, n, "\n"); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// writeJSON writes a node that anyNode or resourceNode made; indent is a line
// break and what follows it.
func writeJSON(out *bytes.Buffer, n *yaml.Node, indent string) error {
	inner := indent + "  "
	switch n.Kind {
	case yaml.MappingNode:
		if len(n.Content) == 0 {
			out.WriteString("{}")
			return nil
		}
		for i := 0; i < len(n.Content); i += 2 {
			out.WriteString(separator(i, "{") + inner)
			if err := writeText(out, n.Content[i].Value); err != nil {
				return err
			}
			out.WriteString(": ")
			if err := writeJSON(out, n.Content[i+1], inner); err != nil {
				return err
			}
		}
		out.WriteString(indent + "}")
	case yaml.SequenceNode:
		if len(n.Content) == 0 {
			out.WriteString("[]")
			return nil
		}
		for i, item := range n.Content {
			out.WriteString(separator(i, "[") + inner)
			if err := writeJSON(out, item, inner); err != nil {
				return err
			}
		}
		out.WriteString(indent + "]")
	default:
		if n.Tag == "!!str" {
			return writeText(out, n.Value)
		}
		out.WriteString(n.Value)
	}
	return nil
}

func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ","
}

func writeText(out *bytes.Buffer, s string) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return fmt.Errorf("%q as JSON: %w", s, err)
	}
	out.Truncate(out.Len() - 1) // the encoder ends with a line break
	return nil
}
