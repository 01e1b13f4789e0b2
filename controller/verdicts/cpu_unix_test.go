//go:build unix

package verdicts

import (
	"testing"
	"time"
)

// The operating system's word grows while there is work, and is not more than
// there can have been.
func TestCPUTime(t *testing.T) {
	before := cpuTime()
	for end := time.Now().Add(time.Minute); cpuTime() == before; {
		if time.Now().After(end) {
			t.Fatalf("stays at %s", before)
		}
	}
	if before < 0 {
		t.Errorf("began at %s", before)
	}
}
