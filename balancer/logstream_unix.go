//go:build unix

package balancer

import (
	"os"

	"golang.org/x/sys/unix"
)

// nowhere says whether f was closed when this process was started. Go's runtime then puts /dev/null in its place,
// open for reading and writing, before it does anything else (checkfds in runtime/fds_unix.go). So a socket never
// has one of the first three numbers, and the log never goes into a session. Who has chosen /dev/null for a log has
// it open for writing alone: a shell, and systemd.
func nowhere(f *os.File) bool {
	var is, null unix.Stat_t
	fd := int(f.Fd())
	if unix.Fstat(fd, &is) != nil {
		return true
	}
	if unix.Stat(os.DevNull, &null) != nil || is.Rdev != null.Rdev || is.Mode&unix.S_IFMT != unix.S_IFCHR {
		return false
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDWR
}
