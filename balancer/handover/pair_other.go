//go:build !(linux || freebsd || netbsd || openbsd || dragonfly)

package handover

import "os"

// Pair fails.
func Pair() (*Conn, *os.File, error) { return nil, nil, ErrUnsupported }
