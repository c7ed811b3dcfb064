//go:build linux || freebsd || netbsd || openbsd || dragonfly

package handover

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pair makes a connection: this process is the tenant, and has one end; the other is for its successor.
func Pair() (mine *Conn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // neither end is for a process that is started just now
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("make a connection to the successor: %w", err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			unix.Close(fds[0])
			unix.Close(fds[1])
			return nil, nil, os.NewSyscallError("fcntl", err)
		}
	}
	theirs = os.NewFile(uintptr(fds[1]), "successor")
	if mine, err = Open(os.NewFile(uintptr(fds[0]), "tenant")); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return mine, theirs, nil
}
