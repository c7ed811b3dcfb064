package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"weir/balancer"
)

// Collector is the part of Registry that is ours.
func Collector(b *balancer.Balancer) prometheus.Collector { return &collector{b: b} }
