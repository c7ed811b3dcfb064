package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"weir/balancer"
)

// Collector is the part of Registry that is ours.
func Collector(b *balancer.Balancer) prometheus.Collector { return &collector{b: b} }

// Sample looks at live sessions, as a scrape does, and tells at how many.
func Sample(b *balancer.Balancer) (n int) {
	for _, seen := range look(b.Views(), 0) {
		n += seen.sessions
	}
	return n
}
