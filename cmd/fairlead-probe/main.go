// Command fairlead-probe runs a Fairlead probe agent.
package main

import (
	"os"

	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/probe"
)

func main() { os.Exit(program.Main(probe.Command())) }
