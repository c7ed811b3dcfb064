package reactor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"weir/backend"
	"weir/frontend"
	"weir/frontend/reactor/loop"
)

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

// choose acquires a backend and connects to it, or waits for one.
func (s *session) choose() {
	b, pause, err := s.Choose(s.port.Now())
	if err != backend.ErrQueued {
		s.chose(b, pause, err)
		return
	}
	s.state = queued
	s.armQueue()
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
		found, err := p.resolve(ctx, b)
		p.Post(func() { s.resolved(ticket, b, found, err) })
	}()
}

// errResolve is why a name has no addresses. The guard has logged more.
var errResolve = errors.New("the look-up panicked")

func (p *port) resolve(ctx context.Context, b *backend.Backend) (found []netip.AddrPort, err error) {
	err = fmt.Errorf("dial backend %s: %w", b.Name(), errResolve)
	p.Guard.Do("the look-up of "+b.Address(), func() { found, err = p.Current().Dialer.Resolve(ctx, b) })
	return found, err
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
