package frontend

import "sync"

// roster is all sessions of a frontend, for those who look at them from outside.
type roster struct {
	mu      sync.Mutex
	head    *copySession // of a doubly linked list through entry
	cursors []*cursor
}

// entry is a session's place in the roster.
type entry struct{ prev, next *copySession }

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
