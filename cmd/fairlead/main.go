// Command fairlead is the operator's tool.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/fairlead-dns/fairlead/cmd/fairlead/internal/cli"
	"github.com/fairlead-dns/fairlead/cmd/fairlead/internal/dev"
	"github.com/fairlead-dns/fairlead/cmd/fairlead/internal/pki"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.Run(ctx, os.Args[1:], cli.System(), dev.Command(cli.Apply), pki.Command()))
}
