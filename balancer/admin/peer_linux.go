package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerOf asks the kernel who has connected (SO_PEERCRED in unix(7)): that cannot be forged.
func peerOf(c *net.UnixConn) peer {
	raw, err := c.SyscallConn()
	if err != nil {
		return noPeer
	}
	var p = noPeer
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			p = peer{int(cred.Uid), int(cred.Pid)}
		}
	})
	return p
}
