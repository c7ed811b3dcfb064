package balancer

import (
	"context"
	"net"

	"weir/backend"
	"weir/config"
	"weir/frontend"
)

// View is one frontend as it is at a moment: what those need who look inside. It is only for reading, but
// for Kill.
type View struct {
	Name              string
	Engine, EngineWhy string
	Addrs             []net.Addr
	Counters          *frontend.Counters
	Pool              *backend.Pool
	Rules             *frontend.Rules
	Config            *config.Frontend
	Probes            *Probes

	server server
	part   *part
}

// Sessions calls visit for the live sessions until it says false, in the goroutine of the caller.
func (v *View) Sessions(ctx context.Context, o frontend.Inspect, visit func(*frontend.Info) bool) error {
	return v.server.Sessions(ctx, o, visit)
}

// Kill ends the live sessions that match, and returns how many.
func (v *View) Kill(ctx context.Context, match func(*frontend.Info) bool, why frontend.Outcome) (int, error) {
	return v.server.Kill(ctx, match, why)
}

// SetAdmin says what an operator wants of a backend. In maintenance it is not probed; afterwards it serves from its
// first good probe on.
func (v *View) SetAdmin(b *backend.Backend, s backend.AdminState, reason string) {
	v.part.setAdmin(b, s, reason)
}

// Failback has new sessions go to those backends again that are no backups, where the file wants that to be said. It
// reports false if they do already.
func (v *View) Failback() bool {
	if !v.Pool.Failback() {
		return false
	}
	v.part.failedOver.Store(false)
	v.part.closeBackups()
	return true
}

// Views returns the frontends in the order of the file.
func (b *Balancer) Views() []View {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]View, len(b.parts))
	for i, p := range b.parts {
		list[i] = p.view()
	}
	return list
}

// View returns the frontend of that name.
func (b *Balancer) View(name string) (View, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.parts {
		if p.Name() == name {
			return p.view(), true
		}
	}
	return View{}, false
}

func (p *part) view() View {
	p.mu.Lock()
	defer p.mu.Unlock()
	engine, why := engineOf(p.config)
	return View{
		Name: p.Name(), Engine: engine, EngineWhy: why, Addrs: p.frontend.Addrs(), Counters: p.frontend.Counters(),
		Pool: p.pool, Rules: p.rules, Config: p.config, Probes: &p.probes, server: p.frontend, part: p,
	}
}

// Config returns the configuration that holds. It is not to be changed.
func (b *Balancer) Config() *config.Config {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.config
}

// Ended keeps the sessions that ended last.
func (b *Balancer) Ended() *frontend.Ended { return b.ended }

// State says how far the balancer has come.
func (b *Balancer) State() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.stopping:
		return "stopping"
	case b.watching == nil:
		return "starting"
	}
	return "serving"
}

// OnEvent has f told of each change of a backend's state, by the goroutine that caused it. It must not block.
// It is set before Run.
func (b *Balancer) OnEvent(f func(frontend string, e backend.Event)) { b.onEvent.Store(&f) }
