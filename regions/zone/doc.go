// Package zone holds DNS zones: names, RRsets and the master-file text they
// are written in (RFC 1035 section 5), and finds the node that answers a name.
//
// Controllers check zones with it and nameservers answer from it, so what one
// accepts the other can serve. It is pure: no network, no clock, no logging.
// It imports the standard library and miekg/dns only. Its data come from the
// Zone and Service resources of a configuration; a Zone is immutable once it
// is built.
package zone
