package handover

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"weir/backend/contain"
)

// House is what a landlord lets: the pools and frontends of the newest process.
type House interface {
	// Frontends are those that it decides for.
	Frontends() []string
	// Count counts what tenants have at a place, by that many more or fewer.
	Count(p Place, by int)
	// Lodge has a question wait. wake is called when Told will tell something new: perhaps at once, and from any
	// goroutine. It does not block, and calls nobody.
	Lodge(q *Question, wake func()) Lodging
}

// Lodging is a question that waits in a house.
type Lodging interface {
	// Told returns the answer, once; what it grants the house has counted. waits says that there is none yet.
	Told() (a Answer, waits bool)
	// Leave takes the question back.
	Leave()
}

// Patience is how long another process may take to answer.
const Patience = 5 * time.Second

// Landlord is the end of the newest process: it counts what the processes before it have, and answers them.
type Landlord struct {
	house House
	guard *contain.Guard
	log   zerolog.Logger

	changing sync.Mutex
	tenants  []*tenant
	halted   bool
}

// NewLandlord returns a landlord without tenants.
func NewLandlord(house House, guard *contain.Guard, log zerolog.Logger) *Landlord {
	return &Landlord{house: house, guard: guard, log: log}
}

// Greet asks the processes at the other ends of those connections for what they have, and counts it: when it returns
// they decide no more. The first one is the predecessor, which serves until then; it is asked last. On an error nobody
// is to be served.
func (l *Landlord) Greet(conns []*Conn) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	for _, c := range conns {
		l.tenants = append(l.tenants, newTenant(l, c))
	}
	if len(conns) == 0 {
		return nil
	}
	if err := l.tenants[0].letGo(l.tenants[1:]); err != nil {
		return err
	}
	if err := greet(l.tenants[1:]); err != nil {
		return err
	}
	if err := greet(l.tenants[:1]); err != nil {
		return err
	}
	open(l.tenants)
	return nil
}

// letGo has a tenant that is not greeted yet leave those before it to this process. Until then it goes on counting them.
func (t *tenant) letGo(others []*tenant) error {
	if len(others) == 0 {
		return nil
	}
	t.conn.SetDeadline(time.Now().Add(Patience))
	if t.conn.send(&message{LetGo: true}) != nil {
		return nil // it has ended
	}
	for {
		switch m, err := t.conn.receive(); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("process %d has not let go within %v of those before it", t.pid, Patience)
		case err != nil || m.Free:
			return nil
		}
	}
}

// open answers what is asked, now that all is counted: the oldest first, whose sessions came before all others.
func open(tenants []*tenant) {
	for _, t := range slices.Backward(tenants) {
		close(t.opened)
		if t.hasReported() { // or it does not answer
			<-t.lodged
		}
	}
}

func (t *tenant) hasReported() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told
}

// greet has tenants report.
func greet(tenants []*tenant) (err error) {
	for _, t := range tenants {
		t.start()
	}
	late := time.NewTimer(Patience)
	defer late.Stop()
	over := false
	for _, t := range tenants {
		if !over {
			select {
			case e := <-t.reported:
				err = errors.Join(err, e)
				continue
			case <-late.C:
				over = true
			}
		}
		select {
		case e := <-t.reported:
			err = errors.Join(err, e)
		default:
			err = errors.Join(err, fmt.Errorf("process %d has not told within %v what sessions it has", t.pid, Patience))
		}
	}
	return err
}

// Files are copies of the connections, for a successor to inherit. They belong to the caller.
func (l *Landlord) Files() (files []*os.File, err error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	for _, t := range l.tenants {
		f, err := t.conn.File()
		switch {
		case errors.Is(err, net.ErrClosed): // it has ended, or is about to
			<-t.left
		case err != nil:
			for _, f := range files {
				f.Close()
			}
			return nil, fmt.Errorf("copy the connection to process %d: %w", t.pid, err)
		default:
			files = append(files, f)
		}
	}
	return files, nil
}

// Halt stops counting and answering, for a successor to go on: it returns the connections, which it inherits. What is
// counted until then stays counted.
func (l *Landlord) Halt() (conns []*Conn) {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.halted = true
	for _, t := range l.tenants {
		t.halt()
	}
	l.tenants = slices.DeleteFunc(l.tenants, func(t *tenant) bool { return t.gone })
	for _, t := range l.tenants {
		conns = append(conns, t.conn)
	}
	return conns
}

// Resume ends Halt: the successor is no more. When it returns the tenants have told what they have now.
func (l *Landlord) Resume() {
	l.changing.Lock()
	defer l.changing.Unlock()
	if !l.halted {
		return
	}
	l.halted = false
	if err := greet(l.tenants); err != nil {
		l.log.Warn().Err(err).Msg("an older process does not tell what sessions it has: those that it had are counted on")
	}
	open(l.tenants)
}

// Close leaves the tenants to themselves.
func (l *Landlord) Close() {
	for _, c := range l.Halt() {
		c.Close()
	}
}

// tenant is a process before this one, as its landlord sees it.
type tenant struct {
	*Landlord
	conn *Conn
	pid  int
	exit func()        // waits for its end
	left chan struct{} // closed when it has ended, and all is free that it had

	// Of one start.
	epoch    uint64
	reported chan error    // gets one value
	opened   chan struct{} // closed when all have reported: what is asked may be answered
	lodged   chan struct{} // closed when who asked with the report waits
	stop     chan struct{}
	running  sync.WaitGroup

	answers chan struct{} // somebody is to be told something

	woken struct { // apart: who wakes may hold locks of the house
		sync.Mutex
		tickets []uint64
	}

	mu      sync.Mutex
	gone    bool
	told    bool // its report is counted
	books   map[Place]int
	fresh   map[Place]int // a report that is not complete
	asked   []Question    // likewise
	lodgers map[uint64]*lodger
	denied  []Answer
}

type lodger struct {
	Question
	in Lodging
}

func newTenant(l *Landlord, c *Conn) *tenant {
	t := &tenant{Landlord: l, conn: c, pid: c.maker(), answers: make(chan struct{}, 1), left: make(chan struct{}), books: make(map[Place]int), lodgers: make(map[uint64]*lodger)}
	t.exit = watchExit(t.pid)
	return t
}

// start greets, and goes on until halt, or the end of the process.
func (t *tenant) start() {
	t.conn.halt(false)
	t.epoch, t.reported, t.stop = rand.Uint64(), make(chan error, 1), make(chan struct{})
	t.opened, t.lodged, t.told = make(chan struct{}), make(chan struct{}), false
	t.running.Go(func() { t.guard.Do("listen to a process before this one", t.listen) })
	t.running.Go(func() { t.guard.Do("speak to a process before this one", t.speak) })
}

// halt stops reading and writing between two messages.
func (t *tenant) halt() {
	if t.stop == nil {
		return
	}
	close(t.stop)
	t.conn.halt(true)
	t.running.Wait()
	t.stop = nil
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sendLodgersAway()
}

func (t *tenant) sendLodgersAway() {
	for ticket, q := range t.lodgers {
		delete(t.lodgers, ticket)
		q.in.Leave()
	}
	t.denied = nil
}

func (t *tenant) listen() {
	lodged := sync.OnceFunc(func() { close(t.lodged) })
	defer lodged()
	for {
		m, err := t.conn.receive()
		if err != nil {
			select {
			case <-t.stop:
			default:
				t.ends()
			}
			return
		}
		switch {
		case m.Declined != "":
			lodged()
			t.log.Warn().Int("pid", t.pid).Str("why", m.Declined).Msg("a process before this one does not tell what sessions it has: each holds the limits by itself")
			t.report(nil)
		case m.Failed != "":
			t.report(fmt.Errorf("process %d cannot tell what sessions it has: %s", t.pid, m.Failed))
		case m.Report != nil:
			t.hear(m, lodged)
		case t.told:
			t.change(m)
		} // or it was for the landlord before
	}
}

func (t *tenant) report(err error) {
	select {
	case t.reported <- err:
	default:
	}
}

// hear takes in a piece of a report, and with the last one counts it in place of what was counted before. Then it waits
// until all have reported.
func (t *tenant) hear(m *message, lodged func()) {
	if m.Report.Epoch != t.epoch {
		return
	}
	if m.Report.First {
		t.fresh, t.asked = make(map[Place]int), nil
	}
	for _, c := range m.Counts {
		if c.Kind == Order {
			t.house.Count(c.Place, c.N)
		} else {
			add(t.fresh, c.Place, c.N)
		}
	}
	t.asked = append(t.asked, m.Questions...)
	if !m.Report.Last {
		return
	}
	t.mu.Lock()
	for p, n := range t.books {
		if _, still := t.fresh[p]; !still {
			t.house.Count(p, -n)
		}
	}
	for p, n := range t.fresh {
		t.house.Count(p, n-t.books[p])
	}
	t.books, t.fresh, t.told = t.fresh, nil, true
	t.mu.Unlock()
	t.report(nil)
	select {
	case <-t.opened:
		t.change(&message{Questions: t.asked})
		lodged()
	case <-t.stop:
	}
}

// change counts what has changed, and has those wait who ask.
func (t *tenant) change(m *message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range m.Counts {
		add(t.books, c.Place, c.N)
		t.house.Count(c.Place, c.N)
	}
	for _, ticket := range m.Withdrawn {
		if q := t.lodgers[ticket]; q != nil {
			delete(t.lodgers, ticket)
			q.in.Leave()
			t.denied = append(t.denied, Answer{Ticket: ticket, Refused: "withdrawn"})
			t.wake()
		}
	}
	for i := range m.Questions {
		q := &lodger{Question: m.Questions[i]}
		t.lodgers[q.Ticket] = q
		q.in = t.house.Lodge(&q.Question, func() {
			t.woken.Lock()
			t.woken.tickets = append(t.woken.tickets, q.Ticket)
			t.woken.Unlock()
			t.wake()
		})
	}
}

func (t *tenant) wake() {
	select {
	case t.answers <- struct{}{}:
	default:
	}
}

func (t *tenant) speak() {
	for _, m := range t.hello() {
		if t.conn.send(m) != nil {
			return // listen sees it too
		}
	}
	for {
		select {
		case <-t.answers:
		case <-t.stop:
			return
		}
		answers := t.answer()
		if len(answers) == 0 {
			continue
		}
		for _, piece := range parts(answers, (*Answer).size) {
			if t.conn.send(&message{Answers: piece}) != nil {
				return
			}
		}
	}
}

func (t *tenant) hello() (all []*message) {
	pieces := parts(t.house.Frontends(), nameSize)
	for i, piece := range pieces {
		all = append(all, &message{Hello: &hello{Version: Version, PID: os.Getpid(), Epoch: t.epoch, Frontends: piece, Last: i == len(pieces)-1}})
	}
	return all
}

// answer returns the answers that there are, and books what they grant.
func (t *tenant) answer() (answers []Answer) {
	t.woken.Lock()
	tickets := t.woken.tickets
	t.woken.tickets = nil
	t.woken.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	answers, t.denied = t.denied, nil
	for _, ticket := range tickets {
		q := t.lodgers[ticket]
		if q == nil {
			continue
		}
		a, waits := q.in.Told()
		if waits {
			continue
		}
		delete(t.lodgers, ticket)
		a.Ticket = ticket
		for _, p := range a.places(&q.Question) {
			add(t.books, p, 1)
		}
		answers = append(answers, a)
	}
	return answers
}

// ends has all come free that the process had.
func (t *tenant) ends() {
	defer close(t.left)
	t.conn.Close()
	t.exit()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = true
	t.sendLodgersAway()
	sessions := 0
	for p, n := range t.books {
		if p.Kind == Process {
			sessions = n
		}
		t.house.Count(p, -n)
	}
	clear(t.books)
	t.report(nil)
	t.log.Warn().Int("pid", t.pid).Int("sessions", sessions).Msg("a process before this one has ended: what its sessions took up is free")
}
