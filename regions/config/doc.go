// Package config turns text into resources and back, fills in their defaults,
// validates and compares whole sets of them, and splits a set into
// content-addressed objects.
//
// It is pure: no network, no clock, no logging. It imports the standard
// library, the generated proto package, protobuf, YAML nodes, IDNA tables and
// the regions packages, but not regions/geo, which brings its database along
// into every program. Its data come from files that the operator's tool read,
// from API requests, and from the store's objects.
//
// The way of a change:
//
//	Load → (API) → Merge → BumpSerials → Validate → Tree.Next → head swap
//
// and of a reader: Join. Errors about resources are FieldErrors, all of them
// at once; Locate gives those of the API their file and line again. WarningsOf
// is what a change is told of that is allowed and perhaps not meant.
package config
