package frontend

import "time"

const (
	// sweepsPerLimit is how many sweeps there are within the shortest limit: what a sweep finds is at
	// most this part of the limit late.
	sweepsPerLimit = 40
	// Bounds of the time between two sweeps.
	shortestSweep, longestSweep = 5 * time.Millisecond, 15 * time.Second
)

// sweepInterval returns the time between two sweeps. 0: nothing to sweep for.
func (f *Frontend) sweepInterval() time.Duration {
	var shortest time.Duration
	for _, d := range []time.Duration{f.opts.IdleTimeout, f.opts.HalfCloseTimeout, f.opts.SessionTimeout} {
		if d > 0 && (shortest == 0 || d < shortest) {
			shortest = d
		}
	}
	if shortest == 0 {
		return 0
	}
	return min(max(shortest/sweepsPerLimit, shortestSweep), longestSweep)
}

func (e *entry) arm(s *session) {
	e.quietSince = s.accepted
	if d := s.frontend.opts.lifetime(); d > 0 {
		e.endsAt = s.accepted.Add(d)
	}
}

// overdue says which limit the session has passed, or unknown. Only the sweep calls it.
func (s *session) overdue(now time.Time) Outcome {
	if !s.endsAt.IsZero() && !now.Before(s.endsAt) {
		return sessionTimeout
	}
	p := s.phase()
	if p == connecting { // bounded by the connect timeout and the retries
		s.quietSince = now
		return unknown
	}
	if p == lastBytes && !s.halfClosed { // the silence of the other side begins now
		s.halfClosed, s.quietSince, s.checked = true, now, false
	}
	if p == lastBytes && s.silentFor(s.frontend.opts.HalfCloseTimeout, now) {
		return halfCloseTimeout
	}
	if s.silentFor(s.frontend.opts.IdleTimeout, now) {
		return idleTimeout
	}
	return unknown
}

// silentFor says whether no byte has moved for that long. 0: never.
func (s *session) silentFor(limit time.Duration, now time.Time) bool {
	if limit == 0 {
		return false
	}
	up, down := s.bytes()
	if moved := up + down; moved != s.moved {
		s.moved, s.quietSince, s.checked = moved, now, false
		return false
	}
	quiet := now.Sub(s.quietSince)
	if quiet >= limit {
		return !s.stillAcknowledged(now)
	}
	if quiet >= limit/2 && !s.checked {
		s.acked, s.checked = s.pair.Load().Acknowledged(), true
	}
	return false
}

// stillAcknowledged finds a slow reader: no byte has entered a socket for long, but those that wait in
// one have gone on. It then counts as active just now.
func (s *session) stillAcknowledged(now time.Time) bool {
	acked := s.pair.Load().Acknowledged()
	if !s.checked || acked == s.acked {
		return false
	}
	s.quietSince, s.checked = now, false
	return true
}
