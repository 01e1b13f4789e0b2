package ops

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// onCommandLine marks flags that the environment does not set.
const onCommandLine = "command-line-only"

// CommandLineOnly keeps flags from being set by the environment.
func CommandLineOnly(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		_ = f.SetAnnotation(name, onCommandLine, []string{"true"})
	}
}

// FromEnvironment sets the flags that were not given from FAIRLEAD_<FLAG>. The
// error holds all values that are wrong.
func FromEnvironment(f *pflag.FlagSet) error {
	var errs []error
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || flag.Name == "help" || flag.Name == "version" || flag.Annotations[onCommandLine] != nil {
			return
		}
		name := "FAIRLEAD_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		if v, ok := os.LookupEnv(name); ok {
			if err := f.Set(flag.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s=%s: %w", name, v, err))
			}
		}
	})
	return errors.Join(errs...)
}
