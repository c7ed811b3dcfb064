package handover

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"sync"

	"weir/backend/contain"
)

// Premises is what a tenant lives in: the pools and frontends of an old process.
type Premises interface {
	// LetGo leaves the processes before this one to the one after it. Reclaim takes them back.
	LetGo()
	// Cede has those frontends decide nothing more by themselves, and all others do again. They tell t what they have
	// and give back, and ask it. It is called again when there is another landlord.
	Cede(t *Tenant, frontends []string) error
	// Answered is told the answer to a question, once, and not that of one that was withdrawn before it was sent.
	Answered(q *Question, a *Answer)
	// Reclaim has all decide by themselves again.
	Reclaim()
}

// Tenant is the end of an old process: it keeps the books of what that process has, and speaks with the landlord.
type Tenant struct {
	conn    *Conn
	of      Premises
	guard   *contain.Guard
	ceding  chan struct{} // closed when a landlord has asked for all
	greeted chan struct{} // closed when a landlord decides
	ended   chan struct{} // closed when there is no landlord, and never will be
	signal  chan struct{} // something is to be sent

	sending sync.Mutex // of what is taken out of the books and not yet sent; before mu

	mu       sync.Mutex
	reported bool
	books    map[Place]int
	changes  map[Place]int // not yet sent
	open     map[uint64]*asked
	unsent   []uint64 // questions
	taken    []uint64 // questions that were taken back, not yet sent
	last     uint64   // ticket
	over     bool
}

// asked is a question without an answer yet.
type asked struct {
	Question
	sent, withdrawn bool
}

// NewTenant begins to listen to the landlord at the other end. Without a connection there never is one.
func NewTenant(conn *Conn, of Premises, guard *contain.Guard) *Tenant {
	t := &Tenant{
		conn: conn, of: of, guard: guard, ceding: make(chan struct{}), greeted: make(chan struct{}), ended: make(chan struct{}), signal: make(chan struct{}, 1),
		books: make(map[Place]int), changes: make(map[Place]int), open: make(map[uint64]*asked),
	}
	if conn == nil {
		go t.end()
		return t
	}
	go t.guard.Do("listen to the process after this one", t.listen)
	go t.guard.Do("speak to the process after this one", t.speak)
	return t
}

// Ceding is closed when a landlord has asked for all, and nobody is accepted any more.
func (t *Tenant) Ceding() <-chan struct{} { return t.ceding }

// IsGreeted says whether there is a landlord that decides.
func (t *Tenant) IsGreeted() bool { return closed(t.greeted) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Close ends the tenancy, and returns when all is as before.
func (t *Tenant) Close() {
	t.conn.Hangup()
	<-t.ended
}

// Count counts at a place, by that many more or fewer.
func (t *Tenant) Count(p Place, by int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	add(t.books, p, by)
	add(t.changes, p, by)
	t.wake()
}

// Ordered tells the last place in the order of arrival of a frontend's pool.
func (t *Tenant) Ordered(frontend string, seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.books[Place{Kind: Order, Frontend: frontend}] = int(seq)
}

// GiveBack gives back what was granted to nobody.
func (t *Tenant) GiveBack(q *Question, a *Answer) {
	for _, p := range a.places(q) {
		t.Count(p, -1)
	}
}

// Ask asks for something, under a new ticket. ok is false when there is nobody to ask any more.
func (t *Tenant) Ask(q Question) (ticket uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	q.Ticket = t.last
	t.open[q.Ticket] = &asked{Question: q}
	t.unsent = append(t.unsent, q.Ticket)
	t.wake()
	return q.Ticket, !t.over
}

// Withdraw takes a question back. The answer may be on its way.
func (t *Tenant) Withdraw(ticket uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch q := t.open[ticket]; {
	case q == nil || q.withdrawn:
	case !q.sent:
		delete(t.open, ticket)
	default:
		q.withdrawn = true
		t.taken = append(t.taken, ticket)
		t.wake()
	}
}

func (t *Tenant) wake() {
	select {
	case t.signal <- struct{}{}:
	default:
	}
}

// add counts in books that hold no zeros.
func add(books map[Place]int, p Place, by int) {
	if books[p] += by; books[p] == 0 {
		delete(books, p)
	}
}

func (t *Tenant) listen() {
	defer t.end()
	await := func() {}
	var frontends []string
	for {
		m, err := t.conn.receive()
		if err != nil {
			t.conn.Close()
			await() // what it has is closed then
			return
		}
		if m.LetGo {
			t.of.LetGo()
			t.conn.send(&message{Free: true})
		}
		if h := m.Hello; h != nil {
			frontends = append(frontends, h.Frontends...)
			if !h.Last {
				continue
			}
			await = watchExit(h.PID)
			t.greet(h, frontends)
			frontends = nil
		}
		for i := range m.Answers {
			t.answered(&m.Answers[i])
		}
	}
}

// greet has a landlord decide from now on, and tells it all.
func (t *Tenant) greet(h *hello, frontends []string) {
	if h.Version != Version {
		t.conn.send(&message{Declined: fmt.Sprintf("it counts as version %d, not %d", Version, h.Version)})
		return
	}
	if !closed(t.ceding) {
		close(t.ceding)
	}
	t.mu.Lock()
	t.reported = false
	t.mu.Unlock()
	if err := t.of.Cede(t, frontends); err != nil {
		t.conn.send(&message{Failed: err.Error()})
		return
	}
	if !closed(t.greeted) {
		close(t.greeted) // before the landlord can serve
	}
	_ = t.tell(h.Epoch, frontends) // the end of the connection is noticed by who listens
}

// tell tells all that there is in those frontends.
func (t *Tenant) tell(epoch uint64, frontends []string) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	all, questions, lost := t.inventory(frontends)
	for _, q := range lost {
		t.of.Answered(&q.Question, &Answer{Ticket: q.Ticket, Refused: Lost})
	}
	return t.report(epoch, all, questions)
}

// inventory returns all that there is in those frontends, and all that is asked there: who waits here came before those
// who come to the landlord. lost is what was asked elsewhere.
func (t *Tenant) inventory(frontends []string) (all []count, questions []Question, lost []*asked) {
	here := map[string]bool{"": true}
	for _, f := range frontends {
		here[f] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, n := range t.books {
		if here[p.Frontend] {
			all = append(all, count{p, n})
		} else {
			delete(t.books, p)
		}
	}
	t.unsent = t.unsent[:0]
	for ticket, q := range t.open {
		if q.withdrawn || !here[q.Frontend] {
			delete(t.open, ticket)
			if !q.withdrawn {
				lost = append(lost, q)
			}
			continue
		}
		q.sent = false
		t.unsent = append(t.unsent, ticket)
	}
	slices.Sort(t.unsent)
	for _, ticket := range t.unsent {
		q := t.open[ticket]
		q.sent = true
		questions = append(questions, q.Question)
	}
	t.unsent, t.taken = nil, nil
	clear(t.changes)
	t.reported = true
	t.wake()
	return all, questions, lost
}

func (t *Tenant) report(epoch uint64, all []count, questions []Question) error {
	var list []*message
	for _, piece := range parts(all, (*count).size) {
		list = append(list, &message{Counts: piece})
	}
	for _, piece := range parts(questions, (*Question).size) {
		list = append(list, &message{Questions: piece})
	}
	for i, m := range list {
		m.Report = &report{PID: os.Getpid(), Epoch: epoch, First: i == 0, Last: i == len(list)-1}
		if err := t.conn.send(m); err != nil {
			return err
		}
	}
	return nil
}

// speak sends what there is to tell, until there is nobody to tell it to.
func (t *Tenant) speak() {
	for {
		select {
		case <-t.signal:
			t.flush()
		case <-t.ended:
			return
		}
	}
}

// flush sends what there is to tell. An error is that of the connection, which listen sees too.
func (t *Tenant) flush() {
	t.sending.Lock()
	defer t.sending.Unlock()
	counts, taken, questions := t.take()
	for _, m := range changesIn(counts, taken, questions) {
		if t.conn.send(m) != nil {
			return
		}
	}
}

func changesIn(counts []count, taken []uint64, questions []Question) (all []*message) {
	if len(counts) > 0 {
		for _, piece := range parts(counts, (*count).size) {
			all = append(all, &message{Counts: piece})
		}
	}
	if len(taken) > 0 {
		for _, piece := range parts(taken, ticketSize) {
			all = append(all, &message{Withdrawn: piece})
		}
	}
	if len(questions) > 0 {
		for _, piece := range parts(questions, (*Question).size) {
			all = append(all, &message{Questions: piece})
		}
	}
	return all
}

// take takes out what is to be sent.
func (t *Tenant) take() (counts []count, taken []uint64, questions []Question) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.reported {
		return nil, nil, nil
	}
	for p, n := range t.changes {
		counts = append(counts, count{p, n})
	}
	clear(t.changes)
	for _, ticket := range t.unsent {
		if q := t.open[ticket]; q != nil && !q.sent {
			q.sent = true
			questions = append(questions, q.Question)
		}
	}
	t.unsent = t.unsent[:0]
	taken, t.taken = t.taken, nil
	return counts, taken, questions
}

// answered books what was granted, and tells who has asked.
func (t *Tenant) answered(a *Answer) {
	t.mu.Lock()
	q := t.open[a.Ticket]
	if q != nil {
		delete(t.open, a.Ticket)
		for _, p := range a.places(&q.Question) {
			add(t.books, p, 1)
		}
	}
	t.mu.Unlock()
	if q != nil {
		t.of.Answered(&q.Question, a)
	}
}

// Lost is the answer to who asked when there is no landlord any more.
const Lost = "lost"

// end has the process decide by itself again.
func (t *Tenant) end() {
	defer close(t.ended)
	t.of.Reclaim()
	t.mu.Lock()
	t.over = true
	open := t.open
	t.open = make(map[uint64]*asked)
	t.mu.Unlock()
	for _, q := range inOrder(open) {
		if q.Backend == nil { // pools have answered the others
			t.of.Answered(&q.Question, &Answer{Ticket: q.Ticket, Refused: Lost})
		}
	}
}

func inOrder(open map[uint64]*asked) (list []*asked) {
	for _, q := range open {
		list = append(list, q)
	}
	slices.SortFunc(list, func(a, b *asked) int { return cmp.Compare(a.Ticket, b.Ticket) })
	return list
}
