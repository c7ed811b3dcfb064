package config

import "time"

// The defaults. What is not here is zero: off, unlimited, or the kernel's choice.
const (
	defaultStrategy = "cyclic" // what users of every balancer expect first
	defaultEngine   = "auto"   // the cheaper one, wherever it can be had
	// One lost SYN is repeated by Linux after 1 s and again after 3 s: 5s outlives both.
	defaultConnectTimeout = Duration(5 * time.Second)
	// A database may compute for minutes on a request whose sender has half-closed; a leaked session
	// is still gone in time.
	defaultHalfCloseTimeout = Duration(5 * time.Minute)
	defaultRetries          = 2       // three backends tried before a client sees a failure
	defaultOnNoBackend      = "close" // a clean end; clients treat a reset as a fault of the network

	// 60s + 6 × 10s finds a dead peer in two minutes, or with user_timeout in 70s: well before NAT
	// tables and cloud load balancers (350 s and up) forget the connection. The kernel's own default
	// takes 2 h 11 min.
	defaultKeepaliveIdle     = Duration(60 * time.Second)
	defaultKeepaliveInterval = Duration(10 * time.Second)
	defaultKeepaliveCount    = 6
	// Long enough for a spanning tree or a Wi-Fi roam, short enough that nobody waits 15 minutes.
	defaultUserTimeout = Duration(30 * time.Second)

	defaultWeight = 1

	// HAProxy's numbers: down after 6 s at most, up after 4, one blip changes nothing.
	defaultHealthKind     = "tcp"
	defaultHealthInterval = Duration(2 * time.Second)
	defaultHealthTimeout  = Duration(time.Second)
	defaultHealthRise     = 2
	defaultHealthFall     = 3
	defaultHealthJitter   = 10     // spreads the probes of many balancers that started together
	defaultHealthInitial  = "up"   // serve from the first moment; retries cover a wrong guess
	defaultHealthOnDown   = "keep" // a failed probe does not prove that running sessions are dead

	defaultPassiveFailures   = 3
	defaultPassiveWindow     = Duration(10 * time.Second)
	defaultPassiveEjectFor   = Duration(10 * time.Second)
	defaultPassiveMaxEjected = 50 // above that the fault is more likely ours or the network's

	// What Kubernetes and systemd leave before they kill is 30 s and 90 s.
	defaultShutdownDrain = Duration(30 * time.Second)
)

func (c *Config) setDefaults() { c.Shutdown.setDefaults() }

func (f *Frontend) setDefaults() {
	f.Strategy = defaultStrategy
	f.Engine = defaultEngine
	f.ConnectTimeout = defaultConnectTimeout
	f.HalfCloseTimeout = defaultHalfCloseTimeout
	f.Retries = defaultRetries
	f.UserTimeout = defaultUserTimeout
	f.OnNoBackend = defaultOnNoBackend
	f.Keepalive.setDefaults()
	f.Health.setDefaults()
	f.Passive.setDefaults()
}

func (k *Keepalive) setDefaults() {
	*k = Keepalive{Idle: defaultKeepaliveIdle, Interval: defaultKeepaliveInterval, Count: defaultKeepaliveCount}
}

func (b *Backend) setDefaults() { b.Weight = defaultWeight }

func (h *Health) setDefaults() {
	*h = Health{
		Kind:     defaultHealthKind,
		Interval: defaultHealthInterval,
		Timeout:  defaultHealthTimeout,
		Rise:     defaultHealthRise,
		Fall:     defaultHealthFall,
		Jitter:   defaultHealthJitter,
		Initial:  defaultHealthInitial,
		OnDown:   defaultHealthOnDown,
	}
}

func (p *Passive) setDefaults() {
	*p = Passive{
		Failures:   defaultPassiveFailures,
		Window:     defaultPassiveWindow,
		EjectFor:   defaultPassiveEjectFor,
		MaxEjected: defaultPassiveMaxEjected,
	}
}

func (s *Shutdown) setDefaults() { s.Drain = defaultShutdownDrain }

// nameAll gives names to what the file left without. A missing or bad address leaves no name.
func (c *Config) nameAll() {
	for i := range c.Frontends {
		f := &c.Frontends[i]
		if f.Name == "" && len(f.BindOn) > 0 {
			f.Name = f.BindOn[0].String()
		}
		for j := range f.Backends {
			b := &f.Backends[j]
			if b.Name == "" {
				b.Name = b.ForwardTo.String()
			}
		}
	}
}
