//go:build unix

package balancer

import "syscall"

// SignalReopen asks for the log file to be opened again.
const SignalReopen = syscall.SIGUSR1

// openWithoutWaiting makes the open of a FIFO that nobody reads fail, where it would wait for ever.
const openWithoutWaiting = syscall.O_NONBLOCK
