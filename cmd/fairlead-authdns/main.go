// Command fairlead-authdns runs a Fairlead nameserver.
package main

import (
	"os"

	"github.com/fairlead-dns/fairlead/cmd/internal/program"
)

func main() { os.Exit(program.Main(program.AuthdnsCommand())) }
