package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// TestGoodFiles: what is right is accepted, is printed as the golden files
// say, and what is printed is read as the same.
func TestGoodFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			docs, err := Load(Source{File: filepath.Base(file), Data: data})
			if err != nil {
				t.Fatal(err)
			}
			set, err := NewSet(resourcesOf(docs))
			if err != nil {
				t.Fatal(err)
			}
			if err := Validate(set, Options{}); err != nil {
				t.Fatal(Locate(err, docs))
			}
			stem := strings.TrimSuffix(file, ".yaml")
			asYAML, err := Marshal(set.All())
			if err != nil {
				t.Fatal(err)
			}
			golden(t, stem+".golden", string(asYAML))
			asJSON, err := MarshalOptions{}.JSON(set.All())
			if err != nil {
				t.Fatal(err)
			}
			golden(t, stem+".json.golden", string(asJSON))
			for _, text := range [][]byte{asYAML, asJSON} {
				docs, err := Parse("again", text)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(set.All(), resourcesOf(docs), protocmp.Transform()); d != "" {
					t.Errorf("changes on the way through text: %s", d)
				}
			}
		})
	}
}

// TestTextRoundTrip: any resource survives being written and read.
func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		resources := rapid.SliceOfNDistinct(anyResource(), 1, 3, func(r *pb.Resource) Key {
			return Key{Kind(r), canonicalName(Name(r))}
		}).Draw(t, "resources")
		asYAML, err := Marshal(resources)
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := MarshalOptions{}.JSON(resources)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{asYAML, asJSON} {
			docs, err := Parse("f", text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if d := cmp.Diff(resources, resourcesOf(docs), protocmp.Transform()); d != "" {
				t.Fatalf("%s\n%s", d, text)
			}
		}
	})
}

func TestOmitOutputOnly(t *testing.T) {
	r := &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{
		Metadata: &pb.Metadata{Name: "example.test", Etag: "abc"},
		Spec:     &pb.ZoneSpec{Nameservers: []string{"ns1.example.net"}},
		Status:   &pb.ZoneStatus{Serial: 7},
	}}}
	text, err := MarshalOptions{OmitOutputOnly: true}.YAML([]*pb.Resource{r})
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); strings.Contains(s, "etag") || strings.Contains(s, "status") {
		t.Errorf("holds what controllers keep:\n%s", s)
	}
	text, err = Marshal([]*pb.Resource{r})
	if err != nil {
		t.Fatal(err)
	}
	docs, err := Parse("f", text)
	if err != nil {
		t.Fatalf("what get -o yaml prints is refused: %v\n%s", err, text)
	}
	want := proto.CloneOf(r)
	want.GetZone().Status = nil
	if d := cmp.Diff(want, docs[0].Resource, protocmp.Transform()); d != "" {
		t.Error(d)
	}
}

func TestMessageText(t *testing.T) {
	o := &pb.Override{Id: "1", Action: pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP, Scope: &pb.OverrideScope{Region: "eu-west"}}
	asYAML, err := MessageYAML(o)
	if err != nil {
		t.Fatal(err)
	}
	if want := "id: \"1\"\naction: force-up\nscope:\n  region: eu-west\n"; string(asYAML) != want {
		t.Errorf("YAML %q, want %q", asYAML, want)
	}
	asJSON, err := MessageJSON(&pb.Change{Action: pb.ChangeAction_CHANGE_ACTION_CREATE, After: &pb.Resource{Kind: &pb.Resource_Agent{Agent: &pb.Agent{Metadata: &pb.Metadata{Name: "a<b"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "action": "create",
  "after": {
    "apiVersion": "fairlead/v1",
    "kind": "Agent",
    "metadata": {
      "name": "a<b"
    }
  }
}
`
	if string(asJSON) != want {
		t.Errorf("JSON %s, want %s", asJSON, want)
	}
}
