// Command fairlead-controller runs a Fairlead controller.
package main

import (
	"os"

	"github.com/fairlead-dns/fairlead/cmd/internal/program"
)

func main() { os.Exit(program.Main(program.ControllerCommand())) }
