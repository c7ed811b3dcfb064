package learn

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// samples are of a backend of capacity 50 with a limit of about that.
func samples(n int) []Sample {
	random := rand.New(rand.NewPCG(7, 8))
	list := make([]Sample, n)
	for i := range list {
		latency := float64(20*time.Millisecond) * math.Exp(0.5*random.NormFloat64())
		list[i] = Sample{Kind: Kind(i % 2), Latency: time.Duration(latency), Active: 50}
	}
	return list
}

func BenchmarkObserve(b *testing.B) {
	list := samples(1 << 12)
	l := New(Options{Min: 10, Max: 50, Start: 50})
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		s := list[i%len(list)]
		s.Now = time.Duration(i) * 400 * time.Microsecond
		l.Observe(s)
		i++
	}
}
