package frontend

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir/backend"
)

// EndedSize is how many ended sessions are kept by default. They take 1.6 MB.
const EndedSize = 10000

// Ended keeps the sessions that ended last, of any number of frontends. A nil *Ended keeps none. It is safe
// for concurrent use. Sessions that were turned away count as well: a flood of those pushes others out.
type Ended struct {
	ring []slot
	next atomic.Uint64 // its number modulo the size is the place of the next one
}

// slot is one place in the ring. Its lock is held for as long as it takes to copy it, and wanted by nobody else
// but a reader of this place, or whoever comes a whole ring later.
type slot struct {
	mu     sync.Mutex
	number uint64 // counted from 1; 0: nobody is here yet
	past
}

// past is what is kept of a session: nothing that would have to be written out for that.
type past struct {
	id                     uint64
	frontend               *Frontend
	client                 netip.AddrPort
	backend                *backend.Backend
	accepted               time.Time
	waited, connect, total time.Duration
	up, down               int64
	err                    error
	tries, class           int32
	outcome                Outcome
	phase                  Phase
}

// Past is what the log line of an ended session says.
type Past struct {
	ID       uint64
	Frontend string
	// Client is the client's address. The zero address is that of a unix client.
	Client netip.AddrPort
	// Backend was chosen last. Empty: none was.
	Backend string
	// Ended is when the session had ended.
	Ended time.Time
	// Waited is from accept until the backend was chosen, Connect the time to connect to it, Total from
	// accept to the end.
	Waited, Connect, Total time.Duration
	// BytesUp were delivered to the backend, BytesDown to the client.
	BytesUp, BytesDown int64
	Tries              int // attempts to connect
	Class              int // as in Info; -1: it was turned away before it had one
	Outcome            Outcome
	Code               string // HAProxy's two letters
	Err                error  // may be nil
}

// NewEnded returns a ring for n sessions, at least 1.
func NewEnded(n int) *Ended { return &Ended{ring: make([]slot, max(n, 1))} }

// add keeps a session that has ended, in place of the oldest.
func (e *Ended) add(s *Session, end *Ending) {
	if e == nil {
		return
	}
	number := e.next.Add(1)
	p := e.at(number)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.number > number { // we were held up for as long as all others took to go round
		return
	}
	p.number = number
	p.past = past{
		id: s.id, frontend: s.frontend, client: s.from, backend: s.chosen.Load(), accepted: s.accepted,
		waited: s.waited.get(), connect: s.connect.get(), total: end.At.Sub(s.accepted),
		up: end.BytesUp, down: end.BytesDown, err: end.Err,
		tries: s.tries.Load(), class: int32(s.admitted.class), outcome: end.Outcome, phase: end.Phase,
	}
}

func (e *Ended) at(number uint64) *slot { return &e.ring[number%uint64(len(e.ring))] }

// All calls visit for those that are kept, those that ended last first, until it says false. The Past is
// visit's own.
func (e *Ended) All(visit func(*Past) bool) {
	if e == nil {
		return
	}
	last := e.next.Load()
	for number := last; number > 0 && last-number < uint64(len(e.ring)); number-- {
		p, ok := e.at(number).read(number)
		if ok && !visit(p.tell()) {
			return
		}
	}
}

// Find returns the session of that number, unless it has not ended, or too long ago. Of 10,000 that takes
// 0.2 ms.
func (e *Ended) Find(id uint64) (p *Past, ok bool) {
	if e == nil {
		return nil, false
	}
	for i := range e.ring {
		if kept, ok := e.ring[i].of(id); ok {
			return kept.tell(), true
		}
	}
	return nil, false
}

// of copies what is there, if it is the session of that number.
func (s *slot) of(id uint64) (past, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id != id || s.number == 0 {
		return past{}, false
	}
	return s.past, true
}

// read copies what is there, if it still is the one of that number.
func (s *slot) read(number uint64) (past, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.past, s.number == number
}

// tell writes it out.
func (p *past) tell() *Past {
	t := &Past{
		ID: p.id, Frontend: p.frontend.Name(), Client: p.client, Ended: p.accepted.Add(p.total),
		Waited: p.waited, Connect: p.connect, Total: p.total, BytesUp: p.up, BytesDown: p.down,
		Tries: int(p.tries), Class: int(p.class), Outcome: p.outcome, Code: p.outcome.code(p.phase), Err: p.err,
	}
	if p.backend != nil {
		t.Backend = p.backend.Name()
	}
	return t
}
