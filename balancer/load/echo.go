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

	dead chan struct{} // closed by Close

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// ListenEcho opens every address ("tcp" or "unix", as net.Listen takes it). The caller serves what it
// returns, and closes it.
func ListenEcho(ctx context.Context, addrs []Address, o EchoOptions) (*Echo, error) {
	e := &Echo{opts: o, dead: make(chan struct{}), conns: make(map[net.Conn]struct{})}
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
		if e.loops, err = newEchoLoops(o.Loops, e.listeners, &e.opts); err != nil {
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
			c.Close()
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
		if t, ok := c.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		c.Close()
	}
}

func (e *Echo) enter(c net.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.conns[c] = struct{}{}
	return true
}

func (e *Echo) leave(c net.Conn) {
	e.mu.Lock()
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
