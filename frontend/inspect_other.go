//go:build !linux

package frontend

import (
	"syscall"
	"time"
)

// lineOf knows nothing here.
func lineOf(syscall.Conn) Line { return Line{} }

// press does nothing here.
func press(syscall.Conn, time.Duration) {}

// lookAt knows nothing here.
func lookAt(syscall.Conn) (t TCP, quiet time.Duration) { return TCP{}, -1 }
