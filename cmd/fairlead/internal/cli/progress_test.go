package cli

import (
	"bytes"
	"strings"
	"testing"
)

// Progress is for terminals, and nothing of it stays.
func TestProgress(t *testing.T) {
	var b bytes.Buffer
	a := &app{Streams: Streams{Err: &b, Progress: true}}
	a.progress(true, "waiting")()
	if got := b.String(); !strings.Contains(got, "waiting, ") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("%q", got)
	}
	b.Reset()
	a.progress(false, "waiting")()
	a.Progress = false
	a.progress(true, "waiting")()
	if b.Len() > 0 {
		t.Errorf("%q, want nothing", b.String())
	}
}
