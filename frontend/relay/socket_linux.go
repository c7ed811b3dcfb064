package relay

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tcpClose is the state of a TCP socket whose connection is over (TCP_CLOSE, tcp_states.h).
const tcpClose = 7

// hiddenReset finds out whether the end of src that was read is a reset in disguise: the kernel
// reports a reset once, and when the write of the other direction was told, our read sees an end.
func (h *half) hiddenReset() error {
	state, ok := tcpState(h.src)
	if !ok || state != tcpClose || h.other().eof.Load() {
		return nil
	}
	if err := socketError(h.src); err != 0 {
		return resetOnly(err)
	}
	select {
	case <-h.other().done: // it was told, and has gone
		return resetOnly(h.other().failed)
	case <-time.After(tellLimit):
		return unix.ECONNRESET
	}
}

// tellLimit is how long the direction that was told of a reset may take to say so. It only has to
// return from its write.
const tellLimit = time.Second

// resetOnly returns err unless it is EPIPE, which the kernel reports when the peer had ended its
// stream properly before it refused ours.
func resetOnly(err error) error {
	if errors.Is(err, unix.EPIPE) {
		return nil
	}
	return err
}

func tcpState(c syscall.Conn) (state uint8, ok bool) {
	onFD(c, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state, ok = info.State, true
		}
	})
	return state, ok
}

func socketError(c syscall.Conn) (errno syscall.Errno) {
	onFD(c, func(fd int) {
		if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil {
			errno = syscall.Errno(n)
		}
	})
	return errno
}

// unacknowledged returns how many written bytes the peer's kernel does not have yet.
func unacknowledged(c syscall.Conn) (n int) {
	onFD(c, func(fd int) { n, _ = unix.IoctlGetInt(fd, unix.SIOCOUTQ) })
	return n
}

func acked(c syscall.Conn) (n uint64) {
	onFD(c, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Bytes_acked
		}
	})
	return n
}

// onFD does nothing when the socket is closed.
func onFD(c syscall.Conn, f func(fd int)) {
	if rc, err := c.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { f(int(fd)) })
	}
}
