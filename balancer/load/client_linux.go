package load

import (
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend/reactor/loop"
)

// state is what a client is at.
type state uint8

const (
	absent     state = iota // no connection
	paused                  // no connection, after an error
	connecting              // to the target
	welcoming               // connected, before the greeting
	ready                   // nothing to do
	asking                  // a message is on its way, there or back
	held                    // nothing to do, for good
	streaming
	draining // everything is sent, and some of it not yet back
)

// timed says that something is waited for.
func (s state) timed() bool { return s == connecting || s == welcoming || s >= asking && s != held }

const clientEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// client is one connection at a time. It is part of its worker, and used over and over.
type client struct {
	worker *worker
	fd     int // owned; -1: none
	key    loop.Key
	state  state

	readable, writable, ended bool
	greeted                   bool
	line                      greeting

	counts *tally        // of the phase
	from   time.Duration // when the work was to begin, on the run's clock
	since  time.Duration // when it did, or a stream last moved

	base      int64 // position of the message in the pattern
	sent, got int64 // of the message

	pause loop.Timer
}

// begin begins a piece of work that was to begin at a time.
func (c *client) begin(at time.Duration, phase int) {
	c.from, c.counts = at, c.worker.counts[phase]
	c.counts.started++
	if c.state == ready {
		c.ask()
		return
	}
	c.open()
}

// again begins the next piece of the closed loop, if there is one.
func (c *client) again() {
	w := c.worker
	switch {
	case c.state == absent && w.Mode == Stream: // it has failed
		c.retire()
	case w.Mode == Stream:
		c.stream()
	case w.stage == finishing || !w.take():
		c.retire()
	default:
		c.begin(w.now(), 0)
	}
}

// retire ends a client that has no more to do.
func (c *client) retire() {
	c.worker.busy--
	c.worker.retired()
}

// open begins to connect.
func (c *client) open() {
	w := c.worker
	c.state, c.since = connecting, w.now()
	c.readable, c.writable, c.ended, c.greeted = false, false, false, !w.Greeting
	fd, errno := w.dial.dial()
	if errno != 0 {
		c.fail(errno)
		return
	}
	c.fd = fd
	if c.key, errno = w.Add(fd, clientEvents, c); errno != 0 {
		c.fail(errno)
	}
}

// close closes the connection, if there is one.
func (c *client) close() {
	if c.fd < 0 {
		return
	}
	c.worker.Forget(c.key)
	loop.Close(c.fd)
	c.fd, c.key, c.state = -1, 0, absent
}

// Ready is told what the socket is ready for.
func (c *client) Ready(ev uint32) {
	const end = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	c.readable = c.readable || ev&(unix.EPOLLIN|end) != 0
	c.writable = c.writable || ev&unix.EPOLLOUT != 0
	c.ended = c.ended || ev&end != 0
	switch c.state {
	case connecting:
		c.connected(ev)
	case asking:
		c.push()
		c.pull()
	case welcoming, ready, held:
		c.pull()
	case streaming, draining:
		c.flow()
	}
}

func (c *client) connected(ev uint32) {
	if ev&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		if errno, _ := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); errno != 0 {
			c.fail(loop.Errno(errno))
			return
		}
	}
	if !c.writable {
		return
	}
	w := c.worker
	if w.stage == preparing && w.Mode != Hold {
		c.state = welcoming
		c.welcome()
		c.pull()
		return
	}
	if w.Mode == Pong && !w.Options.open() {
		c.from = w.now() // it is messages that count, not the connection that had to be made anew
	}
	c.ask()
}

// welcome ends the opening of a lasting connection: with the greeting, if there is one.
func (c *client) welcome() {
	if c.state == welcoming && c.greeted {
		c.state = ready
		c.worker.opened()
	}
}

// answered counts a piece of work and goes on.
func (c *client) answered() {
	w := c.worker
	c.counts.finish(w.now() - c.from)
	switch {
	case w.Mode == Hold:
		c.state = held
	case w.Mode == Connect:
		c.close()
	default:
		c.state = ready
	}
	c.over()
}

// over gives the client its next piece of work.
func (c *client) over() {
	w := c.worker
	switch {
	case w.stage == preparing:
		w.opened()
	case w.stage == finishing:
		c.close()
		c.retire()
	case w.Mode == Hold:
		c.retire()
	case w.pacer != nil:
		w.resting.push(c)
		w.busy--
		w.pacer.pump()
	default:
		c.again()
	}
}

// fail counts an error and ends the connection.
func (c *client) fail(err error) {
	w, was := c.worker, c.state
	c.counts.errors[doing(was)+": "+err.Error()]++
	c.close()
	c.state = absent
	switch {
	case was == ready || was == held: // it had nothing to do
		if was == held {
			c.counts.lost++
		}
	case w.stage == working && w.Mode == Stream:
		c.retire()
	case w.stage == working && w.pacer == nil:
		c.state = paused
		w.pauses.Arm(&c.pause, c, errorPause)
	default:
		c.over()
	}
}

// Expired ends the pause after an error.
func (c *client) Expired(*loop.Timer) {
	c.state = absent
	c.again()
}

// wind ends the client's work when the run is over.
func (c *client) wind() {
	switch c.state {
	case ready, held:
		c.close()
	case paused:
		c.pause.Stop()
		c.state = absent
		c.retire()
	case streaming:
		c.drain()
	}
}

// Panicked passes the panic on.
func (c *client) Panicked(value any, stack []byte) { c.worker.Panicked(value, stack) }

// doing names what a client was at when it failed.
func doing(s state) string {
	switch s {
	case connecting:
		return "connect"
	case ready, held:
		return "idle"
	case streaming, draining:
		return "stream"
	}
	return "answer"
}
