package balancer_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// queue asks for the length of one of a socket's queues.
func queue(t *testing.T, c *net.TCPConn, which uint) (n int) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err != nil {
		t.Error(err)
		return 0
	}
	rc.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), which) })
	return n
}
