package frontend

import (
	"sync"
	"time"
)

// Slots counts how many sessions there are at one time, and bounds them. A nil *Slots does neither.
type Slots struct {
	mu       sync.Mutex
	limit    int // 0: none
	used     int
	waiting  []func()
	lastTold time.Time
}

// NewSlots returns n slots. 0: as many as are wanted.
func NewSlots(n int) *Slots { return &Slots{limit: n} }

// SetLimit changes how many slots there are. 0: as many as are wanted. With fewer than are taken, nobody has
// to leave.
func (s *Slots) SetLimit(n int) {
	s.mu.Lock()
	s.limit = n
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, wake := range waiting {
		wake()
	}
}

// tellEvery is how often, at most, a log line says that no slot is free: at the limit every client waits.
const tellEvery = time.Minute

// take takes a slot. If none is free it calls wake, once, when one is given back; tell says that it is
// time for a log line.
func (s *Slots) take(wake func()) (ok, tell bool) {
	if s == nil {
		return true, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit == 0 || s.used < s.limit {
		s.used++
		return true, false
	}
	s.waiting = append(s.waiting, wake)
	now := time.Now()
	if tell = now.Sub(s.lastTold) > tellEvery; tell {
		s.lastTold = now
	}
	return false, tell
}

func (s *Slots) force() {
	if s != nil {
		s.mu.Lock()
		s.used++
		s.mu.Unlock()
	}
}

func (s *Slots) give() {
	if s == nil {
		return
	}
	s.mu.Lock()
	waiting := s.waiting
	s.used--
	s.waiting = nil
	s.mu.Unlock()
	for _, wake := range waiting {
		wake()
	}
}

// TakeSlot says whether there may be one more session. If not, further clients are to wait in the
// accept queue, and wake is called once when it is worth trying again, from any goroutine; it must not
// block. A slot that was taken is given back with GiveSlot.
func (f *Frontend) TakeSlot(wake func()) bool {
	ok, tell := f.own.take(wake)
	if ok {
		if ok, tell = f.Slots.take(wake); !ok {
			f.own.give()
		}
	}
	if tell {
		f.Log.Warn().Str("frontend", f.Name()).
			Msg("no session is free: further clients wait in the accept queue")
	}
	return ok
}

// ForceSlot takes a slot that may not be there.
func (f *Frontend) ForceSlot() {
	f.own.force()
	f.Slots.force()
}

// GiveSlot gives back what TakeSlot took.
func (f *Frontend) GiveSlot() {
	f.Slots.give()
	f.own.give()
}
