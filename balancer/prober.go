package balancer

import (
	"context"
	"math/rand/v2"
	"net"
	"reflect"
	"strconv"

	"weir/backend"
	"weir/backend/contain"
	"weir/backend/health"
	"weir/backend/sockopt"
	"weir/config"
)

// prober probes one backend and tells its pool.
type prober struct {
	pool    *backend.Pool
	backend *backend.Backend
	probe   health.Probe
	loop    health.Prober
	stop    context.CancelFunc
	seen    *verdicts
}

// newProber returns a prober that does not run yet.
func newProber(c *config.Frontend, pool *backend.Pool, b *backend.Backend, guard *contain.Guard) *prober {
	network, address := probeAddress(b, &c.Health)
	// From the addresses that sessions come from: a firewall, or the server itself, may treat others differently.
	dialer := backend.NewDialer(c.Health.Timeout.Std(), sockopt.Options{}, sources(c.SourceAddress))
	return &prober{
		pool: pool, backend: b, loop: loop(&c.Health, guard),
		probe: health.TCP(network, address, dialer.DialAddress),
	}
}

// probesAlike says whether two configurations have backends probed in the same way.
func probesAlike(a, b *config.Frontend) bool {
	return a.Health == b.Health && reflect.DeepEqual(a.SourceAddress, b.SourceAddress)
}

// probeAddress is the backend's own, but for what the file overrides. A unix socket has no port, and is
// probed elsewhere only when both are given.
func probeAddress(b *backend.Backend, h *config.Health) (network, address string) {
	if h.Port == 0 && h.Address == "" || b.Network() != "tcp" && (h.Port == 0 || h.Address == "") {
		return b.Network(), b.Address()
	}
	host, port, _ := net.SplitHostPort(b.Address()) // of a unix socket nothing is used
	if h.Address != "" {
		host = h.Address
	}
	if h.Port != 0 {
		port = strconv.Itoa(h.Port)
	}
	return "tcp", net.JoinHostPort(host, port)
}

func loop(h *config.Health, guard *contain.Guard) health.Prober {
	return health.Prober{
		Interval:     h.Interval.Std(),
		FastInterval: h.FastInterval.Std(),
		Timeout:      h.Timeout.Std(),
		Rise:         h.Rise,
		Fall:         h.Fall,
		Jitter:       h.Jitter,
		Random:       rand.Float64,
		Guard:        guard,
	}
}

// run begins with what is known of the backend: by the file, or by the prober that this one follows. One that is not
// proven yet begins as if it were up, and the pool brings it up with its first good probe.
func (p *prober) run(ctx context.Context) {
	known := p.pool.HealthOf(p.backend)
	p.loop.InitialUp = known.Up || known.Unproven
	p.loop.Seen = func(v health.Verdict) {
		p.seen.count(v)
		p.pool.Probed(p.backend, v)
	}
	p.loop.Run(ctx, p.probe, func(c health.Change) {
		p.pool.SetUp(p.backend, c.Up, reason(c))
	})
}

func reason(c health.Change) string {
	if c.Up {
		return c.Streak + " probes passed"
	}
	return c.Streak + " probes failed: " + c.Reason.Error()
}
