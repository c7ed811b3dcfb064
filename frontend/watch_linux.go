package frontend

import (
	"golang.org/x/sys/unix"

	"weir/frontend/relay"
)

// untilGone waits until the client has reset the connection or hung up, or its read deadline passes;
// it reports which. It reads nothing. An end of stream alone is not leaving: the client may wait for
// its answer. But while silent says so, it is, if no byte came before.
func untilGone(client relay.Conn, silent func() bool) (gone bool) {
	rc, err := client.SyscallConn()
	if err != nil {
		return true
	}
	rc.Read(func(fd uintptr) bool {
		gone = polled(fd, 0)&(unix.POLLERR|unix.POLLHUP) != 0 || silent() && endedSilentFD(fd)
		return gone
	})
	return gone
}

// endedSilent says whether the client has ended its stream without a byte.
func endedSilent(client relay.Conn) (ended bool) {
	rc, err := client.SyscallConn()
	if err != nil {
		return true
	}
	rc.Control(func(fd uintptr) { ended = endedSilentFD(fd) })
	return ended
}

func endedSilentFD(fd uintptr) bool {
	if polled(fd, unix.POLLRDHUP)&unix.POLLRDHUP == 0 {
		return false
	}
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	return err == nil && n == 0
}

func polled(fd uintptr, events int16) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	unix.Poll(p, 0)
	return p[0].Revents
}
