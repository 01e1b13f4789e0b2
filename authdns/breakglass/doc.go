// Package breakglass holds what operators said to this nameserver directly, when
// the control plane could not write: records with an expiry, on disk before they
// take effect. It may import proto, proto/snapshot, regions and regions/plan. Its
// data come from the gRPC service of the nameserver, from the plan (which ends
// records by their id) and from its file.
//
// A record ends by its expiry, by a request here, or by the plan, and never
// otherwise: what ended is kept for a while with how it did.
//
//	what happens                    the record
//	its time is over                expired; the time runs while the process does
//	another for the same scope      replaced
//	EndBreakGlassRecord             ended, by whom and why
//	the plan cites its id           ended by the control plane, by whom and why
//	a later plan does not cite it   stays ended
//	restart                         stands for as long as it had left when last written
//	the file is damaged             gone: the file is set aside, and that is said aloud
package breakglass
