package balancer

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"weir/backend"
	"weir/backend/contain"
	"weir/backend/sockopt"
	"weir/config"
	"weir/frontend"
	"weir/frontend/reactor"
	"weir/frontend/relay"
)

// assembler translates a configuration into the options of the other rooms.
type assembler struct {
	ctx      context.Context
	log      zerolog.Logger
	guard    *contain.Guard
	sessions *frontend.SessionLog
	ended    *frontend.Ended
	onEvent  *atomic.Pointer[func(string, backend.Event)]
	stock    *relay.Stock
	slots    *frontend.Slots
	// reactor runs the frontends that want it; nil when none does.
	reactor *reactor.Reactor
	// move says which listening sockets are for whom, and parked takes those that nobody accepts from.
	move    *frontend.Move
	parked  *frontend.Inherited
	closing *frontend.Closing
	keys    keys
}

// engineOf returns the engine of a frontend, and why it is that.
func engineOf(c *config.Frontend) (engine, why string) {
	switch {
	case c.Engine != "auto":
		return c.Engine, "configured"
	case reactor.Supported:
		return "reactor", "auto: the cheaper one"
	}
	return "copy", "auto: the reactor needs Linux"
}

func anyReactor(c *config.Config) bool {
	for i := range c.Frontends {
		if engine, _ := engineOf(&c.Frontends[i]); engine == "reactor" {
			return true
		}
	}
	return false
}

// open opens the listeners of a frontend with its engine.
func (a *assembler) open(o frontend.Options) (server, error) {
	if o.Engine == "reactor" {
		return ok(a.reactor.Open(a.ctx, o))
	}
	return ok(frontend.Open(a.ctx, o))
}

// another makes another engine for a frontend. It listens nowhere yet.
func (a *assembler) another(f *frontend.Frontend, o frontend.Options) server {
	if o.Engine == "reactor" {
		return a.reactor.NewServer(f, &o)
	}
	return frontend.NewCopy(a.ctx, f, &o)
}

// ok keeps a nil pointer from becoming an interface that is not nil.
func ok[S server](s S, err error) (server, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (a *assembler) part(c *config.Frontend) (*part, error) {
	p := &part{key: a.keys.of(c.Name), config: c, log: a.log, guard: a.guard, onEvent: a.onEvent}
	p.called.Store(&c.Name)
	p.cutsOnDown.Store(c.Health.OnDown == "close")
	r, err := rules(c, nil, nil)
	if err != nil {
		return nil, err
	}
	o := poolOptions(c, p.event)
	o.Guard = a.guard
	if p.pool, err = backend.NewPool(o); err != nil {
		return nil, err
	}
	first, err := a.open(a.frontendOptions(c, p.pool, r))
	if err != nil {
		return nil, err
	}
	p.frontend = newEngines(first)
	p.rules = r
	return p, nil
}

func poolOptions(c *config.Frontend, notify func(backend.Event)) backend.PoolOptions {
	o := backend.PoolOptions{
		Strategy:       c.Strategy,
		MaxConnections: c.MaxConnections,
		Queue:          queueOptions(c),
		SlowStart:      c.Health.SlowStart.Std(),
		Probed:         c.Health.Kind != "none",
		Overlap:        time.Duration(c.Health.Rise) * c.Health.Timeout.Std(),
		ManualFailback: c.Failback == "manual",
		Passive: backend.PassiveOptions{
			Failures:    c.Passive.Failures,
			Window:      c.Passive.Window.Std(),
			EjectFor:    c.Passive.EjectFor.Std(),
			EjectForMax: c.Passive.EjectForMax.Std(),
			Rise:        c.Health.Rise,
			MaxEjected:  c.Passive.MaxEjected,
			EarlyEnd:    c.Passive.EarlyEnd,
		},
		Notify: notify,
	}
	for i := range c.Backends {
		o.Backends = append(o.Backends, backendOptions(&c.Backends[i], &c.Health))
	}
	return o
}

func backendOptions(c *config.Backend, h *config.Health) backend.Options {
	network, address := c.ForwardTo.Dial()
	return backend.Options{
		Name:           c.Name,
		Network:        network,
		Address:        address,
		Weight:         c.Weight,
		Backup:         backups[c.Backup],
		MaxConnections: c.MaxConnections,
		Learn:          c.Auto,
		MinConnections: c.Min,
		Disabled:       c.Disabled,
		Up:             h.Kind == "none" || h.Initial == "up",
	}
}

// backups translates what the file says of a backup.
var backups = map[config.Backup]backend.Backup{
	config.NoBackup: backend.NoBackup, config.BackupWhenFull: backend.BackupWhenFull, config.BackupWhenDown: backend.BackupWhenDown,
}

func (a *assembler) frontendOptions(c *config.Frontend, pool *backend.Pool, rules *frontend.Rules) frontend.Options {
	engine, why := engineOf(c)
	return frontend.Options{
		Name:      c.Name,
		Key:       a.keys.of(c.Name),
		Engine:    engine,
		EngineWhy: why,
		Move:      a.move,
		Parked:    a.parked,
		Closing:   a.closing,
		Pool:      pool,
		Ended:     a.ended,
		Slots:     a.slots,
		Stock:     a.stock,
		Log:       a.log,
		Sessions:  a.sessions,
		Guard:     a.guard,
		Rules:     *rules,
	}
}

// rules translates what may change while a frontend serves. before is what it had, if anything: counts of
// clients go on where their limits have not changed.
func rules(c, before *config.Frontend, had *frontend.Rules) (*frontend.Rules, error) {
	socket := sockopt.Options{
		KeepaliveIdle:     c.Keepalive.Idle.Std(),
		KeepaliveInterval: c.Keepalive.Interval.Std(),
		KeepaliveCount:    c.Keepalive.Count,
		UserTimeout:       c.UserTimeout.Std(),
	}
	onNoBackend, onRefuse, err := refusals(c)
	if err != nil {
		return nil, fmt.Errorf("frontend %s: %w", c.Name, err)
	}
	who, err := permissions(c)
	if err != nil {
		return nil, fmt.Errorf("frontend %s: %w", c.Name, err)
	}
	r := &frontend.Rules{
		Backlog:          c.Backlog,
		Socket:           socket,
		Dialer:           backend.NewDialer(c.ConnectTimeout.Std(), socket, sources(c.SourceAddress)),
		Retries:          c.Retries,
		IdleTimeout:      c.IdleTimeout.Std(),
		HalfCloseTimeout: c.HalfCloseTimeout.Std(),
		SessionTimeout:   c.SessionTimeout.Std(),
		SessionJitter:    c.SessionJitter,
		DeadPeerTimeout:  c.DeadPeerTimeout.Std(),
		MaxSessions:      c.MaxSessions,
		QueueTimeout:     c.Queue.Timeout.Std(),
		LeaveOnEnd:       c.Queue.LeaveOnEnd,
		OnNoBackend:      onNoBackend,
		OnRefuse:         onRefuse,
		Admission:        admission(c),
		Permissions:      who,
	}
	if had != nil && before.Client == c.Client {
		r.Admission.Clients = had.Admission.Clients
	}
	if had != nil && before.Rate == c.Rate {
		r.Admission.Rate = had.Admission.Rate
	}
	return r, nil
}

// permissions says who may connect to the unix sockets of a frontend.
func permissions(c *config.Frontend) (map[frontend.Bind]frontend.Permission, error) {
	all := make(map[frontend.Bind]frontend.Permission)
	for i := range c.BindOn {
		l := &c.BindOn[i]
		uid, gid, err := l.Owners()
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
		}
		p := frontend.Permission{}
		p.Mode, p.HasMode = l.FileMode()
		if uid >= 0 {
			p.UID, p.HasUID = uid, true
		}
		if gid >= 0 {
			p.GID, p.HasGID = gid, true
		}
		if p != (frontend.Permission{}) {
			all[bindOf(l.Address)] = p
		}
	}
	return all, nil
}

func bindOf(a config.Address) (b frontend.Bind) {
	b.Network, b.Address = a.Listen()
	return b
}

// moveTo begins a move of the listening sockets to a configuration.
func moveTo(cfg *config.Config, k keys) (*frontend.Move, error) {
	var wanted []frontend.Wanted
	for i := range cfg.Frontends {
		c := &cfg.Frontends[i]
		engine, _ := engineOf(c)
		for _, a := range c.BindOn {
			wanted = append(wanted, frontend.Wanted{Frontend: k.of(c.Name), Engine: engine, Bind: bindOf(a.Address)})
		}
	}
	return frontend.NewMove(wanted)
}

func sources(ips []config.IP) []netip.Addr {
	list := make([]netip.Addr, len(ips))
	for i, ip := range ips {
		list[i] = ip.Addr
	}
	return list
}
