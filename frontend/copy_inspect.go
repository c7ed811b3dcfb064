package frontend

import (
	"context"
	"slices"
	"syscall"
	"time"
)

// Sessions calls visit for every session that lives throughout, once, and perhaps for some that begin or end
// meanwhile; the newest come first. It ends when visit says false, or with the error of ctx. The Info is
// visit's only until it returns.
func (c *Copy) Sessions(ctx context.Context, o Inspect, visit func(*Info) bool) error {
	return c.walk(ctx, func(s *copySession) bool {
		var info Info
		s.info(&info, o)
		return visit(&info)
	})
}

// Kill cuts the sessions that match short, and tells how many. Those that begin meanwhile may escape.
func (c *Copy) Kill(ctx context.Context, match func(*Info) bool, why Outcome) (n int, err error) {
	err = c.walk(ctx, func(s *copySession) bool {
		var info Info
		s.info(&info, Inspect{})
		if match(&info) && s.cut(why) {
			n++
		}
		return true
	})
	return n, err
}

// walk calls f for the sessions, a few at a time, without holding the lock meanwhile.
func (c *Copy) walk(ctx context.Context, f func(*copySession) bool) error {
	at := c.roster.enter()
	defer c.roster.exit(at)
	few := make([]*copySession, 0, atATime)
	for few = c.roster.take(at, few); len(few) > 0; few = c.roster.take(at, few) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, s := range few {
			if !f(s) {
				return nil
			}
		}
	}
	return nil
}

// info tells what is known of the session now.
func (s *copySession) info(i *Info, o Inspect) {
	s.Describe(i)
	i.In(s.stage(), time.Now())
	pair := s.pair.Load()
	if pair == nil {
		if o.TCP {
			i.ClientTCP, _ = lookAt(s.client)
		}
		return
	}
	i.BytesUp, i.BytesDown = pair.Bytes()
	i.ClientTCP, i.Idle = lookAt(s.client)
	if !o.TCP {
		i.ClientTCP = TCP{}
		return
	}
	i.BackendTCP, _ = lookAt(s.conn.(syscall.Conn))
}

// stage is phase in words. It may be asked from any goroutine.
func (s *copySession) stage() string {
	pair := s.pair.Load()
	switch {
	case s.queued.Load():
		return PhaseQueued
	case pair == nil && s.refused.Load():
		return PhaseRefusing
	case pair == nil:
		return PhaseConnecting
	}
	switch client, backend := pair.Finished(); {
	case client && backend:
		return PhaseClosing
	case client || backend:
		return PhaseHalfClosed
	}
	return PhaseRelaying
}

// atATime is how many sessions are taken from the roster with its lock held: for some 10 µs.
const atATime = 256

// cursor is how far somebody has come who goes through the roster. It moves on when the session it is at
// leaves, so that no other is missed. Those that come are put before the first, where it does not look.
type cursor struct{ next *copySession }

func (r *roster) enter() *cursor {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := &cursor{next: r.head}
	r.cursors = append(r.cursors, at)
	return at
}

func (r *roster) exit(at *cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.cursors, at)
	r.cursors = slices.Delete(r.cursors, i, i+1)
}

// take returns the next sessions, in place of those in few.
func (r *roster) take(at *cursor, few []*copySession) []*copySession {
	r.mu.Lock()
	defer r.mu.Unlock()
	few = few[:0]
	for ; at.next != nil && len(few) < cap(few); at.next = at.next.next {
		few = append(few, at.next)
	}
	return few
}

// pass moves the cursors on that are at s, which leaves. The lock is held.
func (r *roster) pass(s *copySession) {
	for _, at := range r.cursors {
		if at.next == s {
			at.next = s.next
		}
	}
}
