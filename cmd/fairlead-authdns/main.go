// Command fairlead-authdns runs a Fairlead nameserver.
package main

import (
	"os"

	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/authdns"
)

func main() { os.Exit(program.Main(authdns.Command())) }
