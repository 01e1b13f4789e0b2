// Package store keeps what is consistent in etcd: configuration, overrides and
// the audit trail (DESIGN, the control plane). It is the only importer of
// etcd's client; it imports proto and regions besides. Its data come from the
// controllers that write through it, and everything read back is verified.
//
// Under a prefix, by default /fairlead/v1/, lie
//
//	head                           a Head; its ModRevision is the generation
//	objects/<sha-256 in hex>       immutable bytes, at most 1 MiB
//	audit/<epoch>/<revision>-<id>  an AuditEvent; the numbers count down, so
//	                               that the newest comes first
//	audit/<epoch>/<revision>-~<n>  the n-th AuditEvent that tells of a refusal
//	                               while the head had the revision
//	requests/<request id>          the outcome of a request, for a day
//	attempts/<id>                  the same for changes without a request id
//	collection                     what was removed, and what is kept
//
// A change writes the objects that are missing (Put), in as many requests as
// it takes, and then swaps the head (Swap) in one transaction together with
// its event and its request's outcome. The transaction compares the head's
// revision, so of two writers that read the same head exactly one succeeds.
//
// A change that the safety rules refuse leaves an event too (Refuse), which made no
// generation. All events lie in the order in which they were made, so that whoever
// follows them (Tail) misses none.
//
// The events of changes hold the heads, so they are the history too: a generation can be
// read as long as it is not older than the floor, which Collect raises before
// it removes what only older ones refer to. Records of requests and attempts
// expire with their leases.
//
// # Outcomes
//
// A write whose answer is lost, by a timeout or with a connection, may have
// been made, or may still be made when nobody waits for it any longer: reading
// the head again does not tell. So Swap fences. Every attempt compares the
// revision of its request's key, and the fence, a second transaction, changes
// that key if the attempt has not. Afterwards either the attempt is found
// there, made, or it can never be made. Only if etcd does not answer the fence
// in time either does the caller get ErrUnknownOutcome.
//
// # Members that do not answer
//
// A member that is frozen, or hangs on its disk, takes requests and is silent.
// A client from Dial asks members in turn, loses patience with one after a
// second, sends the same request to another, and leaves the silent one out until
// it answers again; Watch finds that out. A write that a silent member was sent
// is like any whose answer is lost: it may have been made, and the copy that
// another member gets finds out.
//
// # What etcd must be set up for
//
// Every value that was ever written stays in etcd until the revision is
// compacted: each change rewrites the head, and objects that Collect removes
// still take up room. So etcd needs auto-compaction, periodic and hourly, and a
// quota of several times what Retention keeps (512 MiB by default, and events,
// which have some hundred bytes each as a rule and 128 KiB at the very most;
// etcd's own default is 2 GiB): a database that has reached its quota takes no
// writes (ErrFull) until an operator makes room. Nothing here depends on
// compaction, nor on its absence: only current values are read, the history lies
// under keys of its own, and Watch begins anew when its revision is gone. So any
// retention is right, and none at all only fills the database. The embedded etcd
// compacts by itself.
package store
