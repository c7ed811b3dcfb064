package frontend

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"weir/backend"
)

// Session is what both engines know of one client connection, and what they decide about it. The
// engine that runs it owns it: only [Session.On] may be called from elsewhere.
type Session struct {
	frontend *Frontend
	id       uint64
	from     netip.AddrPort // of the client; zero for a unix client
	request  backend.Request
	lease    backend.Lease
	chosen   atomic.Pointer[backend.Backend] // last

	accepted time.Time
	waited   time.Duration // from accept to the lease that was used
	connect  time.Duration // of the attempt that succeeded, or the last
	tries    int
	settled  bool
	pause    time.Duration // before the same backend is tried again, next time
}

const (
	// First and longest pause before the same backend is tried again, when there is no other.
	firstRetry, longestRetry = 100 * time.Millisecond, time.Second
)

// lastID numbers the sessions of a process.
var lastID atomic.Uint64

// Begin makes s the session of a client that was just accepted, and counts it. Whatever s was before
// is forgotten, so that an engine may use one again. See [Session.Settle].
func (f *Frontend) Begin(s *Session, from netip.AddrPort, now time.Time) {
	s.frontend, s.id, s.from, s.accepted = f, lastID.Add(1), from, now
	s.request = backend.NewRequest(from.Addr())
	s.lease = backend.Lease{}
	s.chosen.Store(nil)
	s.waited, s.connect, s.tries, s.pause = 0, 0, 0, firstRetry
	s.settled = false
	f.counters.Opened.Add(1)
}

// ClientAddress returns a client's address, an IPv4-mapped one as the IPv4 address it is. The zero
// address is that of a unix client.
func ClientAddress(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// Choose acquires a backend, another one than those that failed. When there is no other it is one of
// those again, to be tried after a pause. The lease is held until Release or Failed.
func (s *Session) Choose(now time.Time) (b *backend.Backend, pause time.Duration, err error) {
	pool := s.frontend.Pool
	s.request.Now = pool.At(now)
	lease, again, err := pool.Acquire(&s.request)
	if err != nil {
		return nil, 0, err
	}
	s.lease = lease
	s.chosen.Store(lease.Backend())
	s.waited = now.Sub(s.accepted)
	if again {
		pause = s.pause
		s.pause = min(2*s.pause, longestRetry)
	}
	return lease.Backend(), pause, nil
}

// Unchosen says what the error of Choose means for the session.
func Unchosen(err error) Outcome {
	if errors.Is(err, backend.ErrFull) {
		return BackendsFull
	}
	return NoBackend
}

// Connected reports that the chosen backend was reached, from that local address.
func (s *Session) Connected(took time.Duration, local func() net.Addr) {
	s.tries++
	s.connect = took
	s.lease.Connected(took)
	s.logOpened(local)
}

// Failed reports that the chosen backend was not reached, gives the lease back, and says whether to
// choose again: no byte of the client's was used up, so nothing is lost. outcome is what it means if
// the session ends now.
func (s *Session) Failed(err error, took time.Duration) (retry bool, outcome Outcome) {
	s.tries++
	s.connect = took
	failure := backend.Classify(err)
	s.request.Exclude(s.lease.Backend())
	s.lease.Failed(failure)
	retry = failure != backend.FailureCanceled && s.tries <= s.frontend.Retries
	if retry {
		s.logRetry(err)
	}
	return retry, ofFailure(failure)
}

// Release gives the lease back, if it is held.
func (s *Session) Release() { s.lease.Release() }

// Chosen returns the session's last choice, or nil.
func (s *Session) Chosen() *backend.Backend { return s.chosen.Load() }

// On says whether b was the session's last choice. It may be called from any goroutine.
func (s *Session) On(b *backend.Backend) bool { return s.chosen.Load() == b }

// EndsAt returns when the session's time is up. Zero: never. Each call draws its own jitter.
func (s *Session) EndsAt() time.Time {
	o := &s.frontend.Options
	if o.SessionTimeout == 0 {
		return time.Time{}
	}
	whole := float64(o.SessionTimeout)
	return s.accepted.Add(time.Duration(whole - rand.Float64()*whole*float64(o.SessionJitter)/100))
}

// Ending is how a session ended, as its engine saw it.
type Ending struct {
	Outcome Outcome
	Err     error // what the outcome does not say; may be nil
	Phase   Phase
	// BytesUp were delivered to the backend, BytesDown to the client.
	BytesUp, BytesDown int64
}

// Settle counts and logs the end of the session. It is the last thing done with it. Should the log
// panic, it may be called again, and only logs.
func (s *Session) Settle(e Ending) {
	if !s.settled {
		s.settled = true
		c := &s.frontend.counters
		c.BytesUp.Add(uint64(e.BytesUp))
		c.BytesDown.Add(uint64(e.BytesDown))
		c.byOutcome[e.Outcome].Add(1)
		c.Closed.Add(1)
	}
	s.logServed(&e)
}
