package backend

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAcquire is what one connection asks of its pool: Acquire, Connected and Release. As many
// sessions as backends are open, and the oldest ends.
func BenchmarkAcquire(b *testing.B) {
	sizes(b, func(b *testing.B, p *Pool) {
		open := make([]Lease, len(p.Backends()))
		for i := range open {
			acquire(b, p, uint64(i), &open[i])
		}
		k, n := 0, uint64(0)
		b.ReportAllocs()
		for b.Loop() {
			n++
			open[k].Release()
			acquire(b, p, n, &open[k])
			open[k].Connected(time.Millisecond)
			k = (k + 1) % len(open)
		}
	})
}

// BenchmarkAcquireParallel is the same from every core at once, against the one lock.
func BenchmarkAcquireParallel(b *testing.B) {
	sizes(b, func(b *testing.B, p *Pool) {
		var seed atomic.Uint64
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			var l Lease
			n := seed.Add(1) << 32
			for pb.Next() {
				n++
				acquire(b, p, n, &l)
				l.Connected(time.Millisecond)
				l.Release()
			}
		})
	})
}

func acquire(b *testing.B, p *Pool, client uint64, l *Lease) {
	r := NewRequest(netip.AddrFrom4([4]byte{10, byte(client >> 16), byte(client >> 8), byte(client)}))
	r.Now = p.Since()
	var err error
	if *l, _, err = p.Acquire(&r); err != nil {
		b.Fatal(err)
	}
}

func sizes(b *testing.B, bench func(*testing.B, *Pool)) {
	for _, strategy := range strategies {
		for _, n := range []int{10, 100, 1000, 10000} {
			b.Run(fmt.Sprintf("%s/%d", strategy, n), func(b *testing.B) {
				o := PoolOptions{Strategy: strategy}
				for i := range n {
					o.Backends = append(o.Backends, Options{Name: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), Weight: 1, Up: true})
				}
				p, err := NewPool(o)
				if err != nil {
					b.Fatal(err)
				}
				bench(b, p)
			})
		}
	}
}
