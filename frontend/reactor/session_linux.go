package reactor

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"weir/backend/sockopt"
	"weir/frontend"
	"weir/frontend/reactor/loop"
	"weir/frontend/refusal"
	"weir/frontend/relay"
)

// state is the phase a session is in.
type state uint8

const (
	choosing   state = iota // between two attempts: a pause, or a name being resolved
	queued                  // waiting for a backend
	connecting              // to a backend
	relaying
	delivering // one side has failed: the other gets what was read, then a reset
	refusing   // the client says its part, before it is told why it gets no backend
	discarding // the client still sends what nobody wants, while it reads its answer
	ended
)

// events is what a session's sockets are registered for: everything, once and for all. EPOLLPRI tells
// of an urgent byte, in front of which a read stops short of what has arrived.
const events = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET&0xffffffff

// session is one client connection. All of it belongs to its core's loop. It is used again for another
// client when it has ended.
type session struct {
	frontend.Session
	ticket uint64 // of the last name look-up; counts on when the session is used again
	live
}

// live is what a session has of its own each time it is used.
type live struct {
	port           *port
	client, server side
	up, down       stream // up: from the client to the server

	*attempt                  // nil once there is a backend
	failure  *failure         // the first; nil while all is well
	silence  frontend.Silence // on the clock of the time that the loop ran
	unwanted int64            // bytes that may still be discarded
	ward     uint32           // its place among the port's wards, from 1; 0: none
	state    state
	settled  bool  // the backend's socket has its late options
	unix     bool  // the backend's socket is not TCP
	bound    bool  // it has a source address
	family   uint8 // of it

	quiet, life, misc loop.Timer // misc: connect, retry, settle, or close
	prev, next        *session   // in the port
}

// failure is why a session does not end well, and how the side that is left is let go.
type failure struct {
	outcome frontend.Outcome
	phase   frontend.Phase
	err     error

	speech  *refusal.Speech // to be told
	hearing refusal.Hearing

	left  int           // bytes that were unacknowledged at the last look
	since time.Time     // it is so many
	pause time.Duration // until the next look
}

// side is one socket of a session.
type side struct {
	session  *session
	key      loop.Key
	fd       int32 // owned; -1: none
	readable bool  // it may have bytes for us
	writable bool
	fin      bool // the end has arrived
	drained  bool // and all before it was read
	hup      bool // a reset or an urgent byte has: a short read may not be all there is
	err      bool // an error was told of
	pressed  bool // the kernel asks the peer often enough
}

// start makes an accepted client a session, if it is let in. The slot it has is given back at its end.
func (p *port) start(fd int, from netip.AddrPort, bind frontend.Bind) {
	admitted, ok := p.Admit(from, bind, p.Now())
	if !ok {
		loop.ResetOnClose(fd)
		loop.Close(fd)
		p.GiveSlot()
		return
	}
	s := p.takeSession()
	defer loop.Contain(s)
	s.live = live{port: p, attempt: p.takeAttempt()}
	s.attempt.session = s
	s.client = side{session: s, fd: int32(fd), writable: true}
	s.server = side{session: s, fd: -1}
	s.up = stream{session: s, from: &s.client, to: &s.server}
	s.down = stream{session: s, from: &s.server, to: &s.client}
	p.enter(s)
	p.Begin(&s.Session, &s.attempt.Quest, from, admitted, p.Now())
	s.LogServing()
	var errno loop.Errno
	if s.client.key, errno = p.Add(fd, events, &s.client); errno != 0 {
		s.refuse(frontend.NoResources, os.NewSyscallError("epoll_ctl", errno))
		return
	}
	s.armLife()
	s.choose()
}

// Ready is told what a socket of the session is ready for.
func (d *side) Ready(ev uint32) {
	s := d.session
	d.readable = d.readable || ev&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0
	d.writable = d.writable || ev&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0
	d.hup = d.hup || ev&(unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0
	d.fin = d.fin || ev&unix.EPOLLRDHUP != 0
	d.err = d.err || ev&unix.EPOLLERR != 0
	if ev&unix.EPOLLPRI != 0 && !s.settled {
		s.settleIn() // before the urgent byte is read
	}
	switch s.state {
	case relaying:
		if ev&unix.EPOLLERR != 0 && d == &s.client && s.up.eof { // nothing is read of it that could tell
			s.fail(d, unix.EPIPE)
			return
		}
		s.pump()
	case connecting, choosing, queued:
		s.readyBefore(d, ev)
	case refusing:
		s.hear()
	case delivering:
		s.deliver()
	case discarding:
		s.discard()
	}
}

// readyBefore is Ready before there is a backend.
func (s *session) readyBefore(d *side, ev uint32) {
	if d == &s.client {
		if ev&(unix.EPOLLHUP|unix.EPOLLERR) != 0 || s.state == queued && d.fin && s.endedSilent() {
			s.left()
		}
		return
	}
	b := s.Chosen()
	if ev&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		errno, _ := unix.GetsockoptInt(int(d.fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if errno != 0 {
			s.unreached(b, dialError(b, "connect", loop.Errno(errno)))
			return
		}
	}
	if ev&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.connected()
	}
}

// left ends a session whose client has gone before it had a backend.
func (s *session) left() {
	outcome := frontend.ClientLeft
	var err error = context.Canceled
	if s.state == connecting {
		_, outcome = s.Failed(err, s.port.Now().Sub(s.began))
	}
	s.refuse(outcome, err)
}

// connected begins to relay.
func (s *session) connected() {
	s.misc.Stop()
	s.Connected(s.port.Now().Sub(s.began), s.local)
	s.port.putAttempt(s.attempt)
	s.attempt = nil
	s.state, s.server.writable = relaying, true
	if !s.settled {
		s.port.settle.Arm(&s.misc, s, settleAfter)
	}
	if s.server.hup && !s.settled { // an urgent byte may have come with the handshake
		s.settleIn()
	}
	s.touch()
	s.up.pump()
	if s.state != relaying {
		return
	}
	if s.up.moved == 0 && !s.unix {
		// The backend may be the one to speak first: it is not to wait for our handshake to end.
		o := sockopt.QuickAck(2)
		loop.SetInt(int(s.server.fd), o.Level, o.Name, int32(o.Value))
	}
	s.down.pump()
}

// settleAfter is how long a connection lasts before it gets the options that only lasting ones need.
const settleAfter = time.Second

// settleIn sets the late options: at the second message, with bulk, or after a second.
func (s *session) settleIn() {
	if s.state != relaying {
		return
	}
	s.settled = true
	s.misc.Stop()
	if s.server.fd < 0 || s.unix {
		return
	}
	late := s.port.options.Load().late
	for i := range late {
		o := &late[i]
		loop.SetInt(int(s.server.fd), o.Level, o.Name, int32(o.Value))
	}
}

func (s *session) local() net.Addr {
	sa, err := unix.Getsockname(int(s.server.fd))
	if a := tcpAddr(sa, ""); err == nil && a != nil {
		return a
	}
	return &net.UnixAddr{Net: "unix"}
}

// pump moves what can be moved, both ways.
func (s *session) pump() {
	s.up.pump()
	if s.state == relaying {
		s.down.pump()
	}
}

// Expired is told that a timer is due.
func (s *session) Expired(t *loop.Timer) {
	switch {
	case t == &s.life:
		s.cut(frontend.SessionTimeout)
	case t == &s.quiet:
		s.silenced()
	case s.state == relaying:
		s.settleIn()
	case s.state == connecting:
		b := s.Chosen()
		s.unreached(b, dialError(b, "connect", os.ErrDeadlineExceeded))
	case s.state == queued:
		s.refuse(frontend.QueueTimeout, nil)
	case s.state == refusing:
		s.finish()
	case s.state == choosing && s.looking:
		b := s.Chosen()
		s.ticket++ // the look-up is not awaited any more
		s.unreached(b, dialError(b, "look up", os.ErrDeadlineExceeded))
	case s.state == choosing:
		s.dial(s.Chosen())
	case s.state == delivering:
		s.deliver()
	case s.state == discarding:
		s.finish()
	}
}

// Ready lets a session be a loop.Expirer; only its sides are registered.
func (s *session) Ready(uint32) {}

// Panicked ends the session, and it alone.
func (s *session) Panicked(value any, stack []byte) {
	end := frontend.Ending{Outcome: frontend.InternalError, Err: &relay.PanicError{Value: value, Stack: stack}, Phase: s.phase()}
	if s.state == ended { // it was the end that panicked
		s.Settle(end)
		return
	}
	s.failure = &failure{outcome: end.Outcome, err: end.Err, phase: end.Phase}
	loop.ResetOnClose(int(s.client.fd))
	s.finish()
}

// Panicked ends the session of the socket.
func (d *side) Panicked(value any, stack []byte) { d.session.Panicked(value, stack) }

// phase tells how far the session has come.
func (s *session) phase() frontend.Phase {
	switch {
	case s.state == queued:
		return frontend.Queued
	case s.state < relaying:
		return frontend.Connecting
	case s.up.eof || s.down.eof:
		return frontend.LastBytes
	}
	return frontend.Relaying
}
