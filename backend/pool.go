package backend

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"weir/backend/contain"
	"weir/backend/strategy"
)

// PoolOptions says how a pool chooses and judges.
type PoolOptions struct {
	// Strategy is a name that strategy.New knows.
	Strategy string
	Backends []Options
	// MaxConnections bounds the sessions of all backends together. 0: no limit but theirs.
	MaxConnections int
	// Queue is where sessions wait for a backend.
	Queue QueueOptions
	// SlowStart is the time in which a backend that came back grows to its whole weight. 0: at once.
	SlowStart time.Duration
	// Probed says that somebody probes the backends, and calls SetUp and Probed: one that joins a pool that serves
	// begins down, and serves from its first good probe on. Otherwise it is taken as up.
	Probed bool
	// Overlap is how long backends that were removed go on serving, at most, while none of those that are left or new
	// is usable yet. 0: not at all.
	Overlap time.Duration
	// ManualFailback has new sessions stay with the backups, once they serve, until [Pool.Failback].
	ManualFailback bool
	// Passive is how failures to connect count.
	Passive PassiveOptions
	// Notify is called after each change of a backend's state, without the pool's lock, in the
	// goroutine that caused the change. nil: nobody is told.
	Notify func(Event)
	// Random returns uniformly distributed bits. nil: math/rand/v2.
	Random func() uint64
	// Clock returns the time since an arbitrary start. nil: the monotonic clock.
	Clock func() time.Duration
	// After has f called in a goroutine of its own when d has passed on the Clock. nil: time.AfterFunc.
	After func(d time.Duration, f func())
	// Guard contains a panic of what After calls. nil: nothing does.
	Guard *contain.Guard
}

// PassiveOptions says when failures to connect eject a backend.
type PassiveOptions struct {
	// Failures within Window eject. 0: never.
	Failures int
	Window   time.Duration
	// EjectFor is how long an ejected backend gets no sessions the first time. Each further time is twice as long, up
	// to EjectForMax. Below EjectFor, EjectForMax is EjectFor.
	EjectFor, EjectForMax time.Duration
	// Rise is how many good probes in a row end an ejection early. 0: none do.
	Rise int
	// MaxEjected is the percentage of the pool that may be unusable before nothing more is ejected.
	MaxEjected int
	// EarlyEnd has a session that the backend ends before it has sent a byte, to a client that had sent some, count as
	// a failure.
	EarlyEnd bool
}

// Event is one change of one backend's state, or the end of its last session.
type Event struct {
	Backend  *Backend
	From, To State
	// Drained says that the last session ended of a backend that gets no new ones. Its state is as it was.
	Drained bool
	// Reason is why, in words.
	Reason string
	// Active is how many sessions it had.
	Active int
	// Usable of Total backends can be chosen after the change.
	Usable, Total int
	// FailedOver says that the backups keep the new sessions, until Pool.Failback.
	FailedOver bool
}

// What Acquire answers when it has no backend to give.
var (
	ErrNoBackend = errors.New("no backend is usable")
	ErrFull      = errors.New("every usable backend is at its limit")
)

// Pool is the backends a frontend chooses among. It is safe for concurrent use.
type Pool struct {
	// What Reconfigure never changes, so that it can be used without the lock.
	clock  func() time.Duration
	start  time.Time // of the clock; zero if that is somebody else's
	random func() uint64
	notify func(Event)
	after  func(time.Duration, func())

	configuring sync.Mutex // one change of members at a time; taken before mu

	mu      sync.Mutex
	opts    PoolOptions // but for Backends
	all     []*Backend  // in the order of the file
	members map[ID]*Backend
	gone    map[ID]*Backend // removed, with sessions
	leaving []*Backend      // removed, and serve until others can
	sites   map[siteKey]*site
	foreign map[ID]int           // sessions of other processes
	lodgers map[string]int       // likewise, by name of their class
	tenancy *tenancy             // of a process that another one has taken the place of; nil: the pool decides by itself
	notes   map[string]AdminNote // by name of a backend, which need not be a member
	total   int                  // backends that the file wants to serve
	tiers   [numBackups]*tier    // in the order in which they serve: by Options.Backup
	failed  bool                 // over to the backups, which keep the new sessions
	served  bool                 // somebody that is no backup was usable once

	max      int // 0: none
	active   int
	lodging  int // sessions of other processes
	queue    queue
	overlap  uint64        // how many times members that were removed have gone on serving
	alarmAt  time.Duration // see setAlarm
	learners learners
	unsettled
	events []Event  // to be sent once the lock is free
	wakes  []func() // likewise
}

// NewPool makes a pool of at least one backend.
func NewPool(o PoolOptions) (*Pool, error) {
	if len(o.Backends) == 0 {
		return nil, errors.New("make pool: no backend")
	}
	p := &Pool{
		members: make(map[ID]*Backend), gone: make(map[ID]*Backend), sites: make(map[siteKey]*site),
		foreign: make(map[ID]int), lodgers: make(map[string]int), notes: make(map[string]AdminNote),
	}
	if o.Random == nil {
		o.Random = rand.Uint64
	}
	if o.Clock == nil {
		p.start = time.Now()
		o.Clock = func() time.Duration { return time.Since(p.start) }
	}
	if o.After == nil {
		o.After = func(d time.Duration, f func()) { time.AfterFunc(d, f) }
	}
	p.clock, p.random, p.notify = o.Clock, o.Random, o.Notify
	p.after = func(d time.Duration, f func()) { o.After(d, func() { o.Guard.Do("a timer of a pool", f) }) }
	p.queue, p.learners.due, p.alarmAt = newQueue(o.Queue), neverDue, neverDue
	if err := p.makeTiers(o.Strategy); err != nil {
		return nil, err
	}
	p.configure(&o, true)
	return p, nil
}

func (p *Pool) makeTiers(name string) error {
	for i := range p.tiers {
		s, err := strategy.New(name, p.random)
		if err != nil {
			return fmt.Errorf("make pool: %w", err)
		}
		p.tiers[i] = newTier(name, s)
	}
	return nil
}

// Since returns the pool's clock: what Request.Now wants.
func (p *Pool) Since() time.Duration { return p.clock() }

// At returns what the pool's clock showed, or nearly so, at that time not long ago.
func (p *Pool) At(t time.Time) time.Duration {
	if p.start.IsZero() {
		return p.Since()
	}
	return t.Sub(p.start)
}

// Acquire picks a backend and takes one slot of it in one step, so that no limit is ever passed. again
// says that the session has been there already, because nothing else is usable. The lease must be
// released. It fails with [ErrNoBackend] or [ErrFull], and never waits.
func (p *Pool) Acquire(r *Request) (l Lease, again bool, err error) {
	p.mu.Lock()
	defer p.unlock()
	p.settle(r.Now)
	if p.tenancy != nil { // another process decides, and its answer takes time
		return Lease{}, false, ErrFull
	}
	return p.acquire(r)
}

// acquire takes what is free, which nobody who waits can have: see serve.
func (p *Pool) acquire(r *Request) (l Lease, again bool, err error) {
	p.serve() // time may have brought a backend back
	if p.full() || p.class(r).full() {
		return Lease{}, false, p.why()
	}
	b, again := p.choose(r)
	if b == nil {
		return Lease{}, false, p.why()
	}
	return p.grant(b, r, r.Now), again, nil
}

func (p *Pool) full() bool { return p.max > 0 && p.active+p.lodging >= p.max }

// grant gives r a slot of b, which has one.
func (p *Pool) grant(b *Backend, r *Request, now time.Duration) Lease {
	f := p.class(r).flow(r.key)
	f.begin()
	p.active++
	b.active++
	b.totals.Sessions++
	if b.removed() { // granted by another process, whose configuration has it
		p.strangers(b.id, b.site, 1)
		return Lease{pool: p, backend: b, flow: f, active: int32(b.active)}
	}
	b.tier.tell(b, now, p.opts.SlowStart)
	return Lease{
		pool: p, backend: b, flow: f, active: int32(b.active),
		watched: b.tier.observer != nil || b.learned != nil, early: p.opts.Passive.EarlyEnd,
	}
}

// giveBack is the opposite of grant, but for telling the strategy.
func (p *Pool) giveBack(l *Lease) *Backend {
	b := l.backend
	if p.tenancy != nil {
		p.tenancy.vacated(b, l.flow.class)
	}
	l.flow.end()
	p.active--
	b.active--
	*l = Lease{}
	if b.removed() {
		p.strangers(b.id, b.site, -1)
	}
	if b.active == 0 {
		p.emptied(b)
	}
	return b
}

// emptied is told that a backend has no session left.
func (p *Pool) emptied(b *Backend) {
	switch state := b.state(); state {
	case Removed:
		delete(p.gone, b.id)
		fallthrough
	case Drain, Maint, Disabled:
		p.events = append(p.events, Event{
			Backend: b, From: state, To: state, Drained: true, Reason: "no sessions left", Usable: p.usable(), Total: p.total,
		})
	}
}

// choose picks a backend, one that the session has been to before if nothing else is there.
func (p *Pool) choose(r *Request) (b *Backend, again bool) {
	b = p.pick(r)
	if b == nil && len(r.tried) > 0 {
		return p.pickAgain(r), true
	}
	return b, false
}

// pick asks one tier after the other. Where somebody is usable whom the session has not tried, but all of those are
// at their limit, only backups that are there for that are asked.
func (p *Pool) pick(r *Request) *Backend {
	only := BackupWhenDown
	for i := p.first(); i <= only; i++ {
		if b := p.tiers[i].pick(r); b != nil {
			return b
		}
		if p.tiers[i].untried(r) > 0 {
			only = BackupWhenFull
		}
	}
	return nil
}

// first returns the tier that is asked first: not the one that has failed over, as long as a backup is usable.
func (p *Pool) first() Backup {
	if p.failed {
		return BackupWhenFull
	}
	return NoBackup
}

// pickAgain begins a new round for a session that has been everywhere: not with the backend that failed
// it last, if another one serves.
func (p *Pool) pickAgain(r *Request) *Backend {
	r.startOver()
	if b := p.tiers[p.first()].pick(r); b != nil {
		return b
	}
	last := r.tried
	r.tried = nil
	defer func() { r.tried = last }()
	return p.pick(r)
}

func (p *Pool) why() error {
	if p.usable() == 0 {
		return ErrNoBackend
	}
	return ErrFull
}

func (p *Pool) usable() (n int) {
	for _, t := range p.tiers {
		n += t.usable
	}
	return n
}

// backups returns how many of the usable ones are backups.
func (p *Pool) backups() int { return p.usable() - p.tiers[NoBackup].usable }

// unlock lets those who wait have what became free, frees the lock, and then tells of what changed while
// it was held: whoever is told may be slow.
func (p *Pool) unlock() {
	p.serve()
	p.setAlarm()
	events := p.events
	p.events = nil
	var few [8]func() // spares an allocation
	wakes := append(few[:0], p.wakes...)
	clear(p.wakes)
	p.wakes = p.wakes[:0]
	p.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
	if p.notify == nil {
		return
	}
	for _, e := range events {
		p.notify(e)
	}
}
