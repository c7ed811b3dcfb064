package config

import (
	"math"
	"time"
)

// The defaults. What is not here is zero: off, unlimited, or the kernel's choice.
const (
	defaultStrategy = "cyclic" // what users of every balancer expect first
	defaultEngine   = "auto"   // the cheaper one, wherever it can be had
	// One lost SYN is repeated by Linux after 1 s and again after 3 s: 5s outlives both.
	defaultConnectTimeout = Duration(5 * time.Second)
	// A database may compute for minutes on a request whose sender has half-closed; a leaked session
	// is still gone in time.
	defaultHalfCloseTimeout = Duration(5 * time.Minute)
	defaultRetries          = 2        // three backends tried before a client sees a failure
	defaultOnNoBackend      = "refuse" // one way to say no, whatever the reason
	defaultOnRefuse         = "close"  // a clean end; clients treat a reset as a fault of the network

	// 60s + 6 × 10s finds a dead peer that nothing is sent to in two minutes: well before NAT tables and cloud load balancers (350 s and up) forget the connection. The kernel's own default
	// takes 2 h 11 min.
	defaultKeepaliveIdle     = Duration(60 * time.Second)
	defaultKeepaliveInterval = Duration(10 * time.Second)
	defaultKeepaliveCount    = 6
	// Long enough for a spanning tree or a Wi-Fi roam, short enough that nobody waits 15 minutes.
	defaultDeadPeerTimeout = Duration(30 * time.Second)

	defaultWeight = 1

	// The least that serves anybody at all, and what a server with a process a connection survives.
	defaultMin = 1
	defaultMax = 1000

	// Most clients give up connecting after 10 to 30 s: a slot that comes later finds nobody there.
	defaultQueueTimeout = Duration(10 * time.Second)
	defaultFairBy       = "none" // first come, first served; many users may stand behind one address
	// The clients of most protocols half-close only to leave. Those that send all they have and then
	// half-close have sent something.
	defaultLeaveOnEnd = true

	defaultIPv4Prefix = 32 // an address is a client, or a household behind its NAT
	// RFC 6177: whoever has IPv6 has at least a /64, and could come from another address each time.
	defaultIPv6Prefix = 64
	// More clients at one time than nearly any service has, in about 3 MB.
	defaultClientTable = 65536

	// HAProxy's numbers: down after 6 s at most, up after 4, one blip changes nothing.
	defaultHealthKind     = "tcp"
	defaultHealthInterval = Duration(2 * time.Second)
	defaultHealthTimeout  = Duration(time.Second)
	defaultHealthRise     = 2
	defaultHealthFall     = 3
	defaultHealthJitter   = 10     // spreads the probes of many balancers that started together
	defaultHealthInitial  = "up"   // serve from the first moment; retries cover a wrong guess
	defaultHealthOnDown   = "keep" // a failed probe does not prove that running sessions are dead

	defaultHealthOnUp = "keep"
	// What users of every balancer know. A database whose standby has become the primary wants "manual".
	defaultFailback = "auto"

	defaultPassiveFailures = 3
	defaultPassiveWindow   = Duration(10 * time.Second)
	defaultPassiveEjectFor = Duration(10 * time.Second)
	// Envoy's. Long enough to spare clients a server that fails each time it comes back.
	defaultPassiveEjectForMax = Duration(5 * time.Minute)
	defaultPassiveMaxEjected  = 50 // above that the fault is more likely ours or the network's

	// What Kubernetes and systemd leave before they kill is 30 s and 90 s.
	defaultShutdownDrain = Duration(30 * time.Second)

	// On stderr -v decides, as mini-balancer's users expect; whoever names a file wants an access log.
	defaultLogSessions = "auto"
	defaultLogSample   = 1
)

func (c *Config) setDefaults() {
	c.Shutdown.setDefaults()
	c.Log.setDefaults()
}

func (f *Frontend) setDefaults() {
	f.Strategy = defaultStrategy
	f.Engine = defaultEngine
	f.ConnectTimeout = defaultConnectTimeout
	f.HalfCloseTimeout = defaultHalfCloseTimeout
	f.Retries = defaultRetries
	f.DeadPeerTimeout = defaultDeadPeerTimeout
	f.Failback = defaultFailback
	f.OnNoBackend = defaultOnNoBackend
	f.OnRefuse = defaultOnRefuse
	f.Keepalive.setDefaults()
	f.Queue.setDefaults()
	f.Client.setDefaults()
	f.Health.setDefaults()
	f.Passive.setDefaults()
}

func (k *Keepalive) setDefaults() {
	*k = Keepalive{Idle: defaultKeepaliveIdle, Interval: defaultKeepaliveInterval, Count: defaultKeepaliveCount}
}

func (q *Queue) setDefaults() {
	*q = Queue{Timeout: defaultQueueTimeout, FairBy: defaultFairBy, LeaveOnEnd: defaultLeaveOnEnd}
}

func (c *Class) setDefaults() { c.Weight = defaultWeight }

func (c *Client) setDefaults() {
	*c = Client{IPv4Prefix: defaultIPv4Prefix, IPv6Prefix: defaultIPv6Prefix, Table: defaultClientTable}
}

func (b *Backend) setDefaults() {
	b.Weight = defaultWeight
	b.Min, b.Max = defaultMin, defaultMax
}

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
		OnUp:     defaultHealthOnUp,
	}
}

func (p *Passive) setDefaults() {
	*p = Passive{
		Failures:    defaultPassiveFailures,
		Window:      defaultPassiveWindow,
		EjectFor:    defaultPassiveEjectFor,
		EjectForMax: defaultPassiveEjectForMax,
		MaxEjected:  defaultPassiveMaxEjected,
	}
}

func (s *Shutdown) setDefaults() { s.Drain = defaultShutdownDrain }

func (l *Log) setDefaults() { *l = Log{Sessions: defaultLogSessions, Sample: defaultLogSample} }

// complete gives what the file left out and other values decide. What the file has keeps its value,
// right or wrong.
func (c *Config) complete(x index) {
	for i := range c.Frontends {
		f := &c.Frontends[i]
		if f.Name == "" && len(f.BindOn) > 0 { // a missing or bad address leaves no name
			f.Name = f.BindOn[0].Address.String()
		}
		if x.nodes[&f.Passive.EjectForMax] == nil {
			f.Passive.EjectForMax = max(f.Passive.EjectForMax, f.Passive.EjectFor)
		}
		x.setBurst(&f.Rate.Burst, f.Rate.Sessions)
		x.setBurst(&f.Client.Burst, f.Client.Rate)
		for j := range f.Backends {
			f.Backends[j].complete()
		}
	}
}

func (b *Backend) complete() {
	if b.Name == "" {
		b.Name = b.ForwardTo.String()
	}
	if b.Auto {
		b.MaxConnections = b.Max
	}
}

// setBurst makes it what comes in a second: a client that is within its rate on average is not refused
// for coming a moment early.
func (x index) setBurst(burst *int, rate float64) {
	if x.nodes[burst] == nil {
		*burst = int(math.Ceil(min(max(rate, 1), maxCount)))
	}
}
