package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, date and Go version",
		Args:  exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.Out, "fairlead %s\n", ops.ReadBuild())
			return err
		},
	}
}
