package answer

// Fixture is for tests that import this package from outside.
func Fixture() *Snapshot { return fixture() }
