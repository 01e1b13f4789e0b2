package config

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const apiVersion = "fairlead/v1"

const (
	durationName  = protoreflect.FullName("google.protobuf.Duration")
	timestampName = protoreflect.FullName("google.protobuf.Timestamp")
)

// enumPrefix is what the values of an enumeration begin with in the proto:
// ALL_DOWN_ for AllDown.
func enumPrefix(ed protoreflect.EnumDescriptor) string {
	return strings.TrimSuffix(string(ed.Values().Get(0).Name()), "UNSPECIFIED")
}

// enumWord is the spelling of a value in files: serve-all for
// ALL_DOWN_SERVE_ALL.
func enumWord(vd protoreflect.EnumValueDescriptor) string {
	word := strings.TrimPrefix(string(vd.Name()), enumPrefix(vd.Parent().(protoreflect.EnumDescriptor)))
	return strings.ToLower(strings.ReplaceAll(word, "_", "-"))
}

// enumWords lists the words of an enumeration, without unspecified.
func enumWords(ed protoreflect.EnumDescriptor) []string {
	var words []string
	for i := range ed.Values().Len() {
		if vd := ed.Values().Get(i); vd.Number() != 0 {
			words = append(words, enumWord(vd))
		}
	}
	return words
}

// enumByWord finds a value by its word; nil when there is none.
func enumByWord(ed protoreflect.EnumDescriptor, word string) protoreflect.EnumValueDescriptor {
	for i := range ed.Values().Len() {
		if vd := ed.Values().Get(i); vd.Number() != 0 && enumWord(vd) == word {
			return vd
		}
	}
	return nil
}

// fieldWords lists the fields of a message as in files.
func fieldWords(md protoreflect.MessageDescriptor) []string {
	words := make([]string, md.Fields().Len())
	for i := range words {
		words[i] = md.Fields().Get(i).JSONName()
	}
	return words
}

// isOutputOnly tells which parts of a resource the controllers keep: files may
// hold them, so that what get -o yaml prints can be applied, and they are
// dropped.
func isOutputOnly(fd protoreflect.FieldDescriptor) bool {
	return fd.Name() == "status" && fieldByName(fd.ContainingMessage(), "metadata") != nil
}

func fieldByName(md protoreflect.MessageDescriptor, name protoreflect.Name) protoreflect.FieldDescriptor {
	return md.Fields().ByName(name)
}
