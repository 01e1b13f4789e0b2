package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.Out, "fairlead %s %s %s/%s\n", ops.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
