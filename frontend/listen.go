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

// listen opens one listening socket. The caller owns it.
func listen(ctx context.Context, b Bind, o *Options) (net.Listener, error) {
	lc := o.Socket.ListenConfig()
	l, err := lc.Listen(ctx, b.Network, b.Address)
	if errors.Is(err, syscall.EADDRINUSE) && removeStale(b) {
		l, err = lc.Listen(ctx, b.Network, b.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("frontend %s: listen on %s: %w", o.Name, b.Address, err)
	}
	if c, ok := l.(syscall.Conn); ok && o.Backlog > 0 {
		if err := sockopt.SetBacklog(c, o.Backlog); err != nil {
			l.Close()
			return nil, fmt.Errorf("frontend %s: set backlog of %s: %w", o.Name, b.Address, err)
		}
	}
	return l, nil
}

// removeStale removes the unix socket of a process that is gone. One that somebody listens on, or
// anything else than a socket, stays.
func removeStale(b Bind) bool {
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

const (
	// First and longest pause of an accept loop that the kernel gives no connection.
	firstPause, longestPause = 5 * time.Millisecond, time.Second
	// lastCall is how long a listener that is about to close takes what is in its queue already.
	lastCall = 10 * time.Millisecond
)

// accept gives every client of l a goroutine until ctx ends. No error ends it before.
func (f *Frontend) accept(ctx context.Context, l net.Listener) {
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { setDeadline(l, time.Now().Add(lastCall)) })
	defer stop()
	var t trouble
	for f.takeSlot(ctx) == nil {
		client, err := l.Accept()
		if err == nil {
			t.over()
			f.start(client)
			continue
		}
		f.giveSlot()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		t.pause(ctx, f, err)
	}
}

// setDeadline makes Accept of l fail from then on. What is in the queue is accepted until then.
func setDeadline(l net.Listener, at time.Time) {
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(at)
	}
}

// takeSlot waits until there may be one more session. Clients wait in the accept queue meanwhile.
func (f *Frontend) takeSlot(ctx context.Context) error {
	full := func() {
		f.opts.Log.Warn().Msg("no session is free: further clients wait in the accept queue")
	}
	if err := f.own.take(ctx, full); err != nil {
		return err
	}
	if err := f.opts.Slots.take(ctx, full); err != nil {
		f.own.give()
		return err
	}
	return nil
}

func (f *Frontend) giveSlot() {
	f.opts.Slots.give()
	f.own.give()
}

// trouble is an episode in which the kernel gives no connections: no descriptors or no memory, mostly.
type trouble struct{ next time.Duration }

func (t *trouble) over() { t.next = 0 }

// pause waits, longer each time, and logs the first of an episode.
func (t *trouble) pause(ctx context.Context, f *Frontend, err error) {
	if t.next == 0 {
		f.opts.Log.Error().Err(err).Msg("cannot accept: trying again until it works")
		t.next = firstPause
	}
	wait := time.NewTimer(t.next)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	t.next = min(2*t.next, longestPause)
}
