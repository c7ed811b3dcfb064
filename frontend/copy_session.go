package frontend

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"weir/backend"
	"weir/frontend/refusal"
	"weir/frontend/relay"
)

// copySession is a session run by one goroutine, and a second while bytes are relayed. Sweeps and cuts
// look at it from outside.
type copySession struct {
	Session
	server *Copy
	client relay.Conn // owned until a pair takes it over
	conn   net.Conn   // to the backend, likewise; nil until connected

	ctx     context.Context // ends when the session must not go on connecting
	cancel  context.CancelFunc
	cutBy   atomic.Uint32              // Outcome of whoever ended it from outside first
	pair    atomic.Pointer[relay.Pair] // nil until relaying
	served  atomic.Bool                // by a backend, now
	quest   Quest
	woken   chan struct{}
	queued  atomic.Bool // it waits for a backend, now
	left    atomic.Bool // it has left the queue without one
	refused atomic.Bool

	entry   // in the roster
	watched // by the sweeper
}

// start gives an accepted client its goroutine. The slot it has is given back at its end.
func (c *Copy) start(client relay.Conn, bind Bind) {
	now, from := time.Now(), ClientAddress(client.RemoteAddr())
	admitted, ok := c.Admit(from, bind, now)
	if !ok {
		c.turnOut(client)
		return
	}
	c.begin(client, from, admitted, now)
}

// begin begins the session of a client that was let in.
func (c *Copy) begin(client relay.Conn, from netip.AddrPort, admitted Admitted, now time.Time) {
	s := &copySession{server: c, client: client, woken: make(chan struct{}, 1)}
	s.quest.OnWake(s.wake)
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	c.done.Add(1)
	c.Begin(&s.Session, &s.quest, from, admitted, now)
	c.roster.add(s) // here, so that whoever ends all sessions after the accept loop misses none
	go s.handle()
}

// turnOut resets a client that is not let in.
func (c *Copy) turnOut(client relay.Conn) {
	reset(client)
	c.GiveSlot()
}

func reset(client relay.Conn) {
	if t, ok := client.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	client.Close()
}

// wake has a session that waits in the queue look again.
func (s *copySession) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// handle sees one session through.
func (s *copySession) handle() {
	defer s.end()
	s.LogServing()
	conn, outcome, err := s.reach()
	if err != nil {
		s.refuse(outcome)
		s.settle(outcome, err)
		return
	}
	end := s.relay(conn)
	s.settle(OfRelay(end), end.Err)
}

// reach connects to a backend: to another one after each failure, as long as the rules allow. On
// success the lease is held.
func (s *copySession) reach() (relay.Conn, Outcome, error) {
	watch := s.watchClient()
	defer watch.stop()
	for {
		b, pause, outcome, err := s.choose()
		if err != nil {
			return nil, outcome, err
		}
		if !s.wait(pause) {
			s.Release()
			return nil, ClientLeft, s.ctx.Err()
		}
		began := time.Now()
		conn, err := s.server.dial(s.ctx, b)
		if err == nil {
			s.conn = conn
			s.Connected(time.Since(began), conn.LocalAddr)
			return conn.(relay.Conn), Normal, nil
		}
		if retry, outcome := s.Failed(err, time.Since(began)); !retry {
			return nil, outcome, err
		}
	}
}

// choose acquires a backend, and waits in the queue for it if it has to. outcome is why there is none.
func (s *copySession) choose() (b *backend.Backend, pause time.Duration, outcome Outcome, err error) {
	b, pause, err = s.Choose(time.Now())
	if errors.Is(err, backend.ErrQueued) {
		return s.queue()
	}
	return b, pause, Unchosen(err), err
}

// queue waits until a backend is there, the time is up, or the client leaves.
func (s *copySession) queue() (b *backend.Backend, pause time.Duration, outcome Outcome, err error) {
	s.queued.Store(true)
	defer s.queued.Store(false)
	if s.leavesOnEnd() && endedSilent(s.client) {
		return s.leave(ClientLeft, errLeftQueue)
	}
	since := s.QueuedAt()
	late := time.NewTimer(s.server.Current().QueueTimeout)
	defer late.Stop()
	for {
		select {
		case <-s.woken:
			b, pause, err = s.Claim(time.Now())
			if !errors.Is(err, backend.ErrQueued) {
				return b, pause, Unchosen(err), err
			}
			late.Reset(s.server.Current().QueueTimeout - time.Since(since)) // which may be another now
		case <-late.C:
			return s.leave(QueueTimeout, errLate)
		case <-s.ctx.Done():
			return s.leave(ClientLeft, errLeftQueue)
		}
	}
}

// leave ends the wait without a backend.
func (s *copySession) leave(why Outcome, err error) (*backend.Backend, time.Duration, Outcome, error) {
	s.left.Store(true)
	s.Leave(time.Now())
	return nil, 0, why, err
}

// leavesOnEnd says whether the client has left if it ends its stream now.
func (s *copySession) leavesOnEnd() bool { return s.server.Current().LeaveOnEnd && s.queued.Load() }

// Why a session left the queue without a backend.
var (
	errLate      = errors.New("waited too long")
	errLeftQueue = errors.New("left the queue")
)

func (c *Copy) dial(ctx context.Context, b *backend.Backend) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial(ctx, b)
	}
	return c.Current().Dialer.Dial(ctx, b)
}

// wait lets a backend that just refused recover. It reports false if the session ended meanwhile.
func (s *copySession) wait(pause time.Duration) bool {
	if pause == 0 {
		return true
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// relay moves bytes until both sides are done. The lease goes back as soon as the backend's socket is
// closed: a slow client keeps no slot.
func (s *copySession) relay(conn relay.Conn) relay.End {
	pair := relay.NewPair(s.client, conn, s.server.Stock)
	if s.server.Learns() {
		pair.OnFirst = s.first
	}
	pair.OnEarlyEnd = s.EndedEarly
	s.pair.Store(pair)
	if s.cutBy.Load() != 0 { // cut before there was a pair to cut
		pair.Cut(true)
	}
	s.served.Store(true)
	end := pair.Run()
	s.served.Store(false)
	if _, down := pair.Bytes(); end.Err != nil && end.Side == relay.Backend && down == 0 {
		s.Unanswered()
	}
	s.Release()
	pair.Close()
	return end
}

// first is told of the first bytes each way.
func (s *copySession) first(from relay.Side) {
	if from == relay.Client {
		s.Asked(time.Now())
	} else {
		s.Answered(time.Now())
	}
}

// refuse closes a client that gets no backend.
func (s *copySession) refuse(outcome Outcome) {
	defer s.client.Close()
	how := s.server.RefusalOf(outcome)
	s.refused.Store(true)
	how.Reset = how.Reset || Outcome(s.cutBy.Load()).CutsShort()
	switch {
	case how.Reset:
		if t, ok := s.client.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
	case how.Speech != nil:
		s.client.SetDeadline(time.Now().Add(SpeechTime))
		stop := context.AfterFunc(s.ctx, func() { s.client.SetDeadline(longAgo) })
		defer stop()
		if s.speak(how.Speech) {
			s.letGo()
		}
	default:
		s.client.SetReadDeadline(time.Now().Add(RefusalTime))
		s.letGo()
	}
}

// letGo ends our stream, and reads what the client still sends.
func (s *copySession) letGo() {
	s.client.CloseWrite()
	io.Copy(io.Discard, io.LimitReader(s.client, RefusalBytes))
}

// speak tells the client why, in its protocol. It reports false if the client did not listen to the end.
func (s *copySession) speak(speech *refusal.Speech) bool {
	if _, err := s.client.Write(speech.Opening()); err != nil {
		return false
	}
	if !speech.Listens() {
		return true
	}
	var hearing refusal.Hearing
	var buf [512]byte
	for {
		n, err := s.client.Read(buf[:])
		answer, done := speech.Hear(&hearing, buf[:n])
		if _, werr := s.client.Write(answer); werr != nil {
			return false
		}
		if done || err != nil {
			return done
		}
	}
}

// cut ends the session from outside, for good, at any time and from any goroutine. It reports false if
// somebody else has done so.
func (s *copySession) cut(why Outcome) bool {
	if !s.cutBy.CompareAndSwap(0, uint32(why)) {
		return false
	}
	s.cancel()
	if pair := s.pair.Load(); pair != nil {
		pair.Cut(why.CutsShort())
	}
	return true
}

// settle tells the outcome: whoever cut the session from outside has the last word.
func (s *copySession) settle(outcome Outcome, err error) {
	var panicked *relay.PanicError
	if by := Outcome(s.cutBy.Load()); by != 0 && !errors.As(err, &panicked) {
		outcome, err = by, nil
	}
	up, down := s.bytes()
	s.Settle(Ending{Outcome: outcome, Err: err, Phase: s.phase(), BytesUp: up, BytesDown: down})
}

// end gives everything back, whatever happened, and contains a panic to this session.
func (s *copySession) end() {
	if r := recover(); r != nil {
		s.Release()
		if pair := s.pair.Load(); pair != nil {
			pair.Cut(true)
		}
		s.client.Close()
		if s.conn != nil {
			s.conn.Close()
		}
		s.settle(InternalError, &relay.PanicError{Value: r, Stack: debug.Stack()})
	}
	s.cancel()
	s.server.roster.remove(s)
	s.server.GiveSlot()
	s.server.done.Done()
}

// socket returns one of the two sockets of a session that has a pair.
func (s *copySession) socket(side relay.Side) syscall.Conn {
	if side == relay.Client {
		return s.client
	}
	return s.conn.(syscall.Conn)
}

func (s *copySession) bytes() (up, down int64) {
	if pair := s.pair.Load(); pair != nil {
		return pair.Bytes()
	}
	return 0, 0
}

// phase tells how far the session has come.
func (s *copySession) phase() Phase {
	pair := s.pair.Load()
	switch {
	case s.left.Load():
		return Queued
	case pair == nil:
		return Connecting
	}
	if client, backend := pair.Finished(); client || backend {
		return LastBytes
	}
	return Relaying
}
