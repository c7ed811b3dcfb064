package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"weir/balancer"
	"weir/balancer/metrics"
)

// large is a running weir with 1,000 backends, each of which has been probed once.
func large(t testing.TB) *balancer.Balancer {
	live := echo(t)
	var tables strings.Builder
	for i := range 1000 {
		tables.WriteString(backendTable(fmt.Sprintf("backend-%d", i), live))
	}
	b := start(t, frontendFile("auto", "", tables.String()+"[frontend.health]\ninterval = \"1h\"\n"))
	v, _ := b.View("f")
	eventually(t, "all probes", func() bool { return v.Probes.Took.Snapshot().Count == 1000 })
	return b
}

func BenchmarkGather(b *testing.B) {
	r := metrics.Registry(large(b), "1.2.3")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCollect is what of it is ours.
func BenchmarkCollect(b *testing.B) {
	c := metrics.Collector(large(b))
	ch := make(chan prometheus.Metric, 1000)
	n := 0
	go func() {
		for range ch {
			n++
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		c.Collect(ch)
	}
	close(ch)
	b.ReportMetric(float64(n)/float64(b.N), "series/op")
}

func BenchmarkScrape(b *testing.B) {
	h := metrics.Handler(large(b), "1.2.3")
	for _, accept := range []string{"text/plain", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"} {
		b.Run(accept, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/metrics", nil)
			r.Header.Set("Accept", accept)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
				b.SetBytes(int64(w.Body.Len()))
			}
		})
	}
}

// BenchmarkSnapshot is for how long the lock of the pool is held.
func BenchmarkSnapshot(b *testing.B) {
	p := large(b).Pool("f")
	b.ReportAllocs()
	for b.Loop() {
		p.Snapshot()
	}
}

// BenchmarkSample is for what a scrape asks the kernel, of 1,000 sessions.
func BenchmarkSample(b *testing.B) {
	for _, engine := range []string{"copy", "reactor"} {
		b.Run(engine, func(b *testing.B) {
			w := start(b, frontendFile(engine, "", backendTable("live", echo(b))))
			for range 1000 {
				say(b, w.Addrs("f")[0], "hello")
			}
			b.ReportAllocs()
			for b.Loop() {
				if n := metrics.Sample(w); n != 200 {
					b.Fatalf("%d sessions", n)
				}
			}
		})
	}
}
