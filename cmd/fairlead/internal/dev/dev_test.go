package dev

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// apply does what the CLI's apply does.
func apply(ctx context.Context, controller string, files []string, inline []byte) error {
	sources := []config.Source{{File: "sample.yaml", Data: inline}}
	if len(files) > 0 {
		data, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		sources = []config.Source{{File: files[0], Data: data}}
	}
	docs, err := config.Load(sources...)
	if err != nil {
		return err
	}
	req := &pb.ApplyRequest{}
	for _, d := range docs {
		req.Resources = append(req.Resources, d.Resource)
	}
	conn, err := ops.Dial(controller, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = pb.NewCatalogServiceClient(conn).Apply(ctx, req)
	return err
}

// lines keeps what is printed.
type lines struct{ ch chan string }

func (l lines) Write(p []byte) (int, error) { l.ch <- string(p); return len(p), nil }

func options(t *testing.T) Options {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.10.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return Options{
		DNS: []string{"127.0.0.1:0"}, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", NameserverGRPC: "127.0.0.1:0", NameserverHTTP: "127.0.0.1:0",
		SamplePort: uint16(l.Addr().(*net.TCPAddr).Port), LogLevel: "error", Apply: apply,
	}
}

func TestDevAnswersAndEndsCleanly(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := lines{make(chan string, 100)}
	o := options(t)
	o.Out = out
	o.Data = filepath.Join(t.TempDir(), "data")
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	var printed strings.Builder
	for !strings.Contains(printed.String(), "Three things to try") {
		select {
		case s := <-out.ch:
			printed.WriteString(s)
		case err := <-done:
			t.Fatalf("ended: %v\n%s", err, printed.String())
		case <-time.After(60 * time.Second):
			t.Fatal("not ready")
		}
	}
	text := printed.String()
	t.Log(text)
	dig := text[strings.Index(text, "dig @"):]
	dig = dig[:strings.Index(dig, " +short")]
	for client, want := range map[string]string{"8.8.8.0/24": "127.0.20.1", "193.0.6.0/24": "127.0.10.1", "133.11.0.0/16": "127.0.30.1"} {
		args := append(strings.Fields(dig)[1:], "+short", "+subnet="+client, "www.example.test")
		got, err := exec.Command("dig", args...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("dig %s: %s %v, want %s", strings.Join(args, " "), got, err, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestTakenPortNamesTheFlag(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := options(t)
	o.HTTP = l.Addr().String()
	err = Run(t.Context(), o)
	if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "--http "+l.Addr().String()) {
		t.Errorf("got %v, want an error that names --http %s", err, l.Addr())
	}
}

// Wrong flags are told all at once, before anything starts.
func TestFlagsAreChecked(t *testing.T) {
	c := Command(apply)
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs([]string{"--grpc", "0.0.0.0:7443", "--http", "nowhere", "--nameserver-grpc", "192.0.2.1:1", "--dns", "53", "--log-level", "loud"})
	err := c.ExecuteContext(t.Context())
	for _, want := range []string{
		`--log-level "loud": want debug, info, warn or error`, "--grpc 0.0.0.0:7443: plain text is for loopback only", `--http "nowhere": want HOST:PORT`,
		"--nameserver-grpc 192.0.2.1:1: plain text", `--dns "53": want ADDRESS:PORT`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}
