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
func (c *Copy) sweepInterval() time.Duration {
	var shortest time.Duration
	rules := c.Current()
	for _, d := range []time.Duration{rules.IdleTimeout, rules.HalfCloseTimeout, rules.SessionTimeout} {
		if d > 0 && (shortest == 0 || d < shortest) {
			shortest = d
		}
	}
	if shortest == 0 {
		return 0
	}
	return min(max(shortest/sweepsPerLimit, shortestSweep), longestSweep)
}

// arm starts the session's limits; endsAt is when its time is up, zero for never.
func (e *entry) arm(now, endsAt time.Time) { e.quietSince, e.endsAt = now, endsAt }

// overdue says which limit the session has passed, or unknown. Only the sweep calls it.
func (s *copySession) overdue(now time.Time) Outcome {
	if !s.endsAt.IsZero() && !now.Before(s.endsAt) {
		return SessionTimeout
	}
	p := s.phase()
	if p == Connecting { // bounded by the connect timeout and the retries
		s.quietSince = now
		return unknown
	}
	if p == LastBytes && !s.halfClosed { // the silence of the other side begins now
		s.halfClosed, s.quietSince, s.checked = true, now, false
	}
	if p == LastBytes && s.silentFor(s.server.Current().HalfCloseTimeout, now) {
		return HalfCloseTimeout
	}
	if s.silentFor(s.server.Current().IdleTimeout, now) {
		return IdleTimeout
	}
	return unknown
}

// silentFor says whether no byte has moved for that long. 0: never.
func (s *copySession) silentFor(limit time.Duration, now time.Time) bool {
	if limit == 0 {
		return false
	}
	up, down := s.bytes()
	if moved := up + down; moved != s.moved {
		s.moved, s.quietSince, s.checked = moved, now, false
		return false
	}
	if now.Sub(s.quietSince) < limit/4 {
		return false
	}
	// A slow reader, for whom bytes still wait in a socket's buffer, is not silent as long as it
	// acknowledges some.
	acked := s.pair.Load().Acknowledged()
	if s.checked && acked != s.acked {
		s.quietSince = now
	}
	s.acked, s.checked = acked, true
	return now.Sub(s.quietSince) >= limit
}
