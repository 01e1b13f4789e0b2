// Command fairlead-controller runs a Fairlead controller.
package main

import (
	"os"

	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/controller"
)

func main() { os.Exit(program.Main(controller.Command())) }
