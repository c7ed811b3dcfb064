package balancer

import (
	"context"
	"math/rand/v2"
	"net"
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
	stop    context.CancelFunc // nil until it runs
	seen    *verdicts          // likewise
	// joins makes the first good verdict bring the backend up: it came while others served, and began down.
	joins bool
}

// newProbers returns a prober for each backend that is to be probed.
func newProbers(c *config.Frontend, pool *backend.Pool, guard *contain.Guard) map[*backend.Backend]*prober {
	probers := make(map[*backend.Backend]*prober)
	if c.Health.Kind == "none" {
		return probers
	}
	dialer := sockopt.Options{}.Dialer()
	for i, b := range pool.Backends() {
		if c.Backends[i].Disabled {
			continue
		}
		network, address := probeAddress(b, &c.Health)
		probers[b] = &prober{
			pool: pool, backend: b, loop: loop(&c.Health, guard),
			probe: health.TCP(network, address, dialer.DialContext),
		}
	}
	return probers
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

func (p *prober) run(ctx context.Context) {
	p.loop.InitialUp, p.loop.Seen = p.isUp(), p.seen.count
	if p.joins {
		p.loop.InitialUp = true
		p.loop.Seen = p.join
	}
	p.loop.Run(ctx, p.probe, func(c health.Change) {
		p.pool.SetUp(p.backend, c.Up, reason(c))
	})
}

// isUp says what is known of the backend so far: by the file, or by the prober that this one follows.
func (p *prober) isUp() bool { return p.pool.ProbedUp(p.backend) }

// join brings up a backend that begins down, with its first good verdict.
func (p *prober) join(v health.Verdict) {
	p.seen.count(v)
	if p.joins && !v.Inconclusive && v.Err == nil {
		p.joins = false
		p.pool.SetUp(p.backend, true, "its first probe passed")
	}
}

func reason(c health.Change) string {
	if c.Up {
		return c.Streak + " probes passed"
	}
	return c.Streak + " probes failed: " + c.Reason.Error()
}
