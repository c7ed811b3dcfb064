package metrics

import (
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"weir/backend"
	"weir/backend/strategy"
	"weir/balancer"
	"weir/frontend"
)

// collector reads a balancer when it is asked.
type collector struct {
	b       *balancer.Balancer
	scrapes atomic.Uint32
}

// Describe is for the registry.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
}

// Collect sends what is true now.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	out := sender(ch)
	c.contained("of the whole", func() {
		out.reloads(c.b.Reloads())
		out.log(c.b)
	})
	views := c.b.Views()
	for i := range views {
		c.contained("of frontend "+views[i].Name, func() { out.frontend(&views[i]) })
	}
	if c.b.State() != "starting" { // nobody would answer
		c.contained("of the network", func() { out.network(look(views, int(c.scrapes.Add(1)))) })
	}
	c.contained("of panics", func() { out.counter(panics, c.b.Panics()) }) // last, so that those of this scrape are there
}

// contained keeps a panic from ending the process: the registry collects in goroutines of its own, which net/http
// does not look after.
func (c *collector) contained(what string, f func()) {
	c.b.Guard().Do("a scrape of the metrics "+what, f)
}

func (out sender) log(b *balancer.Balancer) {
	dropped, lost := b.LogLines()
	out.counter(logDropped, dropped)
	out.counter(logLost, lost)
	out.counter(linesDropped, b.LinesDropped())
}

func (out sender) reloads(r balancer.Reloads) {
	out.counter(reloadsTotal, r.Succeeded, success)
	out.counter(reloadsTotal, r.Failed, failure)
	out.gauge(reloadSucceeded, oneIf(!r.LastFailed))
	out.gauge(reloadTime, float64(r.Since.UnixNano())/1e9)
}

func (out sender) frontend(v *balancer.View) {
	f := pair(frontendLabel, v.Name)
	out.sessions(f, v.Counters)
	out.times(f, v)
	out.queue(f, v.Pool)
	for _, s := range byName(v.Pool.Snapshot()) {
		out.backend(f, &s, v.Probes)
	}
}

// byName leaves out backends that were removed, whose names others may have by now, and sorts the rest as the registry
// would have to: what comes in order costs it a fifth less.
func byName(list []backend.Status) []backend.Status {
	list = slices.DeleteFunc(list, func(s backend.Status) bool { return s.Leaving || s.State == backend.Removed })
	slices.SortFunc(list, func(a, b backend.Status) int { return strings.Compare(a.Backend.Name(), b.Backend.Name()) })
	return list
}

func (out sender) sessions(f label, n *frontend.Counters) {
	closed := n.Closed.Load() // first, so that no more have closed than opened
	opened := n.Opened.Load()
	out.counter(sessionsOpened, opened, f)
	out.gauge(sessionsActive, float64(opened-closed), f)
	for o := range frontend.Outcomes() {
		out.counter(sessionsClosed, n.Of(o), f, pair(outcomeLabel, o.String()))
	}
	out.counter(sessionBytes, n.BytesUp.Load(), up, f)
	out.counter(sessionBytes, n.BytesDown.Load(), down, f)
}

// times sends histograms. The classic ones have bounds for what is usual: connections take 0.1 ms to some
// seconds, sessions up to days.
func (out sender) times(f label, v *balancer.View) {
	n := v.Counters
	out <- newTimes(connectDuration, &n.Connect, powers{-13, 5, 1}, f)
	out <- newTimes(queueDuration, &n.QueueWait, powers{-10, 6, 1}, f)
	out <- newTimes(sessionDuration, &n.Length, powers{-10, 18, 2}, f)
	out <- newTimes(probeDuration, &v.Probes.Took, powers{-13, 5, 2}, f)
}

func (out sender) queue(f label, p *backend.Pool) {
	for _, c := range p.QueueSnapshot().Classes {
		out.gauge(sessionsQueued, float64(c.Queued), pair(classLabel, c.Name), f)
	}
}

func (out sender) backend(f label, s *backend.Status, probes *balancer.Probes) {
	b := pair(backendLabel, s.Backend.Name())
	for i, state := range states {
		out.gauge(backendState, oneIf(s.State == state), b, f, stateLabels[i])
	}
	out.gauge(backendWeight, float64(s.Weight)/strategy.WeightUnit, b, f)
	out.gauge(backendLimit, limit(s.Max), b, f)
	out.gauge(backendActive, float64(s.Active), b, f)
	out.gauge(backendElsewhere, float64(s.Elsewhere), b, f)
	out.counter(backendSessions, s.Totals.Sessions, b, f)
	out.counter(backendEarlyEnds, s.Totals.EarlyEnds, b, f)
	for i, why := range reasons {
		out.counter(backendFailures, s.Totals.Failed[why], b, f, reasonLabels[i])
	}
	if n, ok := probes.Of(s.Backend); ok {
		out.counter(backendProbes, n.Failed, b, f, failed)
		out.counter(backendProbes, n.Inconclusive, b, f, inconclusive)
		out.counter(backendProbes, n.Passed, b, f, passed)
	}
}

// limit has no limit as +Inf, so that active/limit is right, and a sum of limits too.
func limit(n int) float64 {
	if n == 0 {
		return math.Inf(1)
	}
	return float64(n)
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
