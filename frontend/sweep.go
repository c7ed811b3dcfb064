package frontend

import (
	"context"
	"time"

	"weir/frontend/pulse"
	"weir/frontend/relay"
)

const (
	// sweepsPerLimit is how many sweeps there are within the shortest limit: what a sweep finds is at
	// most this part of the limit late.
	sweepsPerLimit = 40
	// hearAgain is the least time from a sweep that finds that weir was stopped to the next: what has come
	// meanwhile still has to be read.
	hearAgain = 100 * time.Millisecond
)

// sweeper looks at all sessions again and again, and ends those that are past one of their limits. It belongs to
// the goroutine that runs [Copy.Watch].
type sweeper struct {
	*Copy
	start     time.Time
	pulse     pulse.Pulse
	nextVigil time.Duration // since start
}

// glance is one sweep's view.
type glance struct {
	rules *Rules
	now   time.Time
	at    time.Duration // since the sweeper's start
	ran   time.Duration // of that
	vigil bool          // look for peers that are gone
}

// Watch ends the sessions that are past their limits, until ctx ends.
func (c *Copy) Watch(ctx context.Context) {
	s := &sweeper{Copy: c, start: time.Now()}
	every := s.follow()
	for {
		t := time.NewTimer(every)
		select {
		case <-t.C:
			every = s.sweep(ctx)
		case <-c.changed:
			s.follow()
			s.wakeQueue(ctx)
			every = s.sweep(ctx)
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// follow goes by the rules of now, and returns how long it is to the next sweep.
func (s *sweeper) follow() time.Duration {
	every := s.Current().sweepEvery()
	s.pulse.SetEvery(every)
	if every == 0 {
		return forever
	}
	return every
}

// sweepEvery returns the time between two sweeps. 0: there is nothing to sweep for.
func (r *Rules) sweepEvery() time.Duration {
	return shortest(sweepFor(shortest(r.IdleTimeout, r.HalfCloseTimeout, r.SessionTimeout), sweepsPerLimit), r.VigilEvery())
}

// sweep looks at every session, and returns how long it is to the next time.
func (s *sweeper) sweep(ctx context.Context) time.Duration {
	now := time.Now()
	g := glance{rules: s.Current(), now: now, at: now.Sub(s.start)}
	stopped := s.pulse.Beat(g.at)
	g.ran = s.pulse.Ran()
	if every := g.rules.VigilEvery(); every > 0 && g.at >= s.nextVigil {
		g.vigil, s.nextVigil = true, g.at+every
	}
	what := "the sweep of frontend " + s.Name()
	s.walk(ctx, func(c *copySession) bool {
		if !s.Guard.Do(what, func() { c.judge(&g) }) {
			s.Guard.Do(what, func() { c.cut(InternalError) }) // or it would panic at each sweep
		}
		return true
	})
	if every := s.follow(); !stopped || every >= hearAgain {
		return every
	}
	s.pulse.SetEvery(hearAgain)
	return hearAgain
}

// wakeQueue has those look at the rules again that wait in the queue.
func (s *sweeper) wakeQueue(ctx context.Context) {
	s.walk(ctx, func(c *copySession) bool {
		if c.queued.Load() {
			c.wake()
		}
		return true
	})
}

// watched is what the sweeper remembers of a session.
type watched struct {
	seen       bool // relaying
	halfClosed bool
	pending    bool  // data was unacknowledged at the last vigil
	moved      int64 // bytes relayed at the last change that a sweep saw
	vigilMoved int64 // and at the last vigil
	silence    Silence
	again      time.Duration // no look at the silence is due before
	vigils     [2]Vigil
	pressed    [2]bool // the kernel asks often enough
	gone       bool    // a peer is,
	goneAt     time.Duration
}

// judge ends the session if it is past one of its limits. Only the sweeper calls it. A session that waits, connects, is
// being refused or has left the queue has no pair, and only its whole time is limited here.
func (s *copySession) judge(g *glance) {
	if end := s.EndsAt(g.rules); !end.IsZero() && !g.now.Before(end) {
		s.cut(SessionTimeout)
		return
	}
	pair := s.pair.Load()
	if pair == nil {
		return
	}
	if why := s.overSilent(g, pair); why != unknown {
		s.cut(why)
		return
	}
	if g.vigil {
		s.keepVigil(g, pair)
	}
}

// overSilent says which limit of silence the session has passed, or unknown.
func (s *copySession) overSilent(g *glance, pair *relay.Pair) Outcome {
	client, backend := pair.Finished()
	up, down := pair.Bytes()
	w, moved := &s.watched, up+down
	if finished := client || backend; !w.seen || moved != w.moved || finished != w.halfClosed {
		w.seen, w.moved, w.halfClosed, w.again = true, moved, finished, 0
		w.silence.Begin(g.ran)
	}
	limit, why := g.rules.SilenceLimit(w.halfClosed)
	if limit == 0 || g.ran < w.again && !g.changed(limit, w) {
		return unknown
	}
	over, again := w.silence.Look(g.ran, limit, pair.Acknowledged)
	w.again = g.ran + again
	if over {
		return why
	}
	return unknown
}

// changed says that a limit has become so short that the next look is due earlier than it was.
func (g *glance) changed(limit time.Duration, w *watched) bool { return w.again-g.ran > limit/Looks }

// keepVigil ends the session if a peer is gone. It asks the kernel only about sessions that have moved bytes lately,
// or had some that were unacknowledged.
func (s *copySession) keepVigil(g *glance, pair *relay.Pair) {
	w := &s.watched
	if w.gone {
		if g.at-w.goneAt >= relay.StallLimit { // and the other takes nothing
			pair.Cut(true)
		}
		return
	}
	if w.moved == w.vigilMoved && !w.pending {
		return
	}
	w.vigilMoved, w.pending = w.moved, false
	for side := range w.vigils {
		conn := s.socket(relay.Side(side))
		line := lineOf(conn)
		if w.vigils[side].Look(g.at, line, g.rules.DeadPeerTimeout) {
			w.gone, w.goneAt = true, g.at
			pair.Fail(relay.Side(side), GoneError(g.rules.DeadPeerTimeout))
			return
		}
		w.pending = w.pending || line.Pending()
		if g.rules.Stalls(line) && !w.pressed[side] {
			w.pressed[side] = true
			press(conn, g.rules.RTOMax())
		}
	}
}
