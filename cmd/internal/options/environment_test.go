package options

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// A flag wins over the environment, and that over the default; all wrong
// values are told at once.
func TestFromEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"FAIRLEAD_GIVEN": "env", "FAIRLEAD_TLS_CERT": "env", "FAIRLEAD_HELP": "true", "FAIRLEAD_TYPED": "env",
		"FAIRLEAD_WAIT": "ages", "FAIRLEAD_LIMIT": "many", "FAIRLEAD_EMPTY": "",
	} {
		t.Setenv(name, value)
	}
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	given, cert, typed, empty, silent := f.String("given", "default", ""), f.String("tls-cert", "default", ""),
		f.String("typed", "default", ""), f.String("empty", "default", ""), f.String("silent", "default", "")
	help := f.Bool("help", false, "")
	CommandLineOnly(f, "typed")
	if err := f.Parse([]string{"--given=flag"}); err != nil {
		t.Fatal(err)
	}
	if err := FromEnvironment(f); err != nil {
		t.Error(err)
	}
	if got := []string{*given, *cert, *typed, *empty, *silent}; strings.Join(got, " ") != "flag env default  default" || *help {
		t.Errorf("%q, help %t", got, *help)
	}
	f.Duration("wait", time.Second, "")
	f.Int("limit", 1, "")
	err := FromEnvironment(f)
	for _, want := range []string{`FAIRLEAD_WAIT=ages: want a duration with its unit, as 15s`, "FAIRLEAD_LIMIT=many: want a whole number"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}
