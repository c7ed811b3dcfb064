package loop

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of an event loop, none of which blocks: they go to the kernel without telling the
// runtime's scheduler, which would cost as much again as the shorter ones do.

// Errno is the error of a system call; 0 is none.
type Errno = syscall.Errno

// Recv reads what has arrived. n is 0 with no error at the end of the stream.
func Recv(fd int, p []byte) (n int, err Errno) {
	r, _, err := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	return count(r, err), err
}

// Send writes what the socket takes.
func Send(fd int, p []byte) (n int, err Errno) {
	r, _, err := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return count(r, err), err
}

// Splice moves bytes between a socket and a pipe.
func Splice(from, to, most int) (n int, err Errno) {
	r, _, err := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return count(r, err), err
}

func count(r uintptr, err Errno) int {
	if err != 0 {
		return 0
	}
	return int(r)
}

// Accept takes the next connection of a listening socket, non-blocking and closed on exec; sa is
// filled with the peer's address.
func Accept(fd int, sa *unix.RawSockaddrAny) (conn int, err Errno) {
	size := uint32(unsafe.Sizeof(*sa))
	r, _, err := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(sa)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if err != 0 {
		return -1, err
	}
	return int(r), 0
}

// Socket opens a non-blocking stream socket that is closed on exec.
func Socket(family int) (fd int, err Errno) {
	r, _, err := syscall.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != 0 {
		return -1, err
	}
	return int(r), 0
}

// Connect begins to connect; EINPROGRESS says that it will be told by an event.
func Connect(fd int, sa []byte) Errno {
	_, _, err := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa[0])), uintptr(len(sa)))
	return err
}

// Disconnect makes a socket new again, whose connection is over: connecting to AF_UNSPEC dissolves the
// association (connect(2)).
func Disconnect(fd int) Errno {
	var sa unix.RawSockaddr // AF_UNSPEC is 0
	_, _, err := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	return err
}

// Disconnected says whether the connection of a TCP socket is over altogether: each side has acknowledged
// the other's end, or has reset it. The kernel then knows of no peer.
func Disconnected(fd int) bool {
	var sa unix.RawSockaddrAny
	size := uint32(unsafe.Sizeof(sa))
	_, _, err := syscall.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	return err == unix.ENOTCONN
}

// Bind gives a socket its local address.
func Bind(fd int, sa []byte) Errno {
	_, _, err := syscall.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa[0])), uintptr(len(sa)))
	return err
}

// SetInt sets a socket option.
func SetInt(fd, level, name int, value int32) Errno {
	_, _, err := syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
	return err
}

// ShutdownWrite sends the end of the stream.
func ShutdownWrite(fd int) { syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0) }

// Close closes a descriptor.
func Close(fd int) { syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// CloseBoth closes two descriptors: in one call when they are neighbours, as a session's two sockets mostly
// are (close_range(2), Linux 5.9), and in two where that is not to be had.
func CloseBoth(a, b int) {
	if low := min(a, b); max(a, b) == low+1 {
		if _, _, err := syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(low), uintptr(low+1), 0); err == 0 {
			return
		}
	}
	Close(a)
	Close(b)
}

// ResetOnClose makes Close send RST in place of FIN.
func ResetOnClose(fd int) {
	l := unix.Linger{Onoff: 1}
	syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)), unsafe.Sizeof(l), 0)
}

// poll asks for events and waits at most ms milliseconds, unseen by the runtime: its processor is held.
func poll(ep int, events []unix.EpollEvent, ms int) int {
	r, _, err := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(ms), 0, 0)
	return count(r, err)
}

// block waits for events as long as it takes, seen by the runtime. ms below 0: for ever.
func block(ep int, events []unix.EpollEvent, ms int) int {
	n, err := unix.EpollWait(ep, events, ms)
	if err != nil {
		return 0
	}
	return n
}

func control(ep, op, fd int, e *unix.EpollEvent) Errno {
	_, _, err := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(ep), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(e)), 0, 0)
	return err
}
