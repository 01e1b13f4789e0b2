//go:build !linux

package transport

// canSharePort: elsewhere than on Linux, SO_REUSEPORT does not spread load.
const canSharePort = false

func setUDPOptions(int, bool, bool) error { return nil }
