// Package zone holds DNS zones: names, RRsets and the master-file text they
// are written in (RFC 1035 section 5), and finds the node that answers a name.
//
// Controllers check zones with it and nameservers answer from it, so what one
// accepts the other can serve. It is pure: no network, no clock, no logging.
// It imports the standard library, miekg/dns and IDNA tables only. Its data
// come from the Zone and Service resources of a configuration; a Zone is
// immutable once it is built.
//
// Lint and Hidden are for those who check what people wrote: they refuse more
// than Build does, so that what is stored already can always be loaded.
package zone
