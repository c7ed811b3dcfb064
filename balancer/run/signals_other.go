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

var changeSignals []os.Signal

// raise ends the process, as every signal does that there is here.
func raise(os.Signal) { os.Exit(1) }

// OutliveReaders has nothing to do: there is no SIGPIPE here.
func OutliveReaders() {}

func reloading() string { return "RELOADING=1" }

func mainPID() string { return "" }
