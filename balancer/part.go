package balancer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"weir/backend"
	"weir/config"
	"weir/frontend"
)

// part is one frontend with the pool behind it and the probers of that pool.
type part struct {
	name     string
	log      zerolog.Logger
	frontend *engines
	pool     *backend.Pool
	onEvent  *atomic.Pointer[func(string, backend.Event)] // of the balancer

	mu         sync.Mutex
	config     *config.Frontend // that it follows; changed by reloads alone, with mu
	rules      *frontend.Rules  // likewise
	cutsOnDown atomic.Bool
	probes     Probes
	probers    map[*backend.Backend]*prober

	watching context.Context    // nil before start
	unwatch  context.CancelFunc // ends it
	stop     context.CancelFunc // accepting
	serving  chan struct{}      // closed when nobody is accepted any more
	watchers sync.WaitGroup
}

// start serves until stop, and looks after sessions and backends until watching ends.
func (p *part) start(watching context.Context) {
	accepting, stop := context.WithCancel(context.Background())
	p.watching, p.unwatch = context.WithCancel(watching)
	p.stop, p.serving = stop, make(chan struct{})
	go p.serve(accepting)
	p.watchers.Go(func() { p.frontend.Watch(p.watching) })
	for _, pr := range p.probers {
		p.probe(pr)
	}
}

func (p *part) serve(accepting context.Context) {
	defer close(p.serving)
	p.frontend.Serve(accepting)
}

// probe runs a prober until it is stopped.
func (p *part) probe(pr *prober) {
	ctx, stop := context.WithCancel(p.watching)
	pr.stop, pr.seen = stop, p.probes.of(pr.backend)
	p.watchers.Go(func() { pr.run(ctx) })
}

// follow goes over to another configuration, all of which has been prepared.
func (p *part) follow(c *config.Frontend, rules *frontend.Rules, commit func(), drain time.Duration) error {
	added, removed, err := p.pool.Reconfigure(reloadOptions(c, p.pool))
	if err != nil {
		return err
	}
	commit()
	p.cutsOnDown.Store(c.Health.OnDown == "close")
	before := p.config
	p.set(c, rules)
	p.followProbers(before, added)
	for _, b := range removed {
		p.watchers.Go(func() { p.letGo(b, drain) })
	}
	return nil
}

func (p *part) set(c *config.Frontend, rules *frontend.Rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config, p.rules = c, rules
}

// letGo gives the sessions of a backend that was removed time to finish.
func (p *part) letGo(b *backend.Backend, drain time.Duration) {
	sleep(p.watching, drain)
	if p.watching.Err() == nil {
		p.frontend.CutBackend(b)
	}
	p.frontend.ForgetBackend(b)
}

// followProbers keeps the probers whose work has not changed, and begins the others anew.
func (p *part) followProbers(before *config.Frontend, added []*backend.Backend) {
	next := newProbers(p.config, p.pool)
	for b, old := range p.probers {
		fresh := next[b]
		if fresh != nil && before.Health == p.config.Health {
			next[b] = old
			continue
		}
		old.stop()
	}
	if p.config.Health.Kind == "none" { // nobody will say any more that they are up
		for _, b := range p.pool.Backends() {
			p.pool.SetUp(b, true, "no longer probed")
		}
	}
	for _, b := range added {
		if pr := next[b]; pr != nil {
			pr.joins = true
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
	p.unwatch()
	p.watchers.Wait()
	p.logTotals()
}

func (p *part) logTotals() {
	c := p.frontend.Counters()
	p.log.Info().Str("frontend", p.name).
		Uint64("sessions", c.Closed.Load()).Uint64("normal", c.Of(frontend.Normal)).
		Uint64("bytes_up", c.BytesUp.Load()).Uint64("bytes_down", c.BytesDown.Load()).
		Msg("stopped")
}
