package program

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Mistakes are what is wrong with options.
type Mistakes []error

// Add adds an error, if it is one.
func (m *Mistakes) Add(err error) {
	if err != nil {
		*m = append(*m, err)
	}
}

// Err is all of them as an error of usage, or nil.
func (m Mistakes) Err() error { return UsageError(errors.Join(m...)) }

// Name checks a program's own name, and its region where its role has one.
func (m *Mistakes) Name(role identity.Role, name, region string) {
	id := identity.Identity{TrustDomain: "fairlead", Role: role, Name: name}
	if role.Regional() {
		id.Region = "any"
	}
	if err := id.Validate(); err != nil {
		m.Add(fmt.Errorf("--name: %w", err))
	}
	if !role.Regional() {
		return
	}
	if id.Name, id.Region = "any", region; region == "" {
		m.Add(errors.New("--region: missing: want the region that it is in, as eu-west"))
	} else if err := id.Validate(); err != nil {
		m.Add(fmt.Errorf("--region: %w", err))
	}
}

// Listen checks addresses to listen on.
func (m *Mistakes) Listen(flag string, addrs ...string) {
	if len(addrs) == 0 {
		m.Add(fmt.Errorf("%s: missing: want an address, as :53 or 192.0.2.53:53", flag))
	}
	for i, addr := range addrs {
		_, port, err := net.SplitHostPort(addr)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		switch {
		case err != nil:
			m.Add(fmt.Errorf("%s %q: want ADDRESS:PORT, or :PORT for every address", flag, addr))
		case slices.Contains(addrs[:i], addr) && port != "0":
			m.Add(fmt.Errorf("%s %q: named twice", flag, addr))
		}
	}
}

// Dial checks addresses of controllers.
func (m *Mistakes) Dial(flag string, addrs []string) {
	if len(addrs) == 0 {
		m.Add(fmt.Errorf("%s: missing: want HOST:PORT of every controller", flag))
	}
	for i, addr := range addrs {
		host, port, err := net.SplitHostPort(addr)
		n, portErr := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil || portErr != nil || host == "" || n == 0:
			m.Add(fmt.Errorf("%s %q: want HOST:PORT, as c1.example.net:7443", flag, addr))
		case slices.Contains(addrs[:i], addr):
			m.Add(fmt.Errorf("%s %q: named twice", flag, addr))
		}
	}
}

// CheckDir checks a directory that is made where it is missing.
func CheckDir(flag, path string) error {
	if path == "" {
		return nil
	}
	switch info, err := os.Stat(path); {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s %s: is a file: want a directory", flag, path)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s: %w", flag, err)
	}
	return nil
}
