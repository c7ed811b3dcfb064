package health

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestPassive(t *testing.T) {
	for _, c := range []struct {
		name   string
		n      int
		window time.Duration
		fails  []time.Duration
		eject  []int // which of fails eject, by index
	}{
		{"n in the window", 3, 10, []time.Duration{0, 5, 9}, []int{2}},
		{"both ends of the window count", 3, 10, []time.Duration{0, 5, 10}, []int{2}},
		{"too far apart", 3, 10, []time.Duration{0, 5, 11}, nil},
		{"the window slides", 3, 10, []time.Duration{0, 5, 11, 15}, []int{3}},
		{"begins anew after an ejection", 3, 10, []time.Duration{0, 1, 2, 3, 4, 5}, []int{2, 5}},
		{"one is enough", 1, 10, []time.Duration{0, 100, 100}, []int{0, 1, 2}},
		{"off", 0, 10, []time.Duration{0, 0, 0, 0}, nil},
		{"below 0 is off", -1, 10, []time.Duration{0, 0, 0, 0}, nil},
		{"no window: the same instant", 2, 0, []time.Duration{0, 1, 1}, []int{2}},
		{"a window below 0 is none", 2, -5, []time.Duration{0, 1, 1}, []int{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := NewPassive(c.n, c.window)
			var ejections int
			for k, now := range c.fails {
				want := ejections < len(c.eject) && c.eject[ejections] == k
				if got := p.Fail(now); got != want {
					t.Fatalf("failure %d at %d: got %v, want %v", k, now, got, want)
				}
				if want {
					ejections++
				}
			}
		})
	}
}

func TestPassiveZeroValueNeverEjects(t *testing.T) {
	var p Passive
	if p.Fail(0) {
		t.Error("ejected")
	}
}

// Random failures against a list of all of them since the last ejection.
func TestPassiveAgainstAll(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n, window := 1+random.IntN(20), time.Duration(random.IntN(100))
		p := NewPassive(n, window)
		var now time.Duration
		var all []time.Duration
		for range 500 {
			now += time.Duration(random.IntN(10))
			all = append(all, now)
			want := len(all) >= n && now-all[len(all)-n] <= window
			if got := p.Fail(now); got != want {
				t.Fatalf("%d in %d: at %d after %v: got %v", n, window, now, all, got)
			}
			if want {
				all = nil
			}
		}
	}
}

func TestPassiveIsBounded(t *testing.T) {
	p := NewPassive(1<<40, time.Hour)
	ejected := 0
	for range 5000 {
		if p.Fail(0) {
			ejected++
		}
	}
	if ejected != 5 || len(p.times) != 1000 {
		t.Errorf("got %d ejections with %d remembered, want 5 with 1000", ejected, len(p.times))
	}
}

func BenchmarkPassive(b *testing.B) {
	p := NewPassive(10, time.Second)
	var now time.Duration
	b.ReportAllocs()
	for b.Loop() {
		now += time.Second
		p.Fail(now)
	}
}
