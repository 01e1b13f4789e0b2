package config

// Suggest returns ` (did you mean "x"?)` for the name in right that is nearest
// to word, to be appended to an error; empty when none is near.
func Suggest(word string, right []string) string { return didYouMean(word, right) }
