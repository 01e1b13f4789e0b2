package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

const region = "apiVersion: fairlead/v1\nkind: Region\nmetadata: {name: eu-west}\nspec: {latitude: 1, longitude: 2}\n"

// TestParseTexts: what surrounds documents does not matter.
func TestParseTexts(t *testing.T) {
	want, err := Parse("want", []byte(region))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		line int
	}{
		"plain":            {region, 1},
		"marker":           {"---\n" + region, 2},
		"comments":         {"# one\n---\n# two\n" + region + "---\n# three\n", 4},
		"empty documents":  {"---\n---\n\n---\n" + region + "---\n", 5},
		"null document":    {"---\n~\n---\n" + region, 4},
		"end marker":       {region + "...\n", 1},
		"marker with text": {"--- # the region\n" + region, 2},
		"byte order mark":  {"\ufeff" + region, 1},
		"CRLF":             {strings.ReplaceAll("---\n"+region+"---\n", "\n", "\r\n"), 2},
		"no break at end":  {strings.TrimSuffix(region, "\n"), 1},
		"JSON":             {`{"apiVersion":"fairlead/v1","kind":"Region","metadata":{"name":"eu-west"},"spec":{"latitude":1,"longitude":2}}`, 1},
		"JSON list":        {"[\n{\"apiVersion\":\"fairlead/v1\",\"kind\":\"Region\",\n\"metadata\":{\"name\":\"eu-west\"},\"spec\":{\"latitude\":1,\"longitude\":2}}]", 2},
		"anchor not used":  {strings.Replace(region, "{lat", "&a {lat", 1), 1},
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := Parse("f", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if len(docs) != 1 {
				t.Fatalf("%d documents", len(docs))
			}
			if d := cmp.Diff(want[0].Resource, docs[0].Resource, protocmp.Transform()); d != "" {
				t.Error(d)
			}
			if docs[0].Line != c.line {
				t.Errorf("line %d, want %d", docs[0].Line, c.line)
			}
		})
	}
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n---\n"} {
		if docs, err := Parse("f", []byte(text)); err != nil || len(docs) != 0 {
			t.Errorf("%q: %d documents, %v", text, len(docs), err)
		}
	}
}

func TestParseRefusesBytes(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"UTF-16":       {"\xff\xfea\x00", "f:1: is UTF-16 text; save it as UTF-8"},
		"Latin-1":      {"# one\n# M\xfcnchen\n" + region, "f:2: is not UTF-8 text (the byte 0xFC); save it as UTF-8"},
		"control":      {"a: \x01\n", "f:1: is not YAML: holds the control character U+0001"},
		"program":      {"\x7fELF\x02\x01\x01\x00\x00", "f: is a binary file; want YAML text"},
		"image":        {"\x89PNG\r\n\x1a\n\x00\x00", "f: is a binary file; want YAML text"},
		"too large":    {strings.Repeat("#", MaxFileSize+1), "f: has 67108865 bytes; a file may have 67108864 (64 MiB): split it"},
		"deep nesting": {strings.Repeat("[", 20_000), "f:1: is not YAML: exceeded max depth of 10000"},
	} {
		_, err := Parse("f", []byte(c.text))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: error %q, want %q", name, err, c.want)
		}
	}
}

// TestParseAll: a resource is in one place only, whichever file; errors are in
// the order of the files.
func TestParseAll(t *testing.T) {
	_, err := ParseAll(
		Source{"b.yaml", []byte(region + "---\n" + strings.Replace(region, "eu-west", "us-east", 1))},
		Source{"a.yaml", []byte("---\n" + strings.Replace(region, "eu-west", "EU-West.", 1) + "---\nkind: Region\n")},
	)
	want := `a.yaml:2: regions "eu-west": is already at b.yaml:1; a resource may be in one place only
a.yaml:7: regions apiVersion: required: want fairlead/v1
a.yaml:7: regions metadata.name: required`
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%v", err, want)
	}
}

// TestLoad: mistakes of form and of contents come together.
func TestLoad(t *testing.T) {
	_, err := Load(
		Source{"a.yaml", []byte(strings.Replace(region, "latitude: 1", "latitude: 91", 1))},
		Source{"b.yaml", []byte(strings.Replace(region, "latitude", "latitud", 1))},
	)
	want := `a.yaml:4: regions "eu-west" spec.latitude: 91 is out of range: want degrees, -90 to 90 (are latitude and longitude swapped?)
b.yaml:4: regions "eu-west" spec.latitud: unknown field (did you mean "latitude"?)`
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%v", err, want)
	}
}

func TestLocate(t *testing.T) {
	text := "# comment\n---\n" + region + `---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata:
  name: p
  labels:
    "a.b": c
spec:
  mode: active-active
  bias:
    eu-west: 5
  rules:
    - name: x
      countries:
        - FR
        - DE
      regions: [eu-west]
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec:
  nameservers: [a.test]
  records: |
    one A 192.0.2.1
    two A 192.0.2.2
`
	docs, err := Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		doc  int
		path string
		line int
	}{
		{0, "", 3}, {0, "spec.latitude", 6}, {0, "spec.missing", 6}, {0, "nothing", 3},
		{1, "metadata.name", 11}, {1, `metadata.labels["a.b"]`, 13}, {1, `spec.bias["eu-west"]`, 17}, {1, `spec.bias["other"]`, 16},
		{1, "spec.rules[0]", 19}, {1, "spec.rules[0].countries[1]", 22}, {1, "spec.rules[0].countries[7]", 20},
		{1, "spec.rules[0].regions[0]", 23}, {1, "spec.rules[1]", 18}, {1, `spec.bias["`, 16}, {1, "spec..", 14}, {1, "spec[", 14},
		{2, "spec.records", 30}, {2, "spec.records:2", 32},
	} {
		if got := docs[c.doc].LineOf(c.path); got != c.line {
			t.Errorf("document %d %s: line %d, want %d", c.doc, c.path, got, c.line)
		}
	}

	apiError := Errors{
		FieldErrorOf("zones/example.test spec.records:1", "bad"),
		FieldErrorOf("services/www.example.test spec.zone", "no zone"),
		FieldErrorOf("steeringpolicies/p spec.mode", "wrong"),
		FieldErrorOf("reason", "required"),
	}
	want := `f.yaml:15: steeringpolicies "p" spec.mode: wrong
f.yaml:31: zones "example.test" spec.records:1: bad
services "www.example.test" spec.zone: no zone
reason: required`
	if got := Locate(apiError, docs); got.Error() != want {
		t.Errorf("located:\n%v\nwant\n%v", got, want)
	}
	other := errors.New("other")
	if got := Locate(other, docs); !errors.Is(got, other) {
		t.Errorf("another error became %v", got)
	}
	if got := Locate(nil, docs); got != nil {
		t.Errorf("no error became %v", got)
	}
}

func TestFieldErrorOf(t *testing.T) {
	for _, e := range []FieldError{
		{Kind: KindService, Name: "*.example.test", Path: "spec.endpoints[0].region", Message: "m"},
		{Kind: KindRegion, Name: "eu west", Path: `metadata.labels["a b"]`, Message: "m"},
		{Kind: KindRegion, Name: `"`, Message: "m"},
		{Kind: KindZone, Name: "example.test", Message: "m"},
		{Path: "request_id", Message: "m"},
	} {
		if got := FieldErrorOf(e.Field(), e.Message); got != e {
			t.Errorf("%q became %+v", e.Field(), got)
		}
	}
}

// FuzzParse: no text crashes it; every error has a place; what it accepts is
// written and read as the same.
func FuzzParse(f *testing.F) {
	for _, dir := range []string{"good", "mistakes"} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := Parse("f", data)
		var errs Errors
		if err != nil && !errors.As(err, &errs) {
			t.Fatalf("error of type %T", err)
		}
		lines := bytes.Count(data, []byte{'\n'}) + bytes.Count(data, []byte{'\r'}) + bytes.Count(data, []byte("\xc2\x85")) + bytes.Count(data, []byte("\xe2\x80")) + 1
		for _, e := range errs {
			if e.File != "f" || e.Line < 1 && e.Message != "is a binary file; want YAML text" || e.Line > lines || e.Message == "" {
				t.Errorf("no good place among %d lines: %+v", lines, e)
			}
		}
		for i := range docs {
			Default(docs[i].Resource)
			_ = locate(ValidateResource(docs[i].Resource), docs[i:i+1])
		}
		if len(docs) == 0 {
			return
		}
		text, err := Marshal(resourcesOf(docs))
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if d := cmp.Diff(resourcesOf(docs), resourcesOf(again), protocmp.Transform()); d != "" {
			t.Fatal(d)
		}
	})
}
