// Package transport moves DNS messages over UDP and TCP sockets. It knows
// nothing of DNS but how messages are framed (RFC 1035 section 4.2, RFC 7766)
// and hands each to a Handler.
//
// It imports the standard library, x/net, x/sync and x/sys only. Its data come
// from the network and are trusted in nothing: the time, memory and
// connections that a peer can hold are bounded.
package transport
