package program

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// help is the template of a program's --help.
func help(s Spec) string {
	file := "  log-format: json\n"
	for line := range strings.SplitSeq(s.Example, "\n") {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "--controllers "); ok {
			file = "  controllers: [" + strings.ReplaceAll(strings.TrimSuffix(rest, " \\"), ",", ", ") + "]\n" + file
		}
	}
	return strings.TrimSpace(s.Long) + `

Usage:
  ` + s.Name + " " + s.Usage + `
  ` + s.Name + ` --check-config [options]   say what is in effect and what is wrong with it
  ` + s.Name + ` version                    print version, commit, date and Go version

Example:
` + s.Example + `

Options:
{{.Flags.FlagUsagesWrapped 110 | trimTrailingWhitespaces}}

Every option can come from four places; the first that has it counts: the command
line, the environment, the file that --config or FAIRLEAD_CONFIG names, the default.
The variable of --tls-cert is FAIRLEAD_TLS_CERT, and so on for every option but
--check-config; lists have commas between their values. The file is YAML with the
options by name and lists as lists; a name that is no option, or a value of the
wrong type, is refused. Paths are as on the command line, not relative to the file:

  tls-cert: /etc/fairlead/tls/tls.crt
` + file + `
The options are read once, at the start. Certificates, tokens and geo data are read
again whenever their files change. Files that hold keys, tokens or passwords must be
for their owner only (chmod 600), or the program refuses to start.

Signals:
  SIGTERM, SIGINT   stop in good order, within seconds; the second one stops at once
  SIGHUP            read certificates, tokens and geo data again now

Under systemd (Type=notify) it says when it listens, whether it is ready, and that
it stops, and with WatchdogSec= that it is alive. The unit needs AF_UNIX among its
RestrictAddressFamilies= for that.

Exit codes:
  0   stopped as it was told to; options are good (--check-config)
  1   failed
  2   wrong usage or options, told all at once; nothing was started
`
}

func noArgs(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return UsageError(fmt.Errorf("unexpected argument %q: %s takes options only, or the word version", args[0], name))
	}
}
