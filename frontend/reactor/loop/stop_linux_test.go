package loop

import (
	"math"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

// stops counts how long the collector took to stop the world, by the histogram's buckets.
func stops() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/stopping/gc:seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64Histogram()
}

// quantile returns the upper end of the bucket in which that share of the stops since before ends.
func quantile(before, after *metrics.Float64Histogram, share float64) time.Duration {
	var all, seen uint64
	for i := range after.Counts {
		all += after.Counts[i] - before.Counts[i]
	}
	for i := range after.Counts {
		seen += after.Counts[i] - before.Counts[i]
		if float64(seen) >= share*float64(all) && !math.IsInf(after.Buckets[i+1], 1) {
			return time.Duration(after.Buckets[i+1] * float64(time.Second))
		}
	}
	return 0
}

// BenchmarkStopTheWorld is a collection while a loop waits unseen by the runtime, which cannot ask it to
// stop but by a signal. It reports the longest that the stop took.
func BenchmarkStopTheWorld(b *testing.B) {
	l := running(b)
	quit := make(chan struct{})
	go func() { // keeps the loop from a wait that the runtime sees
		tick := time.NewTicker(blindMS * time.Millisecond / 4)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.Post(func() {})
			case <-quit:
				return
			}
		}
	}()
	before := stops()
	for b.Loop() {
		runtime.GC()
	}
	close(quit)
	after := stops()
	b.ReportMetric(float64(quantile(before, after, 0.5).Nanoseconds())/1000, "µs-p50-stop")
	b.ReportMetric(float64(quantile(before, after, 0.99).Nanoseconds())/1000, "µs-p99-stop")
}
