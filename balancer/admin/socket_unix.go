//go:build unix

package admin

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// narrow gives a socket its mode before it has a name, so that nobody else can connect even for an instant:
// Linux takes the mode of the file from the socket, less the umask. The umask itself belongs to the whole
// process.
func narrow(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), socketMode) }) // elsewhere it fails, see listenUnix
}

// lockDirectory keeps others who start at the same time from taking each other's new socket for a stale
// one. The lock ends with the file.
func lockDirectory(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
