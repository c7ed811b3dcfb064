package frontend

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weir/backend/sockopt"
)

// TCPOf translates what the kernel tells.
func TCPOf(i *unix.TCPInfo) TCP {
	return TCP{
		Known: true, RTT: time.Duration(i.Rtt) * time.Microsecond, RTTVar: time.Duration(i.Rttvar) * time.Microsecond,
		Retransmits: i.Total_retrans,
	}
}

// LineOf translates what the kernel tells of data on its way to the peer.
func LineOf(i *unix.TCPInfo) Line {
	return Line{
		Unacked: i.Unacked, NotSent: i.Notsent_bytes, Resent: i.Retransmits, Probes: i.Probes,
		SinceAck: time.Duration(i.Last_ack_recv) * time.Millisecond,
	}
}

// lineOf asks the kernel about data on its way to the peer of a socket.
func lineOf(c syscall.Conn) (l Line) {
	rc, err := c.SyscallConn()
	if err != nil {
		return l
	}
	rc.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			l = LineOf(info)
		}
	})
	return l
}

// press has the kernel ask a peer that keeps data waiting at least that often. 0: as it likes.
func press(c syscall.Conn, most time.Duration) {
	if rc, err := c.SyscallConn(); err == nil && most > 0 {
		rc.Control(func(fd uintptr) { sockopt.SetRTOMax(int(fd), most) })
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
