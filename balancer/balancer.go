// Package balancer is the running whole: it assembles frontends, pools and probers from a
// configuration, runs them, and stops them without losing a session that can still finish.
//
// The balancing itself is in frontend and backend. Start with [New], then [Balancer.Run].
package balancer

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"weir/backend"
	"weir/backend/contain"
	"weir/balancer/handover"
	"weir/config"
	"weir/frontend"
	"weir/frontend/reactor"
	"weir/frontend/relay"
)

// Balancer is one weir.
type Balancer struct {
	log      zerolog.Logger
	guard    *contain.Guard // of all that looks on
	writer   *LogWriter     // of log; nil: somebody else
	sessions *frontend.SessionLog
	ended    *frontend.Ended
	onEvent  atomic.Pointer[func(string, backend.Event)]
	stock    *relay.Stock
	slots    *frontend.Slots
	house    *house
	landlord *handover.Landlord  // of the processes before this one
	parked   *frontend.Inherited // sockets that weir was given and nobody accepts from
	closing  frontend.Closing    // listeners that a reload has removed
	loops    int                 // that the reactor has, or would have
	reloads  reloads

	changing sync.Mutex // one reload at a time, and none beside the end

	// Of what follows all is changed with mu, and by whoever holds changing, or before Run; so the latter reads it
	// without mu.
	mu       sync.Mutex
	config   *config.Config
	parts    []*part
	reactor  *reactor.Reactor // nil: no frontend wants it
	watching context.Context  // nil before Run
	started  chan struct{}    // closed by Run
	leaving  sync.WaitGroup   // parts that a reload has removed
	stopping bool
}

// server is a frontend as its engine runs it.
type server interface {
	Addrs() []net.Addr
	Counters() *frontend.Counters
	// Base is what it has in common with another engine of the same frontend.
	Base() *frontend.Frontend
	// Listening is the addresses it listens on, which may change.
	Listening() *frontend.Listening
	// Follow goes by other rules, but for the listeners.
	Follow(rules *frontend.Rules)
	// Serve accepts until ctx ends, then closes the listeners and leaves the sessions to Drain, which
	// cuts what is left when its ctx ends.
	Serve(ctx context.Context) error
	Drain(ctx context.Context)
	// Watch ends the sessions that are past their limits, until ctx ends.
	Watch(ctx context.Context)
	// Suspend has nobody accepted until Resume.
	Suspend(ctx context.Context) error
	Resume()
	// CutBackend ends the sessions of one backend.
	CutBackend(b *backend.Backend)
	// Sessions and Kill are those of View.
	Sessions(ctx context.Context, o frontend.Inspect, visit func(*frontend.Info) bool) error
	Kill(ctx context.Context, match func(*frontend.Info) bool, why frontend.Outcome) (int, error)
	// ForgetBackend lets go of what is known of a backend that is gone.
	ForgetBackend(b *backend.Backend)
	// Close closes the listeners of a frontend that never served.
	Close()
}

// New opens every listener of cfg and starts nothing yet: a port in use leaves nothing half-started.
// Either run what it returns, or close it.
func New(ctx context.Context, cfg *config.Config, log zerolog.Logger) (*Balancer, error) {
	return NewFrom(ctx, cfg, log, nil)
}

// NewFrom is New with listening sockets that are there already. Those that cfg has no use for are closed.
func NewFrom(ctx context.Context, cfg *config.Config, log zerolog.Logger, there *frontend.Inherited) (*Balancer, error) {
	defer there.Close()
	loops := reactor.Loops()
	m, err := moveTo(cfg, nil)
	if err != nil {
		return nil, err
	}
	shares, err := shareDescriptors(cfg, loops, 0)
	if err != nil {
		return nil, err
	}
	b := &Balancer{
		log: log, config: cfg, loops: loops, started: make(chan struct{}), stock: relay.NewStock(shares.pipes), slots: frontend.NewSlots(shares.sessions),
		ended:    frontend.NewEnded(frontend.EndedSize),
		sessions: frontend.NewSessionLog(log, sessionPolicy(&cfg.Log)), guard: frontend.NewGuard(log),
		parked: there.Others(),
	}
	b.sessions.Guard = b.guard
	b.house = newHouse(b)
	b.landlord = handover.NewLandlord(b.house, b.guard, log)
	b.slots.SetTogether(cfg.MaxSessions)
	b.reloads.count(nil) // the first configuration holds from here on
	m.Inherits(there)
	m.Inherits(b.parked)
	m.Settle()
	if err := b.openAll(ctx, cfg, m); err != nil {
		m.Abort()
		b.Close()
		return nil, err
	}
	m.Commit()
	if rest := there.Rest(); len(rest) > 0 {
		log.Warn().Strs("addresses", rest).Msg("inherited sockets that no frontend listens on are closed")
	}
	if rest := b.parked.Rest(); len(rest) > 0 {
		log.Warn().Strs("addresses", rest).
			Msg("sockets that weir was given, and that no frontend listens on, are kept for a reload: clients that connect there wait")
	}
	return b, nil
}

// openAll opens the frontends of the first configuration.
func (b *Balancer) openAll(ctx context.Context, cfg *config.Config, m *frontend.Move) error {
	if err := b.makeReactor(cfg); err != nil {
		return err
	}
	shares, err := shareDescriptors(cfg, b.loops, m.Extra())
	if err != nil {
		return err
	}
	b.slots.SetLimit(shares.sessions)
	a := b.assembler(ctx)
	a.move = m
	for i := range cfg.Frontends {
		p, err := a.part(&cfg.Frontends[i])
		if err != nil {
			return err
		}
		b.parts = append(b.parts, p)
		b.house.enter(p)
	}
	return nil
}

// Alone says that the process before this one does not go on: what was left as it is for its sake may go.
func (b *Balancer) Alone() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.parts {
		p.frontend.Listening().Alone()
	}
}

// makeReactor makes the reactor, if a frontend wants it and there is none. Only one goroutine at a time calls it.
func (b *Balancer) makeReactor(cfg *config.Config) error {
	if b.reactor != nil || !anyReactor(cfg) {
		return nil
	}
	r, err := reactor.New(b.loops, b.stock, b.guard)
	if err != nil {
		return err
	}
	b.pin(cfg, r)
	if b.watching != nil {
		r.Start()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reactor = r // only now: Alive asks it
	return nil
}

// pin keeps the loops on cores of their own, if that is wanted.
func (b *Balancer) pin(cfg *config.Config, r *reactor.Reactor) {
	switch {
	case r == nil:
	case !cfg.PinLoops:
		r.Unpin()
	default:
		if err := r.Pin(); err != nil {
			b.log.Warn().Err(err).Msg("pin_loops has no effect")
		}
	}
}

func (b *Balancer) assembler(ctx context.Context) *assembler {
	return &assembler{ctx: ctx, log: b.log, sessions: b.sessions, ended: b.ended, onEvent: &b.onEvent, stock: b.stock, slots: b.slots, reactor: b.reactor,
		parked: b.parked, closing: &b.closing, guard: b.guard}
}

// Close lets go of a balancer that was never run.
func (b *Balancer) Close() {
	for _, p := range b.parts {
		p.frontend.Close()
	}
	b.closeEngine()
}

func (b *Balancer) closeEngine() {
	b.landlord.Close()
	if b.reactor != nil {
		b.reactor.Close()
	}
	b.stock.Close()
	b.parked.Close()
}

// Alive says whether everything answers that must never stand still, before ctx ends.
func (b *Balancer) Alive(ctx context.Context) bool {
	b.mu.Lock()
	r := b.reactor
	b.mu.Unlock()
	return r == nil || r.Alive(ctx)
}

// Started is closed when every frontend accepts.
func (b *Balancer) Started() <-chan struct{} { return b.started }

// Addrs returns the listening addresses of the frontend of that name, nil if there is none.
func (b *Balancer) Addrs(frontend string) []net.Addr {
	if p := b.part(frontend); p != nil {
		return p.frontend.Addrs()
	}
	return nil
}

// Counters returns what the frontend of that name counts, nil if there is none.
func (b *Balancer) Counters(name string) *frontend.Counters {
	if p := b.part(name); p != nil {
		return p.frontend.Counters()
	}
	return nil
}

// Pool returns the pool behind the frontend of that name, or nil.
func (b *Balancer) Pool(frontend string) *backend.Pool {
	if p := b.part(frontend); p != nil {
		return p.pool
	}
	return nil
}

func (b *Balancer) part(name string) *part {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.parts {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// Run serves until stop ends, then drains: it accepts for the grace time, closes the listeners, and
// gives the running sessions the drain time before it cuts them. When now ends, that is at once. Run
// is called once and closes all that New opened.
func (b *Balancer) Run(stop, now context.Context) error {
	defer b.closeEngine()
	watching, endWatching := context.WithCancel(context.Background())
	defer endWatching()
	b.start(watching)
	<-stop.Done()
	parts, shutdown := b.stop()
	if b.reactor != nil {
		defer b.reactor.Stop()
	}
	b.log.Info().Stringer("grace", shutdown.Grace).Stringer("drain", shutdown.Drain).Msg("stopping")
	sleep(now, shutdown.Grace.Std())
	for _, p := range parts {
		p.stop()
	}
	b.drain(now, parts, shutdown.Drain.Std())
	endWatching()
	for _, p := range parts {
		p.end()
	}
	b.leaving.Wait()
	b.sessions.Tell()
	return nil
}

// drain waits until nobody is accepted any more and every session has ended. What is left after the limit, or
// when now ends, is cut.
func (b *Balancer) drain(now context.Context, parts []*part, limit time.Duration) {
	b.log.Info().Int("sessions", active(parts)).Msg("draining")
	waiting, stopWaiting := context.WithTimeout(now, limit)
	defer stopWaiting()
	cutting, cut := context.WithCancel(context.WithoutCancel(now))
	defer cut()
	finished := context.AfterFunc(waiting, func() {
		defer cut()
		message := "the drain time is up: cutting what is left"
		if now.Err() != nil {
			message = "told to stop at once: cutting what is left"
		}
		b.guard.Do("the end of the drain time", func() { b.log.Warn().Int("sessions", active(parts)).Msg(message) })
	})
	var g errgroup.Group
	for _, p := range parts {
		g.Go(func() error { p.drain(cutting); return nil })
	}
	g.Wait()
	finished()
}

// active counts the sessions that are open.
func active(parts []*part) (n int) {
	for _, p := range parts {
		c := p.frontend.Counters()
		closed := c.Closed.Load() // first, or there might be fewer than none
		n += int(c.Opened.Load() - closed)
	}
	return n
}

func (b *Balancer) start(watching context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watching = watching
	if b.reactor != nil {
		b.reactor.Start()
	}
	for _, p := range b.parts {
		p.start(watching)
	}
	close(b.started)
}

// stop says that nothing more will be changed, once a reload that is under way is over.
func (b *Balancer) stop() ([]*part, config.Shutdown) {
	b.changing.Lock()
	defer b.changing.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopping = true
	return b.parts, b.config.Shutdown
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Count says how many frontends and backends a configuration has, in words.
func Count(cfg *config.Config) string {
	backends := 0
	for i := range cfg.Frontends {
		backends += len(cfg.Frontends[i].Backends)
	}
	return fmt.Sprintf("%s, %s", plural(len(cfg.Frontends), "frontend"), plural(backends, "backend"))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
