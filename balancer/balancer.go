// Package balancer is the running whole: it assembles frontends, pools and probers from a
// configuration, runs them, and stops them without losing a session that can still finish.
//
// The balancing itself is in frontend and backend. Start with [New], then [Balancer.Run].
package balancer

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"weir/backend"
	"weir/config"
	"weir/frontend"
	"weir/frontend/reactor"
	"weir/frontend/relay"
)

// Balancer is one weir.
type Balancer struct {
	log      zerolog.Logger
	shutdown config.Shutdown
	stock    *relay.Stock
	reactor  *reactor.Reactor // nil: no frontend wants it
	parts    []*part
}

// part is one frontend with the pool behind it and the probers of that pool.
type part struct {
	name     string
	frontend server
	pool     *backend.Pool
	probers  []*prober
}

// server is a frontend as its engine runs it.
type server interface {
	Addrs() []net.Addr
	Counters() *frontend.Counters
	// Serve accepts until ctx ends, then closes the listeners and leaves the sessions to Drain, which
	// cuts what is left when its ctx ends.
	Serve(ctx context.Context) error
	Drain(ctx context.Context)
	// Watch ends the sessions that are past their limits, until ctx ends.
	Watch(ctx context.Context)
	// CutBackend ends the sessions of one backend.
	CutBackend(b *backend.Backend)
	// Close closes the listeners of a frontend that never served.
	Close()
}

// New opens every listener of cfg and starts nothing yet: a port in use leaves nothing half-started.
// Either run what it returns, or close it.
func New(ctx context.Context, cfg *config.Config, log zerolog.Logger) (*Balancer, error) {
	shares, err := shareDescriptors(cfg)
	if err != nil {
		return nil, err
	}
	b := &Balancer{log: log, shutdown: cfg.Shutdown, stock: relay.NewStock(shares.pipes)}
	if anyReactor(cfg) {
		if b.reactor, err = reactor.New(reactor.Loops(), b.stock); err != nil {
			return nil, err
		}
	}
	a := assembler{ctx: ctx, log: log, stock: b.stock, slots: frontend.NewSlots(shares.sessions), reactor: b.reactor}
	for i := range cfg.Frontends {
		p, err := a.part(&cfg.Frontends[i])
		if err != nil {
			b.Close()
			return nil, err
		}
		b.parts = append(b.parts, p)
	}
	return b, nil
}

// Close lets go of a balancer that was never run.
func (b *Balancer) Close() {
	for _, p := range b.parts {
		p.frontend.Close()
	}
	b.closeEngine()
}

func (b *Balancer) closeEngine() {
	if b.reactor != nil {
		b.reactor.Close()
	}
	b.stock.Close()
}

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
	if b.reactor != nil {
		b.reactor.Start()
		defer b.reactor.Stop()
	}
	accepting, endAccepting := context.WithCancel(context.Background())
	defer endAccepting()
	watching, endWatching := context.WithCancel(context.Background())
	defer endWatching()

	var serving, watchers errgroup.Group
	for _, p := range b.parts {
		serving.Go(func() error { return p.frontend.Serve(accepting) })
		p.watch(watching, &watchers)
	}
	<-stop.Done()
	b.log.Info().Stringer("grace", b.shutdown.Grace).Stringer("drain", b.shutdown.Drain).Msg("stopping")
	sleep(now, b.shutdown.Grace.Std())
	endAccepting()
	err := serving.Wait()
	b.drain(now)
	endWatching()
	if werr := watchers.Wait(); err == nil {
		err = werr
	}
	b.logTotals()
	return err
}

// watch starts what looks after the sessions and the backends of a part.
func (p *part) watch(ctx context.Context, g *errgroup.Group) {
	g.Go(func() error { p.frontend.Watch(ctx); return nil })
	for _, pr := range p.probers {
		g.Go(func() error { pr.run(ctx); return nil })
	}
}

// drain waits for the sessions of all frontends, and cuts them when the time is up.
func (b *Balancer) drain(now context.Context) {
	ctx, cancel := context.WithTimeout(now, b.shutdown.Drain.Std())
	defer cancel()
	var g errgroup.Group
	for _, p := range b.parts {
		g.Go(func() error { p.frontend.Drain(ctx); return nil })
	}
	g.Wait()
}

func (b *Balancer) logTotals() {
	for _, p := range b.parts {
		c := p.frontend.Counters()
		b.log.Info().Str("frontend", p.name).
			Uint64("sessions", c.Closed.Load()).Uint64("normal", c.Of(frontend.Normal)).
			Uint64("bytes_up", c.BytesUp.Load()).Uint64("bytes_down", c.BytesDown.Load()).
			Msg("stopped")
	}
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
