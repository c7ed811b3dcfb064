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
	lc := net.ListenConfig{KeepAlive: -1, Control: settings(o.ForListener()).control}
	// On a Multipath TCP socket TCP_USER_TIMEOUT and SO_OOBINLINE fail (Linux 6.18).
	lc.SetMultipathTCP(false)
	return lc
}

// Dialer returns what opens connections with these options. It leaves QuickAck to who can tell, when the
// connection is open, whether there is something to send.
func (o Options) Dialer() net.Dialer {
	d := net.Dialer{KeepAlive: -1, Control: settings(append(o.Early(), o.Late()...)).control}
	d.SetMultipathTCP(false)
	return d
}

// Setting is one option of a TCP socket.
type Setting struct {
	What               string
	Level, Name, Value int
}

type settings []Setting

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
		if err := unix.SetsockoptInt(fd, o.Level, o.Name, o.Value); err != nil {
			return os.NewSyscallError("setsockopt "+o.What, err)
		}
	}
	return nil
}

// QuickAck returns the setting that lets acknowledgements ride on data (0), or sends the one that is held
// back and changes nothing else (2: __tcp_sock_set_quickack of Linux). With 0 before connect(2) the last ACK of the handshake rides on the first data: 6 %
// less CPU for short connections, but a backend that speaks first would wait 200 ms for it.
func QuickAck(how int) Setting {
	return Setting{"TCP_QUICKACK", unix.IPPROTO_TCP, unix.TCP_QUICKACK, how}
}

// ForListener returns the settings that accepted sockets are to inherit, those included that switch off what a listener
// may have been given before.
func (o Options) ForListener() []Setting {
	all := append(append(o.Early(), QuickAck(0)), o.Late()...)
	if o.UserTimeout == 0 {
		all = append(all, Setting{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 0})
	}
	if o.KeepaliveIdle == 0 {
		all = append(all, Setting{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0})
	}
	return all
}

// SetListener has the sockets that a listener accepts from now on inherit these options.
func (o Options) SetListener(l *net.TCPListener) error { return o.Set(l) }

// Early returns the settings that a socket needs before it connects.
func (o Options) Early() (all []Setting) {
	if o.DeferPort {
		all = append(all, Setting{"IP_BIND_ADDRESS_NO_PORT", unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1})
	}
	return all
}

// Late returns the settings that matter only to a connection that lasts longer than one exchange, or
// on which an urgent byte arrives: the kernel looks at SO_OOBINLINE when it is read.
func (o Options) Late() []Setting {
	all := []Setting{
		// An urgent byte stays in its place in the stream; out of line, it would wedge splice(2).
		{"SO_OOBINLINE", unix.SOL_SOCKET, unix.SO_OOBINLINE, 1},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	}
	if o.UserTimeout > 0 {
		ms := max(1, int(o.UserTimeout/time.Millisecond))
		all = append(all, Setting{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms})
	}
	if o.KeepaliveIdle > 0 {
		all = append(all,
			Setting{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			Setting{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(o.KeepaliveIdle)},
			Setting{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(o.KeepaliveInterval)},
			Setting{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, o.KeepaliveCount})
	}
	return all
}

func seconds(d time.Duration) int { return max(1, int(d/time.Second)) }

// Set gives an accepted socket what it would have inherited from a listener of ours.
func (o Options) Set(c syscall.Conn) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return settings(o.ForListener()).control("tcp", "", rc)
}

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

// SetRTOMax sets the most time that the kernel lets pass between two retransmissions, or two probes of a closed window, to a
// peer that does not answer; in its own bounds, 1 s to 120 s (Linux 6.15; before, it is 120 s and this does nothing).
func SetRTOMax(fd int, most time.Duration) {
	const tcpRTOMaxMS = 44 // TCP_RTO_MAX_MS, uapi/linux/tcp.h
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, tcpRTOMaxMS, int(most/time.Millisecond))
}

// Waiting returns how many connections are in the accept queue of a listener. 0 where that is not known.
func Waiting(l net.Listener) (n int) {
	c, ok := l.(*net.TCPListener)
	if !ok {
		return 0
	}
	if rc, err := c.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) {
			// tcpi_unacked of a socket that listens is the length of its queue (tcp_get_info of Linux).
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				n = int(info.Unacked)
			}
		})
	}
	return n
}
