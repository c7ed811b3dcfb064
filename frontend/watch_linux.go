package frontend

import (
	"golang.org/x/sys/unix"

	"weir/frontend/relay"
)

// untilGone waits until the client has reset the connection or hung up, or its read deadline passes;
// it reports which. It reads nothing. An end of stream alone is not leaving: the client may wait for
// its answer.
func untilGone(client relay.Conn) (gone bool) {
	rc, err := client.SyscallConn()
	if err != nil {
		return true
	}
	rc.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, _ := unix.Poll(p, 0)
		gone = n > 0 && p[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		return gone
	})
	return gone
}
