// Package load shows weir at work: an echo server that stands in for a real one, a load generator, and a
// demonstration of the whole. It is no part of balancing. Start with [Echo] and [Generate].
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// EchoOptions says how an echo server answers.
type EchoOptions struct {
	// Name is sent to each client as its first line. Empty: nothing is.
	Name string
	// Delay is waited before each answer. 0: none.
	Delay time.Duration
	// Capacity is how many connections it serves at one time, as a stand-in for a fragile server; see
	// [Echo.Stats]. Each further one is an overload: it is accepted, counted and reset at once, as by a
	// server that has nothing left for it, and those that are served notice nothing (on a unix socket,
	// which knows no reset, it is ended). A connection counts from its accept until just before its close,
	// and no longer than until its client has reset it, or has ended its stream and had every answer: so the
	// client that comes after it is no overload. That is certain on event loops; goroutines may count a client
	// that has gone for a moment longer. 0 or less: no limit, and nothing is counted.
	Capacity int
	// Loops is how many event loops do the work (Linux); see [EchoLoops]. 0: goroutines do, which suits a
	// process that has other things to do.
	Loops int
	Log   zerolog.Logger
}

// Echo sends back what it is sent, and ends its stream when the client has ended its own.
type Echo struct {
	opts      EchoOptions
	listeners []net.Listener // owned; closed by Close
	loops     *echoLoops     // owned, likewise; nil: goroutines
	guests    *guests        // nil: no capacity

	dead chan struct{} // closed by Close

	mu     sync.Mutex
	conns  map[net.Conn]*guest
	closed bool
}

// ListenEcho opens every address ("tcp" or "unix", as net.Listen takes it). The caller serves what it
// returns, and closes it.
func ListenEcho(ctx context.Context, addrs []Address, o EchoOptions) (*Echo, error) {
	e := &Echo{opts: o, guests: newGuests(&o), dead: make(chan struct{}), conns: make(map[net.Conn]*guest)}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	for _, a := range addrs {
		l, err := lc.Listen(ctx, a.Network, a.Address)
		if err != nil {
			e.Close()
			return nil, err // it says "listen tcp 127.0.0.1:8080" itself
		}
		e.listeners = append(e.listeners, l)
	}
	if o.Loops > 0 {
		var err error
		if e.loops, err = newEchoLoops(o.Loops, e.listeners, &e.opts, e.guests); err != nil {
			e.Close()
			return nil, err
		}
	}
	return e, nil
}

// Address is where to listen.
type Address struct{ Network, Address string }

// Addrs returns the listening addresses.
func (e *Echo) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(e.listeners))
	for i, l := range e.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Stats tells how the capacity was used, so far or until Close. Without a capacity it is zero.
func (e *Echo) Stats() EchoStats { return e.guests.stats() }

// Serve answers until Close.
func (e *Echo) Serve() error {
	var g errgroup.Group
	for _, l := range e.listeners {
		e.opts.Log.Info().Stringer("listen", l.Addr()).Msg("echo is listening")
		if e.loops == nil {
			g.Go(func() error { return e.accept(l) })
		}
	}
	if e.loops != nil {
		e.loops.serve()
	}
	return g.Wait()
}

// acceptPause is how long a listener without descriptors waits before it tries again.
const acceptPause = 50 * time.Millisecond

func (e *Echo) accept(l net.Listener) error {
	var answering sync.WaitGroup
	defer answering.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			e.opts.Log.Error().Err(err).Msg("cannot accept")
			e.wait(acceptPause)
			continue
		}
		if !e.enter(c) {
			reset(c)
			continue
		}
		answering.Go(func() { e.answer(c) })
	}
}

// Close stops listening and resets every connection, as the death of the process would. Closing again
// does nothing.
func (e *Echo) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed = true
	close(e.dead)
	if e.loops != nil {
		e.loops.stop()
	}
	for _, l := range e.listeners {
		l.Close()
	}
	for c := range e.conns {
		reset(c)
	}
}

// reset closes a connection as the death of the process would.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

func (e *Echo) enter(c net.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	one, ok := e.guests.enter(e.descriptor(c))
	if !ok {
		return false
	}
	if one != nil {
		one.owed = true // io.Copy does not tell
	}
	e.conns[c] = one
	return true
}

// descriptor is what a capacity watches a connection by, and -1 where none is needed.
func (e *Echo) descriptor(c net.Conn) int {
	fd := -1
	if e.guests == nil {
		return fd
	}
	if rc, err := c.(syscall.Conn).SyscallConn(); err == nil {
		rc.Control(func(of uintptr) { fd = int(of) })
	}
	return fd
}

func (e *Echo) leave(c net.Conn) {
	e.mu.Lock()
	e.guests.leave(e.conns[c])
	delete(e.conns, c)
	e.mu.Unlock()
	c.Close()
}

func (e *Echo) answer(c net.Conn) {
	defer e.leave(c)
	if e.opts.Name != "" {
		if _, err := fmt.Fprintln(c, e.opts.Name); err != nil {
			return
		}
	}
	n, err := e.copy(c)
	e.opts.Log.Info().Stringer("client", c.RemoteAddr()).Int64("bytes", n).AnErr("error", err).Msg("echoed")
}

func (e *Echo) copy(c net.Conn) (int64, error) {
	if e.opts.Delay == 0 {
		return io.Copy(c, c)
	}
	return io.Copy(&slowWriter{c, e}, struct{ io.Reader }{c})
}

// slowWriter waits before each write.
type slowWriter struct {
	io.Writer
	echo *Echo
}

func (s *slowWriter) Write(p []byte) (int, error) {
	s.echo.wait(s.echo.opts.Delay)
	return s.Writer.Write(p)
}

// wait waits for d, or until Close.
func (e *Echo) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.dead:
	}
}
