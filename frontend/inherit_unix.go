//go:build unix

package frontend

import "golang.org/x/sys/unix"

// duplicate leaves the socket in the mode it is in: [os.File.Fd] of what net.Listener.File returns would not.
func duplicate(fd uintptr) (uintptr, error) {
	copied, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	return uintptr(copied), err
}
