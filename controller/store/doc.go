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
//	requests/<request id>          the outcome of a request, for a day
//	attempts/<id>                  the same for changes without a request id
//	collection                     what was removed, and what is kept
//
// A change writes the objects that are missing (Put), in as many requests as
// it takes, and then swaps the head (Swap) in one transaction together with
// its event and its request's outcome. The transaction compares the head's
// revision, so of two writers that read the same head exactly one succeeds.
//
// The events hold the heads, so they are the history too: a generation can be
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
package store
