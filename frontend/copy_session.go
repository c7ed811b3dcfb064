package frontend

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"weir/frontend/relay"
)

// copySession is a session run by one goroutine, and a second while bytes are relayed. Sweeps and cuts
// look at it from outside.
type copySession struct {
	Session
	server *Copy
	client relay.Conn // owned until a pair takes it over
	conn   net.Conn   // to the backend, likewise; nil until connected

	ctx    context.Context // ends when the session must not go on connecting
	cancel context.CancelFunc
	cutBy  atomic.Uint32              // Outcome of whoever ended it from outside first
	pair   atomic.Pointer[relay.Pair] // nil until relaying
	served atomic.Bool                // by a backend, now

	entry // in the roster
}

// start gives an accepted client its goroutine. The slot it has is given back at its end.
func (c *Copy) start(client relay.Conn) {
	s := &copySession{server: c, client: client}
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	now := time.Now()
	c.done.Add(1)
	c.Begin(&s.Session, ClientAddress(client.RemoteAddr()), now)
	s.arm(now, s.EndsAt())
	c.roster.add(s) // here, so that whoever ends all sessions after the accept loop misses none
	go s.handle()
}

// handle sees one session through.
func (s *copySession) handle() {
	defer s.end()
	s.LogServing()
	conn, outcome, err := s.reach()
	if err != nil {
		s.refuse()
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
		b, pause, err := s.Choose(time.Now())
		if err != nil {
			return nil, Unchosen(err), err
		}
		if !s.wait(pause) {
			s.Release()
			return nil, ClientLeft, s.ctx.Err()
		}
		began := time.Now()
		conn, err := s.server.Dial(s.ctx, b)
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
	s.pair.Store(pair)
	if s.cutBy.Load() != 0 { // cut before there was a pair to cut
		pair.Cut(true)
	}
	s.served.Store(true)
	end := pair.Run()
	s.served.Store(false)
	s.Release()
	pair.Close()
	return end
}

const (
	// RefusalTime and RefusalBytes bound what is read of a client that gets no backend, so that
	// closing it sends FIN and not RST.
	RefusalTime  = 5 * time.Millisecond
	RefusalBytes = 64 << 10
)

// refuse closes a client that gets no backend.
func (s *copySession) refuse() {
	defer s.client.Close()
	if !s.server.ResetRefused {
		s.client.CloseWrite()
		s.client.SetReadDeadline(time.Now().Add(RefusalTime))
		io.Copy(io.Discard, io.LimitReader(s.client, RefusalBytes))
		return
	}
	if t, ok := s.client.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
}

// cut ends the session from outside, for good, at any time and from any goroutine.
func (s *copySession) cut(why Outcome) {
	if !s.cutBy.CompareAndSwap(0, uint32(why)) {
		return
	}
	s.cancel()
	if pair := s.pair.Load(); pair != nil {
		pair.Cut(why.CutsShort())
	}
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

func (s *copySession) bytes() (up, down int64) {
	if pair := s.pair.Load(); pair != nil {
		return pair.Bytes()
	}
	return 0, 0
}

// phase tells how far the session has come.
func (s *copySession) phase() Phase {
	pair := s.pair.Load()
	if pair == nil {
		return Connecting
	}
	if client, backend := pair.Finished(); client || backend {
		return LastBytes
	}
	return Relaying
}
