//go:build unix

package run

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	signalReload  = syscall.SIGHUP
	signalUpgrade = syscall.SIGUSR2
)

// changeSignals are those that a running weir obeys, beside the ones that end it.
var changeSignals = []os.Signal{signalUpgrade, signalReload}

// raise has a signal do what it does to a process that does not catch it.
func raise(s os.Signal) {
	if n, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(os.Getpid(), n)
	}
}

// OutliveReaders makes of a write to stdout or stderr whose reader is gone an error and no more. Without that Go ends
// the process with SIGPIPE, also when that was ignored at exec (os/signal, "SIGPIPE"). It is for commands that run
// until they are told to stop; others are to end quietly when nobody reads them any more, as in 'weir check | head'.
//
// The signal is caught and thrown away rather than ignored: what weir starts would inherit that.
func OutliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// reloading says that a reload begins; systemd wants to know when (sd_notify(3), Type=notify-reload).
func reloading() string {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return "RELOADING=1"
	}
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000)
}

func mainPID() string { return fmt.Sprintf("MAINPID=%d", os.Getpid()) }
