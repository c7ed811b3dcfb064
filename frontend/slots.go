package frontend

import (
	"sync"
	"time"
)

// Slots counts how many sessions there are at one time, and bounds them. A nil *Slots does neither.
type Slots struct {
	mu       sync.Mutex
	limit    int // of this process; 0: none
	together int // of this process and those before it; 0: none
	used     int
	others   int          // that processes before this one use
	landlord func(by int) // is told of slots, when a process after this one counts them; nil: none does
	waiting  []func()
	lastTold time.Time
}

// NewSlots returns n slots. 0: as many as are wanted.
func NewSlots(n int) *Slots { return &Slots{limit: n} }

// SetLimit changes how many slots there are. 0: as many as are wanted. With fewer than are taken, nobody has
// to leave.
func (s *Slots) SetLimit(n int) {
	s.change(func() { s.limit = n })
}

// SetTogether changes how many slots there are for this process and those whose place it has taken. 0: as many as are
// wanted. SetLimit is for what each has by itself.
func (s *Slots) SetTogether(n int) {
	s.change(func() { s.together = n })
}

// Occupy counts slots that another process uses, by that many more, or fewer.
func (s *Slots) Occupy(by int) {
	s.change(func() { s.others += by })
}

// Cede has landlord told how many slots are used, and then of each that is taken or given back. It must not block. With
// nil nobody is told any more.
func (s *Slots) Cede(landlord func(by int)) {
	s.change(func() {
		if landlord != nil && s.landlord == nil && s.used > 0 {
			landlord(s.used)
		}
		s.landlord = landlord
	})
}

// lent takes a slot that a landlord has granted, and knows of.
func (s *Slots) lent() {
	if s != nil {
		s.mu.Lock()
		s.used++
		s.mu.Unlock()
	}
}

// lend turns a slot that this process has taken into one that another process uses.
func (s *Slots) lend() {
	if s != nil {
		s.mu.Lock()
		s.used--
		s.others++
		s.mu.Unlock()
	}
}

// rouse has everybody who waits look again.
func (s *Slots) rouse() {
	if s != nil {
		s.change(func() {})
	}
}

// change has everybody who waits look again after a change.
func (s *Slots) change(set func()) {
	s.mu.Lock()
	set()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, wake := range waiting {
		wake()
	}
}

func (s *Slots) free() bool {
	return (s.limit == 0 || s.used < s.limit) && (s.together == 0 || s.used+s.others < s.together)
}

// count changes how many are used.
func (s *Slots) count(by int) {
	s.used += by
	if s.landlord != nil {
		s.landlord(by)
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
	if s.free() {
		s.count(1)
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
		s.count(1)
		s.mu.Unlock()
	}
}

func (s *Slots) give() {
	if s == nil {
		return
	}
	s.mu.Lock()
	waiting := s.waiting
	s.count(-1)
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
