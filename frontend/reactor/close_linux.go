package reactor

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend"
	"weir/frontend/reactor/loop"
	"weir/frontend/relay"
)

// finished passes on the end of a stream, if an end is what it is: when our write was told of a reset,
// the read that follows sees an end.
func (s *session) finished(d *stream) {
	other := d.other()
	if other.failed != 0 && other.failed != errno16(unix.EPIPE) { // EPIPE: it had ended properly before
		s.fail(d.from, loop.Errno(other.failed))
		return
	}
	if d == &s.down {
		s.noteEnd()
	}
	d.eof = true
	d.release()
	if other.eof {
		s.finish()
		return
	}
	if s.up.failed != 0 { // the backend has said all, and hears nothing
		s.linger()
		return
	}
	loop.ShutdownWrite(int(d.to.fd))
	d.told = true
	s.touch()
}

// noteEnd is called when the backend has ended its stream, or failed: before it had sent a byte, perhaps, while the
// client had sent some and not ended its own.
func (s *session) noteEnd() {
	if s.down.moved == 0 && !s.down.eof && s.up.moved > 0 && !s.up.eof {
		s.EndedEarly()
	}
}

// refused takes note that a socket takes no more. A backend's last words may still be on their way; a
// client has not waited for them. It reports false: there is nothing more to move this way.
func (s *session) refused(d *stream, errno loop.Errno) bool {
	d.drop()
	if s.state == delivering { // it has gone as well
		d.failed = errno16(errno)
		return false
	}
	if d == &s.down {
		s.fail(&s.client, errno)
		return false
	}
	d.failed = errno16(errno)
	s.server.readable, s.server.hup = true, true
	switch {
	case s.down.eof:
		s.linger()
	case s.state == relaying:
		s.port.Again(&s.server)
	}
	return false
}

// fail records that one side has failed and lets the other have what was read, then a reset.
func (s *session) fail(side *side, errno loop.Errno) {
	s.failed(side, os.NewSyscallError("relay", errno))
}

func (s *session) failed(side *side, err error) {
	by, to := relay.Client, &s.up
	if side == &s.server {
		by, to = relay.Backend, &s.down
	}
	s.failure = &failure{
		outcome: frontend.OfRelay(relay.End{Side: by, Err: err}), err: err, phase: s.phase(),
		left: -1, since: s.port.Now(), pause: firstLook,
	}
	to.other().drop()
	s.closeSide(side)
	if by == relay.Backend {
		if s.down.moved == 0 {
			s.Unanswered()
		}
		s.noteEnd()
		s.Release()
	}
	s.state = delivering
	s.quiet.Stop()
	s.misc.Stop()
	s.deliver()
}

const (
	// First and longest pause between two looks at a send queue.
	firstLook, longestLook = time.Millisecond, 20 * time.Millisecond
)

// deliver waits until the side that is left has acknowledged all that was read for it, then resets it.
func (s *session) deliver() {
	to := &s.down
	if s.client.fd < 0 {
		to = &s.up
	}
	if to.failed == 0 && !s.delivered(to) {
		if !s.misc.Armed() {
			s.port.look.Arm(&s.misc, s, s.failure.pause)
			s.failure.pause = min(2*s.failure.pause, longestLook)
		}
		return
	}
	loop.ResetOnClose(int(to.to.fd))
	s.finish()
}

// delivered also gives up on a peer that stalls.
func (s *session) delivered(to *stream) bool {
	flushed := to.flush()
	left, _ := unix.IoctlGetInt(int(to.to.fd), unix.SIOCOUTQ)
	if flushed && left == 0 || to.failed != 0 {
		return true
	}
	now, f := s.port.Now(), s.failure
	if left != f.left {
		f.left, f.since = left, now
	}
	return now.Sub(f.since) >= relay.StallLimit
}

// linger lets a client go on sending, within bounds, while it reads its answer: closing with unread
// input would reset it. The backend is let go.
func (s *session) linger() {
	s.closeSide(&s.server)
	s.Release()
	s.up.drop()
	loop.ShutdownWrite(int(s.client.fd))
	s.port.linger.Arm(&s.misc, s, relay.DiscardLimit)
	s.state, s.unwanted = discarding, relay.DiscardBytes
	s.discard()
}

// discard reads what nobody wants, as much as it may.
func (s *session) discard() {
	for range rounds {
		buf := s.port.scratch
		n, errno := loop.Recv(int(s.client.fd), buf[:min(int64(len(buf)), s.unwanted)])
		switch {
		case errno == unix.EAGAIN:
			return
		case n == 0 && errno != unix.EINTR:
			s.finish()
			return
		}
		if s.unwanted -= int64(n); s.unwanted == 0 {
			s.finish()
			return
		}
	}
	s.port.Again(&s.client)
}

// leaveQueue gives up the place of a session that waits.
func (s *session) leaveQueue() {
	if s.state == queued {
		s.Leave(s.port.Now())
		s.state = choosing
	}
}

// cut ends the session from outside, for good.
func (s *session) cut(why frontend.Outcome) {
	if s.state == ended {
		return
	}
	phase := s.phase()
	if s.failure != nil { // it was ending already
		phase = s.failure.phase
	}
	s.failure = &failure{outcome: why, phase: phase}
	if why.CutsShort() && s.client.fd >= 0 {
		loop.ResetOnClose(int(s.client.fd))
	}
	s.finish()
}

// finish closes what is open, gives everything back, and tells how it ended.
func (s *session) finish() {
	s.leaveQueue()
	s.dismiss()
	s.state = ended
	defer s.port.retire(s)
	s.up.drop()
	s.down.drop()
	s.closeSides()
	s.Release()
	s.quiet.Stop()
	s.life.Stop()
	s.misc.Stop()
	end := frontend.Ending{Outcome: frontend.Normal, Phase: frontend.LastBytes, BytesUp: s.up.moved, BytesDown: s.down.moved, At: s.port.Now()}
	if f := s.failure; f != nil {
		end.Outcome, end.Err, end.Phase = f.outcome, f.err, f.phase
	}
	s.Settle(end)
}

// retire keeps what is left of a session for the next.
func (p *port) retire(s *session) {
	if s.attempt != nil {
		p.putAttempt(s.attempt)
		s.attempt = nil
	}
	p.leave(s)
	p.GiveSlot()
	p.putSession(s)
}

// closeSides closes the sockets that are still open.
func (s *session) closeSides() {
	client, server := &s.client, &s.server
	if s.rest() || client.fd < 0 || server.fd < 0 {
		s.closeSide(client)
		s.closeSide(server)
		return
	}
	s.port.Forget(client.key)
	s.port.Forget(server.key)
	loop.CloseBoth(int(server.fd), int(client.fd))
	client.fd, server.fd = -1, -1
}

func (s *session) closeSide(d *side) {
	if d.fd < 0 {
		return
	}
	s.port.Forget(d.key)
	loop.Close(int(d.fd))
	d.fd = -1
}
