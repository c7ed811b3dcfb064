package sockopt

import (
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ListenConfig returns what opens listening sockets with these options.
func (o Options) ListenConfig() net.ListenConfig {
	lc := net.ListenConfig{KeepAlive: -1, Control: o.settings().control}
	// On a Multipath TCP socket TCP_USER_TIMEOUT and SO_OOBINLINE fail (Linux 6.18).
	lc.SetMultipathTCP(false)
	return lc
}

// Dialer returns what opens connections with these options.
func (o Options) Dialer() net.Dialer {
	d := net.Dialer{KeepAlive: -1, Control: o.settings().control}
	d.SetMultipathTCP(false)
	return d
}

type setting struct {
	what               string
	level, name, value int
}

type settings []setting

func (s settings) control(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	if cerr := c.Control(func(fd uintptr) { err = s.apply(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

func (s settings) apply(fd int) error {
	for _, o := range s {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt "+o.what, err)
		}
	}
	return nil
}

func (o Options) settings() settings {
	all := settings{
		// An urgent byte stays in its place in the stream; out of line, it would wedge splice(2).
		{"SO_OOBINLINE", unix.SOL_SOCKET, unix.SO_OOBINLINE, 1},
		// The last ACK of the handshake rides on the first data: 6 % less CPU for short connections.
		{"TCP_QUICKACK", unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0},
	}
	if o.UserTimeout > 0 {
		ms := max(1, int(o.UserTimeout/time.Millisecond))
		all = append(all, setting{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms})
	}
	if o.KeepaliveIdle > 0 {
		all = append(all,
			setting{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			setting{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(o.KeepaliveIdle)},
			setting{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(o.KeepaliveInterval)},
			setting{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, o.KeepaliveCount})
	}
	if o.DeferPort {
		all = append(all, setting{"IP_BIND_ADDRESS_NO_PORT", unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1})
	}
	return all
}

func seconds(d time.Duration) int { return max(1, int(d/time.Second)) }

// SetBacklog changes the length of the accept queue of a listening socket.
func SetBacklog(c syscall.Conn, n int) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	// listen(2) on a socket that listens already only changes the length.
	if cerr := rc.Control(func(fd uintptr) { err = unix.Listen(int(fd), n) }); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("listen", err)
}
