//go:build unix

package run

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	signalReload  = syscall.SIGHUP
	signalUpgrade = syscall.SIGUSR2
)

// runSignals are those that a running weir obeys, beside the ones that end it.
var runSignals = []os.Signal{signalReload, signalUpgrade}

// reloading says that a reload begins; systemd wants to know when (sd_notify(3), Type=notify-reload).
func reloading() string {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return "RELOADING=1"
	}
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000)
}

func mainPID() string { return fmt.Sprintf("MAINPID=%d", os.Getpid()) }
