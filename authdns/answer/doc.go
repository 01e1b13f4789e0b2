// Package answer makes the response to a query from one snapshot. It is the
// reference: plain, over the DNS library's types, and complete; whatever is
// faster must give the same bytes.
//
// It does no I/O and keeps no clock: equal query, source, snapshot, time and
// random word give equal bytes. What it answered services with it notes in the
// snapshot's usage, and reads nothing from there. Apart from the echoed question, the bytes do
// not depend on the case of the query name: records are written in lower case
// and names that end as the question does are pointers into it, so they come
// back in the asker's spelling (draft-vixie-dnsext-dns0x20).
//
// It imports authdns/usage, regions, regions/zone, regions/steer and miekg/dns. Its data are
// the Snapshot that the feed client publishes.
package answer
