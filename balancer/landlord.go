package balancer

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"weir/backend"
	"weir/balancer/handover"
	"weir/frontend"
	"weir/frontend/rate"
)

// house counts what processes before this one have, beside what this one has.
type house struct {
	b *Balancer

	mu      sync.Mutex
	parts   map[string]*part
	has     map[handover.Place]int
	clients map[handover.Place][]guest
}

// guest is one session of another process in a table of clients.
type guest struct {
	table *rate.Clients
	ref   rate.Ref
}

func newHouse(b *Balancer) *house {
	return &house{b: b, parts: make(map[string]*part), has: make(map[handover.Place]int), clients: make(map[handover.Place][]guest)}
}

// TakeOver counts the sessions of the processes before this one, to which those files lead: when it returns they hold
// all limits together with this one, which decides. Call it once, before Run. On an error the one before this goes on.
func (b *Balancer) TakeOver(former []*os.File) error {
	var conns []*handover.Conn
	for _, f := range former {
		c, err := handover.Open(f)
		if err != nil {
			return fmt.Errorf("speak with the processes before this one: %w", err)
		}
		conns = append(conns, c)
	}
	if err := b.landlord.Greet(conns); err != nil {
		return fmt.Errorf("take over from the processes before this one: %w", err)
	}
	return nil
}

// Frontends are those that this process has.
func (h *house) Frontends() (names []string) {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	for _, p := range h.b.parts {
		names = append(names, p.name)
	}
	return names
}

// enter counts in a part what others have there already.
func (h *house) enter(p *part) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parts[p.name] = p
	for at, n := range h.has {
		if at.Frontend == p.name && at.Kind != handover.Process {
			h.count(at, n)
		}
	}
}

// leave counts nothing more in a part. What others have there stays in the books, should it come back.
func (h *house) leave(p *part) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.parts[p.name] != p {
		return
	}
	delete(h.parts, p.name)
	for at := range h.clients {
		if at.Frontend == p.name {
			delete(h.clients, at)
		}
	}
}

// Count is described with handover.House.
func (h *house) Count(at handover.Place, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.Kind != handover.Order {
		h.book(at, by)
	}
	h.count(at, by)
}

func (h *house) book(at handover.Place, by int) {
	if h.has[at] += by; h.has[at] == 0 {
		delete(h.has, at)
	}
}

func (h *house) count(at handover.Place, by int) {
	if at.Kind == handover.Process {
		h.b.slots.Occupy(by)
		return
	}
	p := h.parts[at.Frontend]
	if p == nil || by == 0 {
		return
	}
	switch at.Kind {
	case handover.Backend:
		p.pool.Occupy(at.ID(), by)
	case handover.Class:
		p.pool.OccupyClass(at.Name, by)
	case handover.Slots:
		p.frontend.OccupySlots(by)
	case handover.Client:
		h.countClient(p, at, by)
	case handover.Order:
		p.pool.Follow(uint64(by))
	}
}

func (h *house) countClient(p *part, at handover.Place, by int) {
	addr, err := netip.ParseAddr(at.Name)
	if err != nil {
		return
	}
	table := p.frontend.Current().Admission.Clients
	for ; by > 0; by-- {
		h.clients[at] = append(h.clients[at], guest{table, table.Occupy(addr, 1, p.pool.Since())})
	}
	list := h.clients[at]
	for ; by < 0 && len(list) > 0; by++ {
		last := list[len(list)-1]
		list = list[:len(list)-1]
		last.table.Vacate(last.ref, 1)
	}
	if h.clients[at] = list; len(list) == 0 {
		delete(h.clients, at)
	}
}

// Lodge is described with handover.House.
func (h *house) Lodge(q *handover.Question, wake func()) handover.Lodging {
	h.mu.Lock()
	p := h.parts[q.Frontend]
	h.mu.Unlock()
	switch {
	case p == nil:
		wake()
		return nowhere{}
	case q.Backend != nil:
		l := &poolLodging{house: h, frontend: q.Frontend, pool: p.pool}
		l.lodger.Wake = wake
		p.pool.Lodge(&l.lodger, *q.Backend)
		return l
	}
	wake()
	return &doorLodging{house: h, part: p, client: q.Client, wake: wake}
}

// nowhere is where a question waits of which nobody knows what it is about.
type nowhere struct{}

func (nowhere) Told() (handover.Answer, bool) {
	return handover.Answer{Refused: refused(backend.ErrNoBackend)}, false
}
func (nowhere) Leave() {}

// poolLodging waits for a backend.
type poolLodging struct {
	*house
	frontend string
	pool     *backend.Pool
	lodger   backend.Lodger
}

func (l *poolLodging) Told() (a handover.Answer, waits bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, class, again, err := l.pool.Told(&l.lodger)
	switch {
	case errors.Is(err, backend.ErrQueued):
		return a, true
	case err != nil:
		a.Refused = refused(err)
		return a, false
	}
	l.book(handover.OfBackend(l.frontend, id), 1)
	l.book(handover.OfClass(l.frontend, class), 1)
	return handover.Answer{Backend: &id, Class: class, Again: again}, false
}

func (l *poolLodging) Leave() { l.pool.Dislodge(&l.lodger) }

// doorLodging waits to be let in.
type doorLodging struct {
	*house
	part   *part
	client netip.Addr
	wake   func()
}

func (l *doorLodging) Told() (a handover.Answer, waits bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	verdict, table, ref := l.part.frontend.Lend(l.client, l.wake)
	switch verdict {
	case "":
		return a, true
	case frontend.SlotGranted:
	default:
		a.Refused = string(verdict)
		return a, false
	}
	l.book(handover.OfSlots(l.part.name), 1)
	l.book(handover.Place{Kind: handover.Process}, 1)
	if l.client.IsValid() {
		at := handover.OfClient(l.part.name, l.client)
		l.book(at, 1)
		l.clients[at] = append(l.clients[at], guest{table, ref})
	}
	return a, false
}

func (l *doorLodging) Leave() {}

// The words for why there is no backend.
var refusedWords = map[string]error{
	"full": backend.ErrFull, "queue full": backend.ErrQueueFull, "no backend": backend.ErrNoBackend,
}

func refused(err error) string {
	for word, e := range refusedWords {
		if errors.Is(err, e) {
			return word
		}
	}
	return "no backend"
}

func whyRefused(word string) error {
	if err, ok := refusedWords[word]; ok {
		return err
	}
	return backend.ErrNoBackend
}
