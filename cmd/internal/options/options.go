// Package options is where the values of a program's flags come from: the
// command line, else the environment, else the file that --config names, else
// the default. It may import the YAML library and regions/config, for its
// suggestions; its data are the three sources and nothing else.
//
// Each source is checked in full: whoever starts a program is told of every
// mistake at once, each with its place.
package options

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"github.com/fairlead-dns/fairlead/regions/config"
)

// The flags that every program has.
const (
	// ConfigFlag names the file of options.
	ConfigFlag = "config"
	// CheckFlag asks for a check of the options alone.
	CheckFlag = "check-config"
)

// Annotations of flags.
const (
	onCommandLine = "command-line-only"
	notInFile     = "not-in-file"
	secret        = "secret"
	origin        = "origin"
)

// CommandLineOnly keeps flags from being set by the environment or a file.
func CommandLineOnly(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		_ = f.SetAnnotation(name, onCommandLine, []string{"true"})
	}
}

// NotInFile keeps flags from being set by a file; why completes "KEY …".
func NotInFile(f *pflag.FlagSet, why string, names ...string) {
	for _, name := range names {
		_ = f.SetAnnotation(name, notInFile, []string{why})
	}
}

// Secret keeps the values of flags from being shown.
func Secret(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		_ = f.SetAnnotation(name, secret, []string{"true"})
	}
}

// fromOutside tells whether anything but the command line may set a flag.
func fromOutside(flag *pflag.Flag) bool {
	return flag.Name != "help" && flag.Name != "version" && flag.Annotations[onCommandLine] == nil
}

// InFile tells whether a file may set a flag.
func InFile(flag *pflag.Flag) bool { return fromOutside(flag) && flag.Annotations[notInFile] == nil }

// Variable is the environment variable of a flag.
func Variable(flag string) string {
	return "FAIRLEAD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Add adds --config and --check-config.
func Add(f *pflag.FlagSet) {
	f.String(ConfigFlag, "", "a YAML `FILE` with these options, each by its flag's name")
	f.Bool(CheckFlag, false, "check the options and the files that they name, print what is in effect, and end")
	CommandLineOnly(f, CheckFlag)
	NotInFile(f, "names this file: it is for the command line and the environment", ConfigFlag)
}

// Fill sets the flags that were not given from the environment, and those that
// are not there either from the file that --config names.
func Fill(f *pflag.FlagSet) error {
	err := FromEnvironment(f)
	path, pathErr := f.GetString(ConfigFlag)
	if pathErr != nil || path == "" {
		return errors.Join(err, pathErr)
	}
	file, readErr := Read(path)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	return errors.Join(err, file.Fill(f))
}

// FromEnvironment sets the flags that were not given from FAIRLEAD_<FLAG>. The
// error holds all values that are wrong.
func FromEnvironment(f *pflag.FlagSet) error {
	var errs []error
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || !fromOutside(flag) {
			return
		}
		name := Variable(flag.Name)
		v, ok := os.LookupEnv(name)
		if !ok {
			return
		}
		if err := f.Set(flag.Name, v); err != nil {
			errs = append(errs, fmt.Errorf("%s=%s: %w", name, shown(flag, v), cause(err)))
			return
		}
		from(flag, "environment "+name)
	})
	return errors.Join(errs...)
}

// cause is why a value was not taken, without the flag's name and the value,
// which are told already.
func cause(err error) error {
	var invalid *pflag.InvalidValueError
	switch {
	case !errors.As(err, &invalid):
		return err
	case wanted(invalid.GetFlag()) != "":
		return errors.New("want " + wanted(invalid.GetFlag()))
	case invalid.Unwrap() != nil:
		return invalid.Unwrap()
	}
	return err
}

// wanted says what is right for a flag; empty: its type says it in an error.
func wanted(flag *pflag.Flag) string {
	switch flag.Value.Type() {
	case "bool":
		return "true or false"
	case "duration":
		return "a duration with its unit, as 15s"
	case "int", "int32", "int64":
		return "a whole number"
	case "uint16":
		return "a whole number from 0 to 65535"
	case "uint", "uint32", "uint64":
		return "a whole number from 0"
	case "stringSlice", "stringArray":
		return "a list of texts"
	case "string":
		return "a text"
	}
	return ""
}

var unknownFlag = regexp.MustCompile(`^unknown flag: (--.*)$`)

// WrongFlag adds to an error about a command line which flag was probably
// meant.
func WrongFlag(f *pflag.FlagSet, err error) error {
	m := unknownFlag.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	var names []string
	f.VisitAll(func(flag *pflag.Flag) { names = append(names, "--"+flag.Name) })
	if hint := config.Suggest(m[1], names); strings.Contains(hint, "did you mean") {
		return fmt.Errorf("%w%s", err, hint)
	}
	return err
}

func from(flag *pflag.Flag, where string) {
	if flag.Annotations == nil {
		flag.Annotations = map[string][]string{}
	}
	flag.Annotations[origin] = []string{where}
}

// shown is a value to be shown.
func shown(flag *pflag.Flag, value string) string {
	if flag.Annotations[secret] != nil && value != "" {
		return "(not shown)"
	}
	return value
}
