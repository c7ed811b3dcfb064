package frontend

import (
	"errors"
	"time"

	"weir/backend"
	"weir/frontend/relay"
)

const (
	// First and longest pause before the same backend is tried again, when there is no other.
	firstRetry, longestRetry = 100 * time.Millisecond, time.Second
	// watchAfter is how long a session connects before it looks out for its client's leaving: most
	// have connected by then, and need no one to watch.
	watchAfter = 10 * time.Millisecond
)

// reach acquires a backend and connects to it: another one after each failure, within the retry
// budget. No byte of the client's was read, so nothing is lost. On success the lease is held.
func (s *session) reach() (relay.Conn, Outcome, error) {
	watch := s.watchClient()
	defer watch.stop()
	retry := firstRetry
	for {
		again, err := s.acquire()
		if err != nil {
			return nil, ofAcquire(err), err
		}
		if again && !s.wait(&retry) {
			s.lease.Release()
			return nil, ClientLeft, s.ctx.Err()
		}
		conn, err := s.dial()
		if err == nil {
			return conn, Normal, nil
		}
		failure := backend.Classify(err)
		s.request.Exclude(s.lease.Backend())
		s.lease.Failed(failure)
		if s.ctx.Err() != nil || s.tries > s.frontend.opts.Retries {
			return nil, ofFailure(failure), err
		}
		s.logRetry(err)
	}
}

func ofAcquire(err error) Outcome {
	if errors.Is(err, backend.ErrFull) {
		return BackendsFull
	}
	return NoBackend
}

// acquire picks a backend and takes a slot of it. again: it has refused this session before.
func (s *session) acquire() (again bool, err error) {
	pool := s.frontend.opts.Pool
	s.request.Now = pool.Since()
	s.lease, again, err = pool.Acquire(&s.request)
	if err == nil {
		s.chosen.Store(s.lease.Backend())
		s.waited = time.Since(s.accepted)
	}
	return again, err
}

// wait lets a backend that just refused recover, longer each time. It reports false if the session
// ended meanwhile.
func (s *session) wait(retry *time.Duration) bool {
	t := time.NewTimer(*retry)
	defer t.Stop()
	*retry = min(2**retry, longestRetry)
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (s *session) dial() (relay.Conn, error) {
	s.tries++
	began := time.Now()
	conn, err := s.frontend.opts.Dial(s.ctx, s.lease.Backend())
	s.connect = time.Since(began)
	if err != nil {
		return nil, err
	}
	s.lease.Connected(s.connect)
	s.logOpened(conn)
	return conn.(relay.Conn), nil
}

// watch cancels a session whose client leaves before it has a backend.
type watch struct {
	session *session
	timer   *time.Timer
	over    chan struct{} // closed when the watching has ended
}

func (s *session) watchClient() *watch {
	w := &watch{session: s, over: make(chan struct{})}
	w.timer = time.AfterFunc(watchAfter, w.run)
	return w
}

func (w *watch) run() {
	defer close(w.over)
	if untilGone(w.session.client) {
		w.session.cancel()
	}
}

// stop ends the watching and leaves no trace on the socket.
func (w *watch) stop() {
	if w.timer.Stop() {
		return
	}
	w.session.client.SetReadDeadline(longAgo)
	<-w.over
	w.session.client.SetReadDeadline(time.Time{})
}

var longAgo = time.Unix(1, 0)
