//go:build !linux

package check

import "syscall"

// lateBind does nothing where the kernel has no such option.
func lateBind(_, _ string, _ syscall.RawConn) error { return nil }
