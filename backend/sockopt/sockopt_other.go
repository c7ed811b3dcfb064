//go:build !linux

package sockopt

import (
	"errors"
	"net"
	"syscall"
)

// ListenConfig returns what opens listening sockets with these options. Here keepalive is set on
// each accepted socket, and UserTimeout does nothing.
func (o Options) ListenConfig() net.ListenConfig {
	lc := net.ListenConfig{KeepAlive: -1, KeepAliveConfig: o.keepalive()}
	lc.SetMultipathTCP(false)
	return lc
}

// Dialer returns what opens connections with these options. Here UserTimeout and DeferPort do nothing.
func (o Options) Dialer() net.Dialer {
	d := net.Dialer{KeepAlive: -1, KeepAliveConfig: o.keepalive()}
	d.SetMultipathTCP(false)
	return d
}

// SetBacklog does nothing here: the accept queue keeps the system's default length.
func SetBacklog(syscall.Conn, int) error { return nil }

// Waiting is not known here: 0.
func Waiting(net.Listener) int { return 0 }

func (o Options) keepalive() net.KeepAliveConfig {
	return net.KeepAliveConfig{
		Enable:   o.KeepaliveIdle > 0,
		Idle:     o.KeepaliveIdle,
		Interval: o.KeepaliveInterval,
		Count:    o.KeepaliveCount,
	}
}

// Set gives an accepted socket its keepalive.
func (o Options) Set(c syscall.Conn) error {
	if t, ok := c.(*net.TCPConn); ok {
		return t.SetKeepAliveConfig(o.keepalive())
	}
	return nil
}

// SetListener cannot: here accepted sockets do not inherit options.
func (o Options) SetListener(*net.TCPListener) error { return errors.ErrUnsupported }
