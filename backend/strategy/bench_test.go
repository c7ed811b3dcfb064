package strategy

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkConnection is what one connection asks of a strategy: Pick, the two Updates of its begin and
// end, and an Observe. As many sessions as members are open, and the oldest ends.
func BenchmarkConnection(b *testing.B) {
	sizes(b, func(b *testing.B, h *house) {
		open := make([]int, len(h.loads))
		for k := range open {
			open[k] = h.begin()
		}
		r, k := &Request{}, 0
		b.ReportAllocs()
		for b.Loop() {
			r.Key++
			r.Now += time.Microsecond
			i := h.Pick(r)
			h.active(i, h.loads[i].Active+1)
			h.Observe(i, time.Millisecond+time.Duration(r.Key*2654435761%1000)*time.Microsecond, r.Now)
			i, open[k] = open[k], i
			h.active(i, h.loads[i].Active-1)
			k = (k + 1) % len(open)
		}
	})
}

func BenchmarkPick(b *testing.B) {
	sizes(b, func(b *testing.B, h *house) {
		r := &Request{}
		b.ReportAllocs()
		for b.Loop() {
			r.Key++
			h.Pick(r)
		}
	})
}

// BenchmarkPickOneInAHundred has 99 of 100 members away: the worst for source-hash.
func BenchmarkPickOneInAHundred(b *testing.B) {
	sizes(b, func(b *testing.B, h *house) {
		for i := range h.loads {
			h.eligible(i, i%100 == 0)
		}
		r := &Request{}
		b.ReportAllocs()
		for b.Loop() {
			r.Key++
			h.Pick(r)
		}
	})
}

func BenchmarkPickAfterThreeTried(b *testing.B) {
	sizes(b, func(b *testing.B, h *house) {
		r := &Request{}
		for range 3 {
			r.Tried = append(r.Tried, h.Pick(r))
		}
		b.ReportAllocs()
		for b.Loop() {
			r.Key++
			h.Pick(r)
		}
	})
}

func sizes(b *testing.B, bench func(*testing.B, *house)) {
	for _, name := range names {
		for _, n := range []int{10, 100, 1000, 10000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				bench(b, furnish(b, name, equal(n)...))
			})
		}
	}
}

// BenchmarkPickWeighted has weights from 1 to 10, as cyclic's rounds then begin in crowds.
func BenchmarkPickWeighted(b *testing.B) {
	for _, n := range []int{10, 10000} {
		b.Run(fmt.Sprintf("cyclic/%d", n), func(b *testing.B) {
			weights := make([]int, n)
			for i := range weights {
				weights[i] = 1 + i%10
			}
			h := furnish(b, "cyclic", weights...)
			r := &Request{}
			b.ReportAllocs()
			for b.Loop() {
				h.Pick(r)
			}
		})
	}
}

// BenchmarkChangeWeight is what a pool asks when one weight has changed.
func BenchmarkChangeWeight(b *testing.B) {
	sizes(b, func(b *testing.B, h *house) {
		members := list(equal(len(h.loads))...)
		k := busy(h)
		b.ReportAllocs()
		for b.Loop() {
			k++
			i := k * 7919 % len(members)
			m := &members[i]
			m.Weight = 3 - m.Weight
			h.Place(i, *m)
			h.Update(i, Load{Eligible: true, Weight: m.Weight * WeightUnit})
		}
	})
}

// busy has sessions open on about half of the members, and returns their number.
func busy(h *house) int {
	n := len(h.loads) / 2
	for k := range n {
		i := h.pickFor(uint64(k))
		h.active(i, h.loads[i].Active+1)
	}
	return n
}

// BenchmarkReplace is Remove and Place, and the Update that makes the new member eligible.
func BenchmarkReplace(b *testing.B) {
	sizes(b, func(b *testing.B, h *house) {
		members := list(equal(len(h.loads))...)
		k := busy(h)
		b.ReportAllocs()
		for b.Loop() {
			k++
			i := k * 7919 % len(members)
			h.Remove(i)
			h.Place(i, members[i])
			h.Update(i, Load{Eligible: true, Weight: WeightUnit})
		}
	})
}

// BenchmarkPickBeforeTheFirstTable is what source-hash costs until its first table is made.
func BenchmarkPickBeforeTheFirstTable(b *testing.B) {
	for _, n := range []int{10, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := furnish(b, "source-hash", equal(n)...)
			h.Strategy.(*sourceHash).table = nil
			r := &Request{}
			b.ReportAllocs()
			for b.Loop() {
				r.Key++
				h.Pick(r)
			}
		})
	}
}

// BenchmarkRebuild has the parts of Rebuild by themselves: two are done with the pool's lock held.
func BenchmarkRebuild(b *testing.B) {
	for _, n := range []int{10, 600, 10000} {
		h := furnish(b, "source-hash", equal(n)...)
		s := h.Strategy.(*sourceHash)
		b.Run(fmt.Sprintf("snapshot/%d", n), func(b *testing.B) {
			s.changes++
			b.ReportAllocs()
			for b.Loop() {
				s.Rebuild()
			}
		})
		b.Run(fmt.Sprintf("compute/%d", n), func(b *testing.B) {
			s.changes++
			compute := s.Rebuild()
			b.ReportAllocs()
			for b.Loop() {
				compute()
			}
		})
		b.Run(fmt.Sprintf("install/%d", n), func(b *testing.B) {
			s.changes++
			install := s.Rebuild()()
			b.ReportAllocs()
			for b.Loop() {
				install()
			}
		})
	}
}
