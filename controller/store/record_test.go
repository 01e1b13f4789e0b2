package store

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("m0123456789abcdef"))
	f.Add([]byte("f0123456789abcdefresult"))
	f.Add([]byte("x0123456789abcdef"))
	f.Add([]byte("m0123456789abcde"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err != nil {
			return
		}
		if got := r.marshal(); got != string(b) {
			t.Errorf("%q became %q", b, got)
		}
	})
}

func TestRecord(t *testing.T) {
	id := newAttemptID()
	if id == newAttemptID() {
		t.Error("two attempts have one id")
	}
	for _, r := range []record{{made, id, []byte("result")}, {made, id, nil}, {fenced, id, nil}} {
		got, err := parseRecord([]byte(r.marshal()))
		if err != nil || got.kind != r.kind || got.attempt != r.attempt || !bytes.Equal(got.result, r.result) {
			t.Errorf("%v came back as %v, %v", r, got, err)
		}
	}
}

// Audit keys sort newest first, by epoch and then by revision, and tell the
// epoch.
func TestAuditKeys(t *testing.T) {
	k := keys{DefaultPrefix}
	epochs := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 3), rapid.Uint64Range(math.MaxUint64-3, math.MaxUint64))
	revisions := rapid.OneOf(rapid.Int64Range(0, math.MaxInt64), rapid.Int64Range(0, 3))
	rapid.Check(t, func(rt *rapid.T) {
		e1, e2 := epochs.Draw(rt, "e1"), epochs.Draw(rt, "e2")
		r1, r2 := revisions.Draw(rt, "r1"), revisions.Draw(rt, "r2")
		k1, k2 := k.audit(e1, r1, newAttemptID()), k.audit(e2, r2, newAttemptID())
		newer := e1 > e2 || e1 == e2 && r1 > r2
		if same := e1 == e2 && r1 == r2; !same && newer != (k1 < k2) {
			rt.Fatalf("(%d, %d) newer than (%d, %d): %v, but keys %s and %s", e1, r1, e2, r2, newer, k1, k2)
		}
		if got, err := k.parseAudit(k1); err != nil || got != (auditKey{epoch: e1, revision: r1}) {
			rt.Fatalf("%s says %v, %v, want epoch %d and revision %d", k1, got, err, e1, r1)
		}
		n := rapid.Uint32Range(1, math.MaxUint32-1).Draw(rt, "n")
		refusal, next := k.refusal(e1, r1, n), k.refusal(e1, r1, n+1)
		if got, err := k.parseAudit(refusal); err != nil || got != (auditKey{e1, r1, n}) {
			rt.Fatalf("%s says %v, %v", refusal, got, err)
		}
		// The change that replaces the head, the refusals before it, and what made
		// the head.
		for _, pair := range [][2]string{{k1, next}, {next, refusal}, {refusal, k.audit(e1, r1-1, newAttemptID())}} {
			if r1 > 0 && pair[0] >= pair[1] {
				rt.Fatalf("%s does not come before %s", pair[0], pair[1])
			}
		}
		if !printable(strings.TrimPrefix(k1, k.audits())) {
			rt.Fatalf("%q cannot be a page token", k1)
		}
	})
}
