// Package balancer is the running whole: it assembles frontends, pools and probers from a
// configuration, runs them, and stops them without losing a session that can still finish.
//
// The balancing itself is in frontend and backend. Start with [New], then [Balancer.Run].
package balancer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
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
	"weir/frontend/rate"
	"weir/frontend/reactor"
	"weir/frontend/relay"
)

// Balancer is one weir.
type Balancer struct {
	log      zerolog.Logger
	sessions *frontend.SessionLog
	ended    *frontend.Ended
	onEvent  atomic.Pointer[func(string, backend.Event)]
	stock    *relay.Stock
	slots    *frontend.Slots
	guard    *contain.Guard
	house    *house
	landlord *handover.Landlord // of the processes before this one
	reactor  *reactor.Reactor   // nil: no frontend wants it
	reloads  reloads

	changing sync.Mutex // one reload at a time, and none beside the end

	mu       sync.Mutex
	config   *config.Config
	parts    []*part
	watching context.Context // nil before Run
	started  chan struct{}   // closed by Run
	leaving  sync.WaitGroup  // parts that a reload has removed
	stopping bool
}

// server is a frontend as its engine runs it.
type server interface {
	Addrs() []net.Addr
	Counters() *frontend.Counters
	// Prepare opens what is missing to listen on those addresses with those rules, or takes it from there;
	// nothing changes before commit.
	Prepare(ctx context.Context, binds []frontend.Bind, rules *frontend.Rules, there *frontend.Inherited) (commit, abort func(), err error)
	// Serve accepts until ctx ends, then closes the listeners and leaves the sessions to Drain, which
	// cuts what is left when its ctx ends.
	Serve(ctx context.Context) error
	Drain(ctx context.Context)
	// Watch ends the sessions that are past their limits, until ctx ends.
	Watch(ctx context.Context)
	// CutBackend ends the sessions of one backend.
	CutBackend(b *backend.Backend)
	// Suspend has nobody accepted until Resume. Cede, Lend and OccupySlots are described with frontend.Frontend.
	Suspend(ctx context.Context) error
	Resume()
	Cede(l *frontend.Landlord)
	Lend(client netip.Addr, wake func()) (frontend.SlotAnswer, *rate.Clients, rate.Ref)
	OccupySlots(by int)
	Current() *frontend.Rules
	// Sockets returns the listening sockets of those addresses, or with none of all; HandOver closes those that
	// others accept from as well, and leaves no trace.
	Sockets(of ...frontend.Bind) []frontend.Socket
	HandOver(of ...frontend.Bind)
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
	shares, err := shareDescriptors(cfg)
	if err != nil {
		return nil, err
	}
	b := &Balancer{
		log: log, config: cfg, started: make(chan struct{}), stock: relay.NewStock(shares.pipes), slots: frontend.NewSlots(shares.sessions),
		ended:    frontend.NewEnded(frontend.EndedSize),
		sessions: frontend.NewSessionLog(log, sessionPolicy(&cfg.Log)),
	}
	b.guard = contain.New(func(p contain.Panic) {
		log.Error().Str("what", p.What).Interface("panic", p.Value).Bytes("stack", p.Stack).Msg("a panic is contained")
	})
	b.house = newHouse(b)
	b.landlord = handover.NewLandlord(b.house, b.guard, log)
	b.slots.SetTogether(cfg.MaxSessions)
	b.reloads.count(nil) // the first configuration holds from here on
	if err := b.makeReactor(cfg); err != nil {
		return nil, err
	}
	for i := range cfg.Frontends {
		a := b.assembler(ctx)
		a.inherited = there
		p, err := a.part(&cfg.Frontends[i])
		if err != nil {
			b.Close()
			return nil, err
		}
		b.parts = append(b.parts, p)
		b.house.enter(p)
	}
	if rest := there.Rest(); len(rest) > 0 {
		log.Warn().Strs("addresses", rest).Msg("inherited sockets that no frontend listens on are closed")
	}
	return b, nil
}

// makeReactor makes the reactor, if a frontend wants it and there is none.
func (b *Balancer) makeReactor(cfg *config.Config) (err error) {
	if b.reactor != nil || !anyReactor(cfg) {
		return nil
	}
	if b.reactor, err = reactor.New(reactor.Loops(), b.stock); err != nil {
		return err
	}
	if cfg.PinLoops {
		if err := b.reactor.Pin(); err != nil {
			b.log.Warn().Err(err).Msg("pin_loops has no effect")
		}
	}
	if b.watching != nil {
		b.reactor.Start()
	}
	return nil
}

func (b *Balancer) assembler(ctx context.Context) *assembler {
	return &assembler{ctx: ctx, log: b.log, sessions: b.sessions, ended: b.ended, onEvent: &b.onEvent, stock: b.stock, slots: b.slots, reactor: b.reactor}
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
		if p.name == name {
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
		message := "the drain time is up: cutting what is left"
		if now.Err() != nil {
			message = "told to stop at once: cutting what is left"
		}
		b.log.Warn().Int("sessions", active(parts)).Msg(message)
		cut()
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
