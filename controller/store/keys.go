package store

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// DefaultPrefix is where the keys lie unless Options say otherwise.
const DefaultPrefix = "/fairlead/v1/"

// keys builds the keys under a prefix.
type keys struct{ prefix string }

func (k keys) head() string                { return k.prefix + "head" }
func (k keys) collection() string          { return k.prefix + "collection" }
func (k keys) objects() string             { return k.prefix + "objects/" }
func (k keys) object(d Digest) string      { return k.objects() + d.String() }
func (k keys) request(id string) string    { return k.prefix + "requests/" + id }
func (k keys) attempt(id attemptID) string { return k.prefix + "attempts/" + id.String() }
func (k keys) audits() string              { return k.prefix + "audit/" }
func (k keys) errand(name string) string   { return k.prefix + "leader/" + name }
func (k keys) checkpoint() string          { return k.prefix + "health/checkpoint" }
func (k keys) checkpointParts() string     { return k.prefix + "health/parts/" }

// checkpointPart is the key of a part of a checkpoint; keys ascend with the number.
func (k keys) checkpointPart(number uint64, part uint32) string {
	return fmt.Sprintf("%s%016x/%08x", k.checkpointParts(), number, part)
}

// audit returns the key of an event, made by an attempt with this id that read
// the store at revision. Two events of one epoch are made in the order of
// these revisions, since the later one must have read the head that the
// earlier one wrote. etcd serves the first keys of a range cheaply but sorts
// the whole range to serve the last ones, so the numbers count down.
func (k keys) audit(epoch uint64, revision int64, id attemptID) string {
	return k.auditsUntil(epoch, revision) + "-" + id.String()
}

// auditsUntil is where the events of an epoch begin that were made by who had
// read the store at revision or earlier.
func (k keys) auditsUntil(epoch uint64, revision int64) string {
	return fmt.Sprintf("%s%016x/%016x", k.audits(), math.MaxUint64-epoch, math.MaxInt64-revision)
}

// refusals is where the refusals begin that were made while the head had a
// revision. They lie after, hence are older than, the change that replaces that
// head, also if who made it read the store at this very revision: an attempt's id
// is in hex.
func (k keys) refusals(epoch uint64, head int64) string { return k.auditsUntil(epoch, head) + "-~" }

// refusal is the key of the n-th refusal while the head had a revision.
func (k keys) refusal(epoch uint64, head int64, n uint32) string {
	return fmt.Sprintf("%s%08x", k.refusals(epoch, head), math.MaxUint32-n)
}

// position is an audit key without what all have in common.
func (k keys) position(key string) string { return strings.TrimPrefix(key, k.audits()) }

// auditKey is what an audit key says. n is the number of a refusal, 0 of a change.
type auditKey struct {
	epoch    uint64
	revision int64
	n        uint32
}

func (k keys) parseAudit(key string) (a auditKey, err error) {
	bad := fmt.Errorf("key %q is no audit key", key)
	rest, ok := strings.CutPrefix(key, k.audits())
	epoch, rest, cut := strings.Cut(rest, "/")
	if !ok || !cut || !printable(rest) {
		return a, bad
	}
	e, err := strconv.ParseUint(epoch, 16, 64)
	if err != nil {
		return a, bad
	}
	revision, id, _ := strings.Cut(rest, "-")
	r, err := strconv.ParseInt(revision, 16, 64)
	if err != nil {
		return a, bad
	}
	a.epoch, a.revision = math.MaxUint64-e, math.MaxInt64-r
	if number, is := strings.CutPrefix(id, "~"); is {
		n, err := strconv.ParseUint(number, 16, 32)
		if err != nil {
			return a, bad
		}
		a.n = math.MaxUint32 - uint32(n)
	}
	return a, nil
}

func validatePrefix(p string) error {
	if len(p) < 3 || len(p) > 200 || p[0] != '/' || p[len(p)-1] != '/' || !printable(p) {
		return fmt.Errorf("store: prefix %q: want printable ASCII between slashes, as %s", p, DefaultPrefix)
	}
	return nil
}

// MaxRequestIDLen is the longest request id, in bytes.
const MaxRequestIDLen = 256

func validateRequestID(id string) error {
	if id == "" {
		return errors.New("store: request id is empty")
	}
	if len(id) > MaxRequestIDLen || !printable(id) {
		return fmt.Errorf("store: request id %q: want at most %d characters of printable ASCII", id, MaxRequestIDLen)
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
