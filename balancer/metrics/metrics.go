// Package metrics shows a running balancer to Prometheus.
//
// It keeps no counts itself: what is counted, is counted where it happens, and read here when somebody scrapes.
// A scrape takes the lock of each pool for as long as a copy of its backends takes, and has the loops of the
// reactor tell of a bounded number of sessions. No label holds anything that a client could choose, so the
// number of series follows from the configuration alone.
//
// Start with [Handler]; names.go has all metrics of weir's own.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weir/balancer"
)

const (
	// most is how many scrapes may be under way. They share one collection, and each encodes for itself: with
	// 1,000 backends that takes 6 MB.
	most = 4
	// timeout is Prometheus's own for a scrape (scrape_timeout): later nobody waits any more.
	timeout = 10 * time.Second
)

// Handler serves the metrics of b, in the format that the client asks for: text, OpenMetrics, or protocol
// buffers, which alone carry native histograms. version is the program's.
func Handler(b *balancer.Balancer, version string) http.Handler {
	return promhttp.HandlerFor(Registry(b, version), promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: most,
		CoalesceGather:      true,
		Timeout:             timeout,
	})
}

// Registry returns a registry of its own with the metrics of b, of the process, and of the Go runtime.
func Registry(b *balancer.Balancer, version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		&collector{b: b},
		buildInfo(version),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "weir_build_info",
		Help:        "Always 1; what is running stands in the labels.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}
