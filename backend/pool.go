package backend

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"weir/backend/contain"
	"weir/backend/health"
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
	// EjectFor is how long an ejected backend gets no sessions.
	EjectFor time.Duration
	// MaxEjected is the percentage of the pool that may be unusable before nothing more is ejected.
	MaxEjected int
}

// Event is one change of one backend's state.
type Event struct {
	Backend  *Backend
	From, To State
	// Reason is why, in words.
	Reason string
	// Usable of Total backends can be chosen after the change.
	Usable, Total int
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

	mu       sync.Mutex
	opts     PoolOptions
	all      []*Backend
	total    int // backends that the file wants to serve
	serving  *tier
	backup   *tier
	max      int // 0: none
	active   int
	queue    queue
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
	p := new(Pool)
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
	p.opts, p.clock, p.random, p.notify = o, o.Clock, o.Random, o.Notify
	p.after = func(d time.Duration, f func()) { o.After(d, func() { o.Guard.Do("the alarm of a pool", f) }) }
	p.max, p.queue, p.learners.due, p.alarmAt = o.MaxConnections, newQueue(o.Queue), neverDue, neverDue
	return p, p.build()
}

func (p *Pool) build() error {
	for i := range p.opts.Backends {
		p.all = append(p.all, p.newBackend(&p.opts.Backends[i]))
	}
	return p.arrange()
}

func (p *Pool) newBackend(o *Options) *Backend {
	b := &Backend{
		name:     o.Name,
		network:  o.Network,
		address:  o.Address,
		weight:   o.Weight,
		disabled: o.Disabled,
		up:       o.Up,
		reason:   initialReason(o.Up),
		since:    time.Now(),
		failures: health.NewPassive(p.opts.Passive.Failures, p.opts.Passive.Window),
	}
	p.limit(b, o)
	return b
}

func initialReason(up bool) string {
	if up {
		return "initial state"
	}
	return "not probed yet"
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

func (p *Pool) full() bool { return p.max > 0 && p.active >= p.max }

// grant gives r a slot of b, which has one.
func (p *Pool) grant(b *Backend, r *Request, now time.Duration) Lease {
	f := p.class(r).flow(r.key)
	f.begin()
	p.active++
	b.active++
	b.totals.Sessions++
	b.tier.tell(b, now, p.opts.SlowStart)
	return Lease{pool: p, backend: b, flow: f, active: int32(b.active), watched: b.tier.observer != nil || b.learned != nil}
}

// giveBack is the opposite of grant, but for telling the strategy.
func (p *Pool) giveBack(l *Lease) *Backend {
	b := l.backend
	l.flow.end()
	p.active--
	b.active--
	*l = Lease{}
	return b
}

// choose picks a backend, one that the session has been to before if nothing else is there.
func (p *Pool) choose(r *Request) (b *Backend, again bool) {
	b = p.pick(r)
	if b == nil && len(r.tried) > 0 {
		return p.pickAgain(r), true
	}
	return b, false
}

// pick asks those that serve, and the backups when none of those is left to try.
func (p *Pool) pick(r *Request) *Backend {
	if b := p.serving.pick(r); b != nil {
		return b
	}
	if p.serving.untried(r) > 0 { // full, but there
		return nil
	}
	return p.backup.pick(r)
}

// pickAgain begins a new round for a session that has been everywhere: not with the backend that failed
// it last, if another one serves.
func (p *Pool) pickAgain(r *Request) *Backend {
	r.startOver()
	if b := p.serving.pick(r); b != nil {
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

func (p *Pool) usable() int { return p.serving.usable + p.backup.usable }

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
