package rate

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkClients is what one session asks of a table that knows n clients: Open and Close.
func BenchmarkClients(b *testing.B) {
	for _, n := range []int{1000, 1 << 16, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			before := heap()
			c := NewClients(Options{Rate: 1e6, Burst: 100, MaxSessions: 100, Size: n})
			addrs := make([]netip.Addr, n)
			for i := range addrs {
				addrs[i] = stranger(i)
				c.Open(addrs[i], 0)
			}
			size := heap() - before - int64(24*n)
			var now time.Duration
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now += time.Microsecond
				ref, _ := c.Open(addrs[i*7919%n], now)
				c.Close(ref)
			}
			b.ReportMetric(float64(size)/float64(n), "B/client")
		})
	}
}

// BenchmarkFlood is an address that was never seen, at a full table: of clients that can be forgotten, and
// of clients that cannot.
func BenchmarkFlood(b *testing.B) {
	for name, hold := range map[string]bool{"forgettable": false, "live": true} {
		b.Run(name, func(b *testing.B) {
			c := NewClients(Options{Rate: 1, Burst: 1, MaxSessions: 1})
			flood(b, c, 0, 4*defaultSize, hold)
			now, i := time.Hour, 0
			b.ReportAllocs()
			for b.Loop() {
				now += time.Second
				i++
				ref, _ := c.Open(stranger(1<<24+i), now)
				c.Close(ref)
			}
		})
	}
}

// BenchmarkFloodOfTheBusy has every look end in vain: no client has a session, no bucket is full.
func BenchmarkFloodOfTheBusy(b *testing.B) {
	c := NewClients(Options{Rate: 1e-6, Burst: 1})
	flood(b, c, 0, 4*defaultSize, false)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		c.Open(stranger(1<<24+i), time.Minute)
	}
}

func BenchmarkClientsParallel(b *testing.B) {
	c := NewClients(Options{Rate: 1e6, Burst: 100, MaxSessions: 100})
	var workers atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := int(workers.Add(1)) << 20
		for pb.Next() {
			i++
			ref, _ := c.Open(stranger(i%10_000), time.Duration(i)*time.Microsecond)
			c.Close(ref)
		}
	})
}
