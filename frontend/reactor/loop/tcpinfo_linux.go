package loop

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TCPInfo fills in what the kernel knows of a TCP connection; what an older kernel does not know is 0.
func TCPInfo(fd int, info *unix.TCPInfo) Errno {
	*info = unix.TCPInfo{}
	size := uint32(unsafe.Sizeof(*info))
	_, _, err := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
	return err
}
