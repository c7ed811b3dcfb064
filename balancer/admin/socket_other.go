//go:build !unix

package admin

import (
	"os"
	"syscall"
)

func narrow(_, _ string, _ syscall.RawConn) error { return nil }

func lockDirectory(dir string) (*os.File, error) { return os.Open(dir) }
