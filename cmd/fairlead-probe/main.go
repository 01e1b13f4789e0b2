// Command fairlead-probe runs a Fairlead probe agent.
package main

import (
	"os"

	"github.com/fairlead-dns/fairlead/cmd/internal/program"
)

func main() { os.Exit(program.Main(program.ProbeCommand())) }
