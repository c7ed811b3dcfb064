package frontend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"weir/backend/sockopt"
)

// LastCall is how long a listener that is about to close takes what is in its queue already.
const LastCall = 10 * time.Millisecond

// listen opens one listening socket. The caller owns it.
func (c *Copy) listen(ctx context.Context, b Bind, rules *Rules) (net.Listener, error) {
	lc := rules.Socket.ListenConfig()
	l, err := lc.Listen(ctx, b.Network, b.Address)
	if errors.Is(err, syscall.EADDRINUSE) && RemoveStale(b) {
		l, err = lc.Listen(ctx, b.Network, b.Address)
	}
	if err != nil {
		return nil, c.ListenError(b, err)
	}
	if s, ok := l.(syscall.Conn); ok && rules.Backlog > 0 {
		if err := sockopt.SetBacklog(s, rules.Backlog); err != nil {
			l.Close()
			return nil, c.ListenError(b, err)
		}
	}
	return l, nil
}

// ListenError says where the frontend could not listen.
func (f *Frontend) ListenError(b Bind, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" { // it would name the address once more
		err = op.Err
	}
	return fmt.Errorf("frontend %s: listen on %s: %w", f.Options.Name, b.Address, err)
}

// RemoveStale removes the unix socket of a process that is gone. One that somebody listens on, or
// anything else than a socket, stays.
func RemoveStale(b Bind) bool {
	if b.Network != "unix" || strings.HasPrefix(b.Address, "@") {
		return false
	}
	info, err := os.Lstat(b.Address)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	c, err := net.Dial("unix", b.Address)
	if err == nil {
		c.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED) && os.Remove(b.Address) == nil
}
