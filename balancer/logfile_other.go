//go:build !unix

package balancer

import "syscall"

// SignalReopen is no signal: the system has none that would do.
const SignalReopen = syscall.Signal(-1)

const openWithoutWaiting = 0
