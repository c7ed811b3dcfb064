package frontend

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// TCPOf translates what the kernel tells.
func TCPOf(i *unix.TCPInfo) TCP {
	return TCP{
		Known: true, RTT: time.Duration(i.Rtt) * time.Microsecond, RTTVar: time.Duration(i.Rttvar) * time.Microsecond,
		Retransmits: i.Total_retrans,
	}
}

// lookAt asks the kernel about a socket. quiet is for how long no data has come or gone, -1 if it is not TCP.
func lookAt(c syscall.Conn) (t TCP, quiet time.Duration) {
	quiet = -1
	rc, err := c.SyscallConn()
	if err != nil {
		return t, quiet
	}
	rc.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		t, quiet = TCPOf(info), time.Duration(min(info.Last_data_recv, info.Last_data_sent))*time.Millisecond
	})
	return t, quiet
}
