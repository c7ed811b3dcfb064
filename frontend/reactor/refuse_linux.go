package reactor

import (
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend"
	"weir/frontend/reactor/loop"
)

// refuse closes a client that gets no backend.
func (s *session) refuse(outcome frontend.Outcome, err error) {
	s.misc.Stop()
	s.failure = &failure{outcome: outcome, err: err, phase: s.phase()}
	s.leaveQueue()
	s.closeSide(&s.server)
	s.Release()
	how := s.port.RefusalOf(outcome)
	switch {
	case how.Reset:
		loop.ResetOnClose(int(s.client.fd))
		s.finish()
	case how.Speech != nil:
		s.failure.speech = how.Speech
		s.speak()
	default:
		s.letGo(s.port.refusal, frontend.RefusalTime)
	}
}

// letGo ends our stream, and reads for a time what the client still sends.
func (s *session) letGo(q *loop.Queue, most time.Duration) {
	loop.ShutdownWrite(int(s.client.fd))
	if !s.misc.Armed() {
		q.Arm(&s.misc, s, most)
	}
	s.state, s.unwanted = discarding, frontend.RefusalBytes
	s.discard()
}

// speak tells the client why, in its protocol: at once, or when it has said its part.
func (s *session) speak() {
	s.port.speech.Arm(&s.misc, s, frontend.SpeechTime)
	if !s.say(s.failure.speech.Opening()) {
		return
	}
	if !s.failure.speech.Listens() {
		s.letGo(s.port.speech, frontend.SpeechTime)
		return
	}
	s.state = refusing
	s.hear()
}

// say sends a few bytes, for which a socket that was not written to has room. It reports false if the
// session is over.
func (s *session) say(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	if n, errno := loop.Send(int(s.client.fd), p); errno != 0 || n < len(p) {
		s.finish()
		return false
	}
	return true
}

// hear listens to a client that is to be told why.
func (s *session) hear() {
	for {
		n, errno := loop.Recv(int(s.client.fd), s.port.scratch[:512])
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return
		case n == 0:
			s.finish()
			return
		}
		answer, done := s.failure.speech.Hear(&s.failure.hearing, s.port.scratch[:n])
		if !s.say(answer) {
			return
		}
		if done {
			s.letGo(s.port.speech, frontend.SpeechTime)
			return
		}
	}
}
