package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// Names come from the controller; whatever goes wrong, the person who types
// sees nothing of it.
func TestCompletion(t *testing.T) {
	all := parse(t, allKindsYAML)
	addr := serve(t, &fake{list: func(r *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
		resp := &pb.ListResourcesResponse{Generation: gen(5)}
		for _, res := range all {
			if config.Kind(res) == r.GetKind() && (r.GetName() == "" || r.GetName() == config.Name(res)) {
				resp.Resources = append(resp.Resources, res)
			}
		}
		return resp, nil
	}, status: func() (*pb.GetStatusResponse, error) { return latchedStatus(), nil }})
	t.Setenv("FAIRLEAD_CONTROLLER", addr)
	for _, c := range []struct{ args, want string }{
		{"get|", "agents healthchecks nameservers regions safetypolicies services steeringpolicies zones all"},
		{"describe|", "agents healthchecks nameservers regions safetypolicies services steeringpolicies zones"},
		{"get|services|", "*.apps.example.test www.example.test"},
		{"get|svc|www", "www.example.test"},
		{"get|service/w", "service/www.example.test"},
		{"delete|region|us", "us-east"},
		{"get|region/us-east|", ""},
		{"get|nonsense|", ""},
		{"region|drain|", "eu-west us-east"},
		{"region|undrain|eu", "eu-west"},
		{"region|drain|eu-west|", ""},
		{"region|drain|eu-west|--service|www", "www.example.test"},
		{"region|drain|eu-west|--availability-zone|", "a b"},
		{"explain|www", "www.example.test"},
		{"explain|x|--nameserver|", "ns-1"},
		{"explain|x|--type|", "A AAAA CNAME"},
		{"watch|--output|", "table wide json"},
		{"latch|", "list release"},
		{"latch|release|", "failback/pay.example.test/us-east failback/www.example.test/eu-west guard"},
		{"latch|release|failback/w", "failback/www.example.test/eu-west"},
		{"latch|release|guard|", ""},
		{"health|replay|--service|w", "www.example.test"},
		{"health|replay|--quorum|", "majority strict any-healthy at-least="},
		{"health|replay|--damping|", "off default recoveries="},
		{"health|replay|--output|", "table wide json yaml"},
		{"completion|", "bash fish zsh"},
	} {
		r := run(t, "", append([]string{"__complete"}, strings.Split(c.args, "|")...)...)
		r.want(t, exitDone)
		lines := strings.Split(r.out, "\n:")
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(strings.TrimPrefix(lines[0], ":4")), "\n") {
			name, _, _ := strings.Cut(line, "\t")
			got = append(got, name)
		}
		sorted := strings.Join(got, " ")
		for _, want := range strings.Fields(c.want) {
			if !strings.Contains(" "+sorted+" ", " "+want+" ") {
				t.Errorf("%s: %q is missing from %q", c.args, want, sorted)
			}
		}
		if len(strings.Fields(c.want)) != len(strings.Fields(sorted)) {
			t.Errorf("%s: got %q, want %q", c.args, sorted, c.want)
		}
	}
	for name, addr := range map[string]string{
		"nobody there": deadAddress(t),
		"refused": serve(t, &fake{list: func(*pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
			return nil, status.Error(codes.PermissionDenied, "no")
		}}),
		"no address": "nonsense",
	} {
		t.Setenv("FAIRLEAD_CONTROLLER", addr)
		r := run(t, "", "__complete", "get", "services", "")
		if r.code != exitDone || r.out != ":4\n" || strings.Contains(r.err, "fairlead:") {
			t.Errorf("%s: %d, %q, %q", name, r.code, r.out, r.err)
		}
	}
	t.Setenv("FAIRLEAD_CONFIG", writeFile(t, t.TempDir()+"/c.yaml", "wrong: [\n"))
	run(t, "", "__complete", "--context", "").want(t, exitDone, ":4\n")
}

// As many names as arrive within a second are offered.
func TestCompletionInTime(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	defer close(block)
	addr := serve(t, &fake{list: func(r *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
		if r.GetPageToken() != "" {
			<-block
		}
		return &pb.ListResourcesResponse{Resources: parse(t, agent("a")), NextPageToken: "agents/b"}, nil
	}})
	began := time.Now()
	run(t, "", "__complete", "--controller", addr, "get", "agents", "").want(t, exitDone, "a\n:4\n")
	if time.Since(began) < completeTimeout/2 {
		t.Error("nobody waited")
	}
}

func TestCompletionIsBounded(t *testing.T) {
	page := func(from int) []*pb.Resource {
		var b strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&b, "%s---\n", agent(fmt.Sprintf("a%d", from+i)))
		}
		return parse(t, b.String())
	}
	pages := 0
	addr := serve(t, &fake{list: func(*pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
		pages++
		return &pb.ListResourcesResponse{Resources: page(pages * 1000), NextPageToken: "more"}, nil
	}})
	r := run(t, "", "__complete", "--controller", addr, "get", "agents", "a")
	if n := strings.Count(r.out, "\n"); n != maxCompletions+1 || pages != 1 {
		t.Errorf("%d lines of %d pages", n, pages)
	}
}

func TestCompletionScripts(t *testing.T) {
	for shell, want := range map[string]string{"bash": "complete -o default", "zsh": "#compdef fairlead", "fish": "complete -c fairlead"} {
		run(t, "", "completion", shell).want(t, exitDone, want, "__complete")
	}
	run(t, "", "completion", "powershell").want(t, exitUsage, `no command "powershell": want one of bash, fish, zsh`)
}
