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
// engine that runs it owns it: only [Session.On] and [Session.Describe] may be called from elsewhere.
type Session struct {
	frontend *Frontend
	id       uint64
	from     netip.AddrPort // of the client; zero for a unix client
	admitted Admitted
	quest    *Quest // nil once there is a backend
	lease    backend.Lease
	chosen   atomic.Pointer[backend.Backend] // last

	accepted time.Time
	waited   duration     // from accept to the lease that was used
	connect  duration     // of the attempt that succeeded, or the last
	asked    atomic.Int64 // nanoseconds from accept to the client's first bytes; 0: none yet
	tries    atomic.Int32
	share    uint8 // of the jitter: 0 to JitterSteps-1
	settled  bool
}

// duration is written by the session's engine, and read by whoever describes the session.
type duration struct{ ns atomic.Int64 }

func (d *duration) set(to time.Duration) { d.ns.Store(int64(to)) }
func (d *duration) get() time.Duration   { return time.Duration(d.ns.Load()) }

// Quest is what a session needs only until it has a backend. The engine owns it, and may use it for another
// session then.
type Quest struct {
	request backend.Request
	waiter  backend.Waiter
	pause   time.Duration // before the same backend is tried again, next time
	queued  time.Time     // waits since; zero: does not
}

// OnWake sets what is called when a session that waits in the queue should Claim: by any goroutine, and
// perhaps too late. It must not block. Call it once, before the quest's first use.
func (q *Quest) OnWake(wake func()) { q.waiter.Wake = wake }

const (
	// First and longest pause before the same backend is tried again, when there is no other.
	firstRetry, longestRetry = 100 * time.Millisecond, time.Second
)

// lastID numbers the sessions of a process.
var lastID atomic.Uint64

// Begin makes s the session of a client that was just let in, and counts it. Whatever s and q were before
// is forgotten, so that an engine may use them again. See [Session.Settle].
func (f *Frontend) Begin(s *Session, q *Quest, from netip.AddrPort, a Admitted, now time.Time) {
	s.frontend, s.id, s.from, s.admitted, s.accepted = f, lastID.Add(1), from, a, now
	q.request = backend.NewRequest(from.Addr())
	q.request.Class = a.class
	q.pause, q.queued = firstRetry, time.Time{}
	s.quest = q
	s.lease = backend.Lease{}
	s.chosen.Store(nil)
	s.waited.set(0)
	s.connect.set(0)
	s.tries.Store(0)
	s.asked.Store(0)
	s.share = uint8(rand.IntN(JitterSteps))
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
// those again, to be tried after a pause. The lease is held until Release or Failed. With
// [backend.ErrQueued] the session waits in the queue: until it is woken and Claims, or it Leaves.
func (s *Session) Choose(now time.Time) (b *backend.Backend, pause time.Duration, err error) {
	pool, q := s.frontend.Pool, s.quest
	q.request.Now = pool.At(now)
	lease, again, err := pool.Wait(&q.request, &q.waiter)
	return s.chose(lease, again, err, now)
}

// Claim is Choose for a session that was woken. With [backend.ErrQueued] it waits on.
func (s *Session) Claim(now time.Time) (b *backend.Backend, pause time.Duration, err error) {
	lease, again, err := s.frontend.Pool.Claim(&s.quest.waiter)
	return s.chose(lease, again, err, now)
}

// Leave gives up the session's place in the queue.
func (s *Session) Leave(now time.Time) {
	s.waited.set(now.Sub(s.accepted))
	s.timeQueue(nil, now)
	s.frontend.Pool.Leave(&s.quest.waiter)
}

func (s *Session) chose(l backend.Lease, again bool, err error, now time.Time) (*backend.Backend, time.Duration, error) {
	s.timeQueue(err, now)
	if err != nil {
		return nil, 0, err
	}
	s.lease = l
	b := l.Backend()
	s.chosen.Store(b)
	s.waited.set(now.Sub(s.accepted))
	if !again {
		return b, 0, nil
	}
	q := s.quest
	pause := q.pause
	q.pause = min(2*pause, longestRetry)
	return b, pause, nil
}

// timeQueue times what the session waits in the queue: err is what it was told there.
func (s *Session) timeQueue(err error, now time.Time) {
	q := s.quest
	switch waits := err == backend.ErrQueued; {
	case waits && q.queued.IsZero():
		q.queued = now
	case !waits && !q.queued.IsZero():
		s.frontend.counters.QueueWait.Observe(now.Sub(q.queued))
		q.queued = time.Time{}
	}
}

// Unchosen says what the error of Choose or Claim means for the session, when it does not wait.
func Unchosen(err error) Outcome {
	switch {
	case errors.Is(err, backend.ErrFull):
		return BackendsFull
	case errors.Is(err, backend.ErrQueueFull):
		return QueueFull
	}
	return NoBackend
}

// Connected reports that the chosen backend was reached, from that local address.
func (s *Session) Connected(took time.Duration, local func() net.Addr) {
	s.tries.Add(1)
	s.connect.set(took)
	s.quest = nil
	s.frontend.counters.Connect.Observe(took)
	s.lease.Connected(took)
	s.logOpened(local)
}

// Learns says whether the engine is to report first bytes, with Asked and Answered.
func (f *Frontend) Learns() bool { return f.learns.Load() }

// Asked reports that the backend got the first bytes of the client.
func (s *Session) Asked(now time.Time) { s.asked.Store(max(1, int64(now.Sub(s.accepted)))) }

// Answered reports that the backend has sent its first bytes, to what it was asked or of its own accord. It
// may be called beside Asked, but not beside Release.
func (s *Session) Answered(now time.Time) {
	since := time.Duration(s.asked.Load())
	if since == 0 {
		since = s.waited.get() + s.connect.get()
	}
	s.lease.FirstByte(now.Sub(s.accepted) - since)
}

// Unanswered reports that the backend failed before it sent anything. It is called before Release.
func (s *Session) Unanswered() { s.lease.Unanswered() }

// EndedEarly reports that the backend has ended the session before it sent anything, although the client had sent
// something and not ended its stream. It is called before Release, once.
func (s *Session) EndedEarly() { s.lease.EndedEarly() }

// Failed reports that the chosen backend was not reached, gives the lease back, and says whether to
// choose again: no byte of the client's was used up, so nothing is lost. outcome is what it means if
// the session ends now.
func (s *Session) Failed(err error, took time.Duration) (retry bool, outcome Outcome) {
	s.tries.Add(1)
	s.connect.set(took)
	failure := backend.Classify(err)
	s.quest.request.Exclude(s.lease.Backend())
	s.lease.Failed(failure)
	retry = failure != backend.FailureCanceled && int(s.tries.Load()) <= s.frontend.Current().Retries
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

// EndsAt returns when the session's time is up under those rules. Zero: never.
func (s *Session) EndsAt(r *Rules) time.Time { return r.sessionEnd(s.accepted, s.share) }

// Share returns the session's share of the jitter, 0 to JitterSteps-1: drawn once, so that sessions with the same share
// end in the order in which they began.
func (s *Session) Share() int { return int(s.share) }

// QueuedAt returns since when a session that waits in the queue does. It has no backend yet.
func (s *Session) QueuedAt() time.Time { return s.quest.queued }

// Ending is how a session ended, as its engine saw it.
type Ending struct {
	Outcome Outcome
	Err     error // what the outcome does not say; may be nil
	Phase   Phase
	// BytesUp were delivered to the backend, BytesDown to the client.
	BytesUp, BytesDown int64
	At                 time.Time // zero: now
}

// Settle counts and logs the end of the session. It is the last thing done with it. Should the log
// panic, it may be called again, and only logs.
func (s *Session) Settle(e Ending) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if !s.settled {
		s.settled = true
		s.admitted.end()
		c := &s.frontend.counters
		c.BytesUp.Add(uint64(e.BytesUp))
		c.BytesDown.Add(uint64(e.BytesDown))
		c.byOutcome[e.Outcome].Add(1)
		c.Closed.Add(1)
		if !e.Outcome.turnedAway() {
			c.Length.Observe(e.At.Sub(s.accepted))
		}
		s.frontend.Ended.add(s, &e)
	}
	s.logServed(&e)
}
