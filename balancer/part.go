package balancer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"weir/backend"
	"weir/backend/contain"
	"weir/config"
	"weir/frontend"
)

// part is one frontend with the pool behind it and the probers of that pool.
type part struct {
	called   atomic.Pointer[string] // see Name
	key      string                 // what its listeners know it by; it never changes
	log      zerolog.Logger
	guard    *contain.Guard
	frontend *engines
	pool     *backend.Pool
	onEvent  *atomic.Pointer[func(string, backend.Event)] // of the balancer

	mu         sync.Mutex
	config     *config.Frontend // that it follows; changed by reloads alone, with mu
	rules      *frontend.Rules  // likewise
	cutsOnDown atomic.Bool
	failedOver atomic.Bool // as was told last
	probes     Probes

	probing sync.Mutex // of one change at a time of who is probed, and of what that follows from
	probers map[*backend.Backend]*prober

	removals removals
	closing  atomic.Bool // sessions of backups are being closed

	watching context.Context    // nil before start, which sets it with mu
	unwatch  context.CancelFunc // ends it
	stop     context.CancelFunc // accepting
	serving  chan struct{}      // closed when nobody is accepted any more
	watchers sync.WaitGroup
}

// Name is that of the frontend, which a reload may change.
func (p *part) Name() string { return *p.called.Load() }

// rename gives the frontend another name.
func (p *part) rename(name string) {
	if name != p.Name() {
		p.called.Store(&name)
		p.frontend.Base().Rename(name)
	}
}

// start serves until stop, and looks after sessions and backends until watching ends.
func (p *part) start(watching context.Context) {
	accepting, stop := context.WithCancel(context.Background())
	p.probing.Lock() // for the admin API may ask for something already
	defer p.probing.Unlock()
	p.mu.Lock()
	p.watching, p.unwatch = context.WithCancel(watching)
	p.mu.Unlock()
	p.stop, p.serving = stop, make(chan struct{})
	go p.serve(accepting)
	p.watchers.Go(func() { p.guard.Keep(p.watching, "the watch on the sessions of frontend "+p.Name(), p.frontend.Watch) })
	p.probeAll(p.config)
}

func (p *part) serve(accepting context.Context) {
	defer close(p.serving)
	p.frontend.Serve(accepting)
}

// probeAll has every backend probed that is to be: not one that the file or an operator keeps out. Probers whose work
// has not changed since before go on. probing is held.
func (p *part) probeAll(before *config.Frontend) {
	next := make(map[*backend.Backend]*prober)
	alike := probesAlike(before, p.config)
	for _, s := range p.pool.Snapshot() {
		if !p.isProbed(&s) {
			continue
		}
		if old := p.probers[s.Backend]; old != nil && alike {
			next[s.Backend] = old
			continue
		}
		next[s.Backend] = newProber(p.config, p.pool, s.Backend, p.guard)
	}
	for b, old := range p.probers {
		if next[b] != old {
			old.stop()
		}
	}
	for b, pr := range next {
		if p.probers[b] != pr {
			p.probe(pr)
		}
	}
	p.probers = next
	p.probes.keep(p.pool.Backends())
}

// isProbed says whether a backend is to be probed.
func (p *part) isProbed(s *backend.Status) bool {
	return p.config.Health.Kind != "none" && !s.Leaving && s.State != backend.Removed && s.State != backend.Disabled &&
		s.Admin.State != backend.AdminMaint
}

// probe runs a prober until it is stopped.
func (p *part) probe(pr *prober) {
	ctx, stop := context.WithCancel(p.watching)
	pr.stop, pr.seen = stop, p.probes.of(pr.backend)
	p.watchers.Go(func() { p.guard.Keep(ctx, "the prober of backend "+pr.backend.Name(), pr.run) })
}

// setAdmin says what an operator wants of a backend. In maintenance it is not probed.
func (p *part) setAdmin(b *backend.Backend, s backend.AdminState, reason string) {
	p.probing.Lock()
	defer p.probing.Unlock()
	p.pool.SetAdmin(b, s, reason)
	if p.watching != nil {
		p.probeAll(p.config)
	}
}

// follow goes over to another configuration, all of which has been prepared.
func (p *part) follow(c *config.Frontend, rules *frontend.Rules, commit func(), drain time.Duration) error {
	p.probing.Lock()
	defer p.probing.Unlock()
	p.removals.setDrain(drain)
	if _, _, err := p.pool.Reconfigure(poolOptions(c, nil)); err != nil {
		return err
	}
	commit()
	p.cutsOnDown.Store(c.Health.OnDown == "close")
	before := p.config
	p.set(c, rules)
	p.rename(c.Name)
	if c.Health.Kind == "none" { // nobody will say any more that they are up
		for _, b := range p.pool.Backends() {
			p.pool.SetUp(b, true, "no longer probed")
		}
	}
	p.probeAll(before)
	return nil
}

func (p *part) set(c *config.Frontend, rules *frontend.Rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config, p.rules = c, rules
}

// drain waits until nobody is accepted any more and every session has ended. When ctx ends first the rest is
// cut.
func (p *part) drain(ctx context.Context) {
	<-p.serving
	p.frontend.Drain(ctx)
}

// leave stops a part that the configuration no longer has.
func (p *part) leave(drain time.Duration) {
	p.stop()
	ctx, cut := context.WithTimeout(p.watching, drain)
	defer cut()
	p.drain(ctx)
	p.end()
}

// end stops looking after anything.
func (p *part) end() {
	p.unwatch()
	p.removals.end()
	p.watchers.Wait()
	p.logTotals()
}

func (p *part) logTotals() {
	c := p.frontend.Counters()
	p.log.Info().Str("frontend", p.Name()).
		Uint64("sessions", c.Closed.Load()).Uint64("normal", c.Of(frontend.Normal)).
		Uint64("bytes_up", c.BytesUp.Load()).Uint64("bytes_down", c.BytesDown.Load()).
		Msg("stopped")
}
