// Package plan reads the tree of objects under a head and compiles it into
// what queries are answered from: the domain's tables and the zones. Both
// sides use it, the controller before it publishes and the nameserver before
// it answers; and both explain their answers with it.
//
// It is pure; it may import the proto and the other packages of the domain.
// Its data come from the head key and the objects below it, which the caller
// fetches.
package plan
