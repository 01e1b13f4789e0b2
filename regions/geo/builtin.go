package geo

import (
	_ "embed"
	"sync"
)

// builtinData is made by internal/gendata; its date is that of the source.
//
//go:embed data/country-2026-06-17.mmdb
var builtinData []byte

// Builtin is the database that is part of the program: the country of every allocated network, with
// the country's centre of population for coordinates. It is loaded at the first call.
func Builtin() (*Database, error) { return loadBuiltin() }

var loadBuiltin = sync.OnceValues(func() (*Database, error) { return Load(builtinData) })
