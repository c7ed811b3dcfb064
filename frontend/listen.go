package frontend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"weir/backend/sockopt"
)

// LastCall is how long a listener that is about to close takes what is in its queue already.
const LastCall = 10 * time.Millisecond

// OpenListener is Opener's.
func (c *Copy) OpenListener(ctx context.Context, b Bind, rules *Rules, beside bool) (Listener, error) {
	if b.Network == "unix" {
		l, err := ListenUnix(ctx, b, rules)
		if err != nil {
			return nil, err
		}
		return c.opened(l, rules)
	}
	if beside {
		f, err := BindBeside(b, rules)
		if err == nil {
			return c.bound(f)
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return nil, err
		}
	}
	lc := rules.Socket.ListenConfig()
	l, err := lc.Listen(ctx, b.Network, b.Address)
	if err != nil {
		return nil, err
	}
	return c.opened(l, rules)
}

// opened makes a listener of one that was opened.
func (c *Copy) opened(l net.Listener, rules *Rules) (Listener, error) {
	d := &copyListener{copy: c, sockets: []net.Listener{l}}
	if rules.Backlog == 0 { // it is the most already
		return d, nil
	}
	if err := d.Listen(rules); err != nil {
		l.Close()
		return nil, err
	}
	return d, nil
}

// bound makes a listener of a socket that does not listen yet.
func (c *Copy) bound(f *os.File) (Listener, error) {
	defer f.Close()
	d := &copyListener{copy: c, shares: true}
	d.sets.Store(true)
	if err := d.add(f); err != nil {
		return nil, err
	}
	return d, nil
}

// AdoptListener is Opener's.
func (c *Copy) AdoptListener(files []*os.File) (Listener, error) {
	d := &copyListener{copy: c}
	d.sets.Store(true)
	for _, f := range files {
		if err := d.add(f); err != nil {
			d.Close()
			return nil, err
		}
	}
	return d, nil
}

// copyListener is a listening address: one socket, or all those of an engine that had more.
type copyListener struct {
	copy    *Copy
	sockets []net.Listener // owned; closed by whoever accepts, or by Close
	bind    atomic.Pointer[Bind]
	sets    atomic.Bool        // each accepted socket is given the options, for it does not inherit those of now
	shares  bool               // its port, until it listens
	end     context.CancelFunc // nil until somebody accepts

	accepting sync.WaitGroup
}

// add takes in a copy of a socket. The file is done with.
func (d *copyListener) add(f *os.File) error {
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	d.sockets = append(d.sockets, l)
	return nil
}

// Addr is Listener's.
func (d *copyListener) Addr() net.Addr { return d.sockets[0].Addr() }

// Sockets is Listener's.
func (d *copyListener) Sockets() (fds []uintptr) {
	d.each(func(c syscall.Conn) error {
		rc, err := c.SyscallConn()
		if err == nil {
			err = rc.Control(func(fd uintptr) { fds = append(fds, fd) })
		}
		return err
	})
	return fds
}

// each calls f for every socket until one fails.
func (d *copyListener) each(f func(syscall.Conn) error) error {
	for _, l := range d.sockets {
		if c, ok := l.(syscall.Conn); ok {
			if err := f(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// Listen is Listener's.
func (d *copyListener) Listen(rules *Rules) error {
	n := rules.Backlog
	if n == 0 {
		n = mostBacklog
	}
	if err := d.each(func(c syscall.Conn) error { return sockopt.SetBacklog(c, n) }); err != nil {
		return err
	}
	if d.shares {
		d.shares = false
		share(d.Sockets(), false)
	}
	return nil
}

// mostBacklog is more than the kernel allows: it takes net.core.somaxconn for it.
const mostBacklog = 1 << 30

// Follow is Listener's.
func (d *copyListener) Follow(rules *Rules) {
	d.each(func(c syscall.Conn) error {
		if l, ok := c.(*net.TCPListener); ok && !d.sets.Load() && rules.Socket.SetListener(l) != nil {
			d.sets.Store(true)
		}
		return nil
	})
}

// As is Listener's.
func (d *copyListener) As(b Bind) { d.bind.Store(&b) }

// Begin is Listener's.
func (d *copyListener) Begin() {
	ctx, end := context.WithCancel(d.copy.serving)
	d.end = end
	for _, l := range d.sockets {
		d.accepting.Add(1)
		d.copy.accepting.Go(func() {
			defer d.accepting.Done()
			d.copy.accept(ctx, d, l)
		})
	}
}

// Shut is Listener's.
func (d *copyListener) Shut(closed func()) {
	d.end()
	d.copy.accepting.Go(func() {
		d.accepting.Wait()
		closed()
	})
}

// Release is Listener's.
func (d *copyListener) Release() {
	d.end()
	d.Close()
}

// Close is Listener's.
func (d *copyListener) Close() {
	for _, l := range d.sockets {
		l.Close()
	}
}

// listenError says where a frontend could not listen.
func listenError(frontend string, b Bind, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" { // it would name the address once more
		err = op.Err
	}
	return fmt.Errorf("frontend %s: listen on %s: %w", frontend, b.Address, err)
}
