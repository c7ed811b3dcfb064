//go:build !unix

package run

import (
	"os"
	"syscall"
)

// There are no such signals here; these never come.
const (
	signalReload  = syscall.Signal(-1)
	signalUpgrade = syscall.Signal(-2)
)

var runSignals []os.Signal

func reloading() string { return "RELOADING=1" }

func mainPID() string { return "" }
