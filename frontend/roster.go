package frontend

import (
	"sync"
	"time"
)

// roster is all sessions of a frontend, for those who look at them from outside.
type roster struct {
	mu      sync.Mutex
	head    *copySession // of a doubly linked list through entry
	cursors []*cursor
}

// entry is a session's place in the roster, and what the sweep remembers of it.
type entry struct {
	prev, next *copySession
	endsAt     time.Time // zero: never
	moved      int64     // bytes relayed at the last change that a sweep saw
	acked      uint64    // bytes acknowledged at the last sweep in silence
	quietSince time.Time
	checked    bool // acked is known
	halfClosed bool
}

func (r *roster) add(s *copySession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.next = r.head
	if r.head != nil {
		r.head.prev = s
	}
	r.head = s
}

func (r *roster) remove(s *copySession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pass(s)
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		r.head = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
}

// cutAll ends the sessions that match. They are cut after the lock is free, for closing takes time.
func (r *roster) cutAll(match func(*copySession) bool, why Outcome) {
	for _, s := range r.matching(match) {
		s.cut(why)
	}
}

func (r *roster) matching(match func(*copySession) bool) (found []*copySession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := r.head; s != nil; s = s.next {
		if match(s) {
			found = append(found, s)
		}
	}
	return found
}

// sweep ends the sessions that are past one of their limits. A session at which it panics, which contained tells,
// is passed over: the others keep their limits.
func (r *roster) sweep(now time.Time, contained func(func()) bool) {
	type verdict struct {
		session *copySession
		why     Outcome
	}
	var over []verdict
	r.mu.Lock()
	for s := r.head; s != nil; {
		contained(func() {
			for s != nil {
				at := s
				s = s.next
				if why := at.overdue(now); why != unknown {
					over = append(over, verdict{at, why})
				}
			}
		})
	}
	r.mu.Unlock()
	for len(over) > 0 {
		contained(func() {
			for len(over) > 0 {
				v := over[0]
				over = over[1:]
				v.session.cut(v.why)
			}
		})
	}
}
