package reactor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"weir/backend"
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

	*attempt               // nil once there is a backend
	failure  *failure      // the first; nil while all is well
	acked    uint64        // when the silence was last looked at
	touched  time.Duration // when a byte last moved, on the loop's clock
	state    state
	silent   uint8 // so many parts of its limit
	settled  bool  // the backend's socket has its late options
	unix     bool  // the backend's socket is not TCP
	bound    bool  // it has a source address
	family   uint8 // of it

	quiet, life, misc loop.Timer // misc: connect, retry, settle, or close
	prev, next        *session   // in the port
}

// attempt is what a session needs only until it has a backend.
type attempt struct {
	frontend.Quest
	session *session // nil: none's
	began   time.Time
	target  []byte // the address of the backend
	looking bool   // for that address
	more    []netip.AddrPort
	sources []netip.Addr // to connect from, the first now
	pauses  int
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
	if at := s.EndsAt(); !at.IsZero() {
		s.armLife(at.Sub(p.Now()))
	}
	s.choose()
}

// armLife ends the session after about d: jitter comes in as many steps as there are queues.
func (s *session) armLife(d time.Duration) {
	rules := s.port.Current()
	whole, percent := rules.SessionTimeout, time.Duration(rules.SessionJitter)
	step := whole * percent / 100 / lifeQueues
	at := 0
	if step > 0 {
		at = min(int((whole-d)/step), lifeQueues-1)
		d = whole - time.Duration(at)*step
	}
	s.port.life[at].Arm(&s.life, s, d)
}

// choose acquires a backend and connects to it, or waits for one.
func (s *session) choose() {
	b, pause, err := s.Choose(s.port.Now())
	if err != backend.ErrQueued {
		s.chose(b, pause, err)
		return
	}
	s.state = queued
	s.port.queue.Arm(&s.misc, s, s.port.Current().QueueTimeout)
	if s.client.fin && s.endedSilent() {
		s.left()
	}
}

// woken goes on with a session that waits, if it has what it waits for.
func (s *session) woken() {
	b, pause, err := s.Claim(s.port.Now())
	if err == backend.ErrQueued {
		return
	}
	s.misc.Stop()
	s.state = choosing
	s.chose(b, pause, err)
}

// endedSilent says whether a client that has ended its stream has left with that: without a byte before.
func (s *session) endedSilent() bool {
	n, err := unix.IoctlGetInt(int(s.client.fd), unix.TIOCINQ)
	return s.port.Current().LeaveOnEnd && err == nil && n == 0
}

func (s *session) chose(b *backend.Backend, pause time.Duration, err error) {
	if err != nil {
		s.refuse(frontend.Unchosen(err), err)
		return
	}
	if pause > 0 {
		s.state = choosing
		s.port.retry[min(s.pauses, retryQueues-1)].Arm(&s.misc, s, pause)
		s.pauses++
		return
	}
	s.dial(b)
}

// dial begins to connect to b.
func (s *session) dial(b *backend.Backend) {
	s.began = s.port.Now()
	s.port.connect.Arm(&s.misc, s, s.port.Current().Dialer.Timeout())
	if s.target = s.port.target(b); s.target == nil {
		s.resolve(b)
		return
	}
	s.connectTo(b)
}

// resolve looks up the name of b elsewhere, for that may take long.
func (s *session) resolve(b *backend.Backend) {
	s.state, s.looking = choosing, true
	s.ticket++
	ticket, p := s.ticket, s.port
	ctx, cancel := context.WithTimeout(context.Background(), p.Current().Dialer.Timeout())
	go func() {
		defer cancel()
		found, err := p.Current().Dialer.Resolve(ctx, b)
		p.Post(func() { s.resolved(ticket, b, found, err) })
	}()
}

// resolved goes on with the addresses, if the session still waits for these.
func (s *session) resolved(ticket uint64, b *backend.Backend, found []netip.AddrPort, err error) {
	if s.state != choosing || s.ticket != ticket {
		return
	}
	defer loop.Contain(s)
	if err != nil {
		s.unreached(b, err)
		return
	}
	s.more = found
	s.connectNext(b)
}

// connectNext connects to the next address of a name.
func (s *session) connectNext(b *backend.Backend) {
	s.target = inetSockaddr(s.more[0])
	s.more = s.more[1:]
	s.connectTo(b)
}

// connectTo begins to connect to the target, from the next source address if there are any.
func (s *session) connectTo(b *backend.Backend) {
	s.state, s.looking = connecting, false
	s.sources = nil
	if family(s.target) != unix.AF_UNIX {
		s.sources = s.port.Current().Dialer.Sources(b, targetAddr(s.target))
	}
	for {
		errno := s.open()
		if errno == 0 {
			return
		}
		s.closeSide(&s.server)
		if len(s.sources) <= 1 || errno != unix.EADDRNOTAVAIL && errno != unix.EADDRINUSE {
			s.unreached(b, dialError(b, "connect", errno))
			return
		}
		s.sources = s.sources[1:]
	}
}

// open makes a socket towards the backend, or takes one that rests, and begins to connect it.
func (s *session) open() loop.Errno {
	s.family = uint8(family(s.target))
	s.unix, s.bound, s.settled = s.family == unix.AF_UNIX, len(s.sources) > 0, false
	if !s.unix && !s.bound {
		if r := s.port.rouse(int(s.family)); r != nil {
			return s.reopen(r)
		}
	}
	fd, errno := loop.Socket(int(s.family))
	if errno == unix.EMFILE {
		s.port.starve()
		fd, errno = loop.Socket(int(s.family))
	}
	if errno != 0 {
		return errno
	}
	s.server = side{session: s, fd: int32(fd)}
	if errno := s.connect(); errno != 0 {
		return errno
	}
	s.server.key, errno = s.port.Add(fd, events, &s.server)
	return errno
}

// reopen connects a socket that has rested, and is registered.
func (s *session) reopen(r *resting) loop.Errno {
	s.server = side{session: s, fd: int32(r.fd), key: r.key}
	s.settled = r.settled
	s.port.Hand(r.key, &s.server)
	s.port.putResting(r)
	return s.connect()
}

// connect begins to connect the socket towards the backend.
func (s *session) connect() loop.Errno {
	fd := int(s.server.fd)
	if !s.unix {
		early := s.port.options.Load().early
		for i := range early {
			o := &early[i]
			loop.SetInt(fd, o.Level, o.Name, int32(o.Value))
		}
	}
	if s.bound {
		if errno := loop.Bind(fd, inetSockaddr(netip.AddrPortFrom(s.sources[0], 0))); errno != 0 {
			return errno
		}
	}
	if errno := loop.Connect(fd, s.target); errno != unix.EINPROGRESS {
		return errno
	}
	return 0
}

func targetAddr(sockaddr []byte) netip.Addr {
	if family(sockaddr) == unix.AF_INET {
		return netip.AddrFrom4([4]byte(sockaddr[4:8]))
	}
	return netip.AddrFrom16([16]byte(sockaddr[8:24]))
}

// dialError says the same as backend.Dialer.Dial would.
func dialError(b *backend.Backend, call string, errno error) error {
	network, address := b.Network(), b.Address()
	return fmt.Errorf("dial backend %s: %w", b.Name(), &net.OpError{
		Op: "dial " + network + " " + address, Err: os.NewSyscallError(call, errno),
	})
}

// unreached tries another backend, or ends the session.
func (s *session) unreached(b *backend.Backend, err error) {
	s.closeSide(&s.server)
	if len(s.more) > 0 && s.misc.Armed() { // another address of the same name, in the time that is left
		s.connectNext(b)
		return
	}
	s.misc.Stop()
	s.state, s.looking, s.more = choosing, false, nil
	retry, outcome := s.Failed(err, s.port.Now().Sub(s.began))
	if retry {
		s.choose()
		return
	}
	s.refuse(outcome, err)
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
		s.silence()
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
