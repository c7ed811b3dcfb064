package handover

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watchExit returns what waits, for a while at most, until a process has ended that lives now: with all its sockets.
// The kernel closes the connection to it before those, perhaps.
func watchExit(pid int) (await func()) {
	if pid <= 0 || pid == os.Getpid() {
		return func() {}
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil { // it has ended, or the kernel is too old
		return func() {}
	}
	f := os.NewFile(uintptr(fd), "process") // closed by the collector if nobody waits
	return func() {
		defer f.Close()
		awaitReadable(fd, time.Now().Add(endsWithin))
	}
}

// endsWithin is how long a process may take to end after it has closed its connections.
const endsWithin = 5 * time.Second

func awaitReadable(fd int, until time.Time) {
	for {
		left := time.Until(until)
		if left <= 0 {
			return
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, int(left.Milliseconds())+1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// maker returns the process that has made the connection: the tenant. 0: it is not known.
func (c *Conn) maker() (pid int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}
