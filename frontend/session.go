package frontend

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"weir/backend"
	"weir/frontend/relay"
)

// session is one client connection, from accept to the last close. One goroutine runs it; sweeps and
// cuts look at it from outside.
type session struct {
	frontend *Frontend
	id       uint64
	client   relay.Conn // owned until a pair takes it over
	from     netip.Addr // zero for a unix client
	address  string     // of the client, for people
	request  backend.Request
	lease    backend.Lease

	accepted time.Time
	waited   time.Duration // from accept to the lease that was used
	connect  time.Duration // of the attempt that succeeded, or the last
	tries    int

	ctx    context.Context // ends when the session must not go on connecting
	cancel context.CancelFunc
	cutBy  atomic.Uint32 // Outcome of whoever ended it from outside first
	chosen atomic.Pointer[backend.Backend]
	pair   atomic.Pointer[relay.Pair] // nil until relaying

	entry // in the roster
}

// start gives an accepted client its goroutine. The slot it has is given back at its end.
func (f *Frontend) start(client net.Conn) {
	f.done.Add(1)
	f.counters.Opened.Add(1)
	s := f.newSession(client.(relay.Conn))
	f.roster.add(s) // here, so that whoever ends all sessions after the accept loop misses none
	go s.handle()
}

// handle sees one session through.
func (s *session) handle() {
	defer s.end()
	s.logServing()
	conn, outcome, err := s.reach()
	if err != nil {
		s.refuse()
		s.finish(outcome, err)
		return
	}
	outcome, err = s.relay(conn)
	s.finish(outcome, err)
}

func (f *Frontend) newSession(client relay.Conn) *session {
	s := &session{frontend: f, id: lastID.Add(1), client: client, accepted: time.Now()}
	s.from, s.address = clientAddress(client.RemoteAddr())
	s.request = backend.NewRequest(s.from)
	s.ctx, s.cancel = context.WithCancel(f.ctx)
	s.entry.arm(s)
	return s
}

// clientAddress sees an IPv4-mapped address as the IPv4 address it is.
func clientAddress(a net.Addr) (netip.Addr, string) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, "unix"
	}
	p := t.AddrPort()
	from := p.Addr().Unmap()
	return from, netip.AddrPortFrom(from, p.Port()).String()
}

// relay moves bytes until both sides are done. The lease goes back as soon as the backend's socket is
// closed: a slow client keeps no slot.
func (s *session) relay(conn relay.Conn) (Outcome, error) {
	pair := relay.NewPair(s.client, conn, s.frontend.opts.Stock)
	s.pair.Store(pair)
	if s.cutBy.Load() != 0 { // cut before there was a pair to cut
		pair.Cut(true)
	}
	end := pair.Run()
	s.lease.Release()
	pair.Close()
	return ofRelay(end), end.Err
}

// refusal bounds what is read of a client that gets no backend, so that closing sends FIN, not RST.
const (
	refusalTime  = 5 * time.Millisecond
	refusalBytes = 64 << 10
)

// refuse closes a client that gets no backend.
func (s *session) refuse() {
	defer s.client.Close()
	if !s.frontend.opts.ResetRefused {
		s.client.CloseWrite()
		s.client.SetReadDeadline(time.Now().Add(refusalTime))
		io.Copy(io.Discard, io.LimitReader(s.client, refusalBytes))
		return
	}
	if t, ok := s.client.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
}

// cut ends the session from outside, for good, at any time and from any goroutine.
func (s *session) cut(why Outcome) {
	if !s.cutBy.CompareAndSwap(0, uint32(why)) {
		return
	}
	s.cancel()
	if pair := s.pair.Load(); pair != nil {
		// A stream that is cut short must not look as if it had ended.
		pair.Cut(why == backendDown || why == shutdown)
	}
}

// finish settles the outcome: whoever cut the session from outside has the last word.
func (s *session) finish(outcome Outcome, err error) {
	if by := Outcome(s.cutBy.Load()); by != 0 {
		outcome, err = by, nil
	}
	s.settle(outcome, err)
}

func (s *session) settle(outcome Outcome, err error) {
	up, down := s.bytes()
	c := &s.frontend.counters
	c.BytesUp.Add(uint64(up))
	c.BytesDown.Add(uint64(down))
	c.byOutcome[outcome].Add(1)
	c.Closed.Add(1)
	s.logServed(outcome, err)
}

// end gives everything back, whatever happened, and contains a panic to this session.
func (s *session) end() {
	f := s.frontend
	if r := recover(); r != nil {
		s.lease.Release()
		if pair := s.pair.Load(); pair != nil {
			pair.Cut(true)
		}
		s.client.Close()
		s.settle(internalError, &relay.PanicError{Value: r, Stack: debug.Stack()})
	}
	s.cancel()
	f.roster.remove(s)
	f.giveSlot()
	f.done.Done()
}

func (s *session) bytes() (up, down int64) {
	if pair := s.pair.Load(); pair != nil {
		return pair.Bytes()
	}
	return 0, 0
}

// phase tells how far the session has come.
func (s *session) phase() phase {
	pair := s.pair.Load()
	if pair == nil {
		return connecting
	}
	if client, backend := pair.Finished(); client || backend {
		return lastBytes
	}
	return relaying
}

// lifetime returns how long this session may last. 0: for ever.
func (o *Options) lifetime() time.Duration {
	t := o.SessionTimeout
	return t - time.Duration(rand.Float64()*float64(t)*float64(o.SessionJitter)/100)
}
