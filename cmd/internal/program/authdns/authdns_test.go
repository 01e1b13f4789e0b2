package authdns

import (
	"fmt"
	"strings"
	"testing"
)

func TestDebugClients(t *testing.T) {
	got, err := prefixes([]string{"192.0.2.9/24", "2001:db8::1", "127.0.0.0/8"})
	if want := "[192.0.2.0/24 2001:db8::1/128 127.0.0.0/8]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v, want %s", got, err, want)
	}
	if got, err := prefixes(DefaultDebugClients); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	// All mistakes at once, each with what would be right.
	wrong := []string{"office", "192.0.2.0/33", "::ffff:192.0.2.1", "fe80::1%eth0", ""}
	_, err = prefixes(wrong)
	for _, text := range wrong {
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("--debug-clients %q: want an address or a network, as 192.0.2.0/24", text)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
