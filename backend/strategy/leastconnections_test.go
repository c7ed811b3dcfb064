package strategy

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestLeastConnectionsIdleGoByTheList(t *testing.T) {
	h := furnish(t, "least-connections", 1, 1, 1)
	for k := range 9 {
		i := h.begin()
		if i != k%3 {
			t.Fatalf("session %d: got %d, want %d", k, i, k%3)
		}
		h.active(i, 0)
	}
}

func TestLeastConnectionsTakesTheLowest(t *testing.T) {
	cases := []struct {
		weights, active []int
		want            int
	}{
		{[]int{1, 1, 1}, []int{2, 1, 3}, 1},
		{[]int{1, 4}, []int{1, 3}, 1},
		{[]int{1, 4}, []int{1, 5}, 0},
		{[]int{3, 7}, []int{300, 699}, 1},
		{[]int{3, 7}, []int{300, 701}, 0},
		{[]int{1, 1}, []int{0, 1}, 0},
		{[]int{1, 100}, []int{0, 1}, 0},
	}
	for _, c := range cases {
		h := furnish(t, "least-connections", c.weights...)
		for i, n := range c.active {
			h.active(i, n)
		}
		if got := h.pick(); got != c.want {
			t.Errorf("weights %v, active %v: got %d, want %d", c.weights, c.active, got, c.want)
		}
	}
}

// With sessions that stay, shares follow the weights to the session.
func TestLeastConnectionsFillsByWeight(t *testing.T) {
	h := furnish(t, "least-connections", 5, 3, 2)
	for range 1000 {
		h.begin()
	}
	for i, want := range []int{500, 300, 200} {
		if got := h.loads[i].Active; got < want-1 || got > want+1 {
			t.Errorf("member %d: got %d, want %d", i, got, want)
		}
	}
}

// Random begins and ends against a search through all members.
func TestLeastConnectionsIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	h := furnish(t, "least-connections", 1, 2, 3, 5, 8, 13, 21, 100, 255, 256)
	for range 20000 {
		got := h.begin()
		h.active(got, h.loads[got].Active-1)
		for i, l := range h.loads {
			if l.Active*h.loads[got].Weight < h.loads[got].Active*l.Weight {
				t.Fatalf("got %d with %+v, want %d with %+v", got, h.loads[got], i, l)
			}
		}
		h.active(random.IntN(10), random.IntN(5000))
	}
}

func TestRatioOrdersAsFractionsDo(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8))
	for range 100000 {
		a, b := 1+random.IntN(1<<random.IntN(22)), 1+random.IntN(1<<random.IntN(22))
		v, w := 1+random.IntN(1<<random.IntN(21)), 1+random.IntN(1<<random.IntN(21))
		if random.IntN(2) == 0 {
			b, w = max(1, min(a, 1<<22-1)+random.IntN(3)-1), v+random.IntN(2)
		}
		v, w = min(v, maxWeight), min(w, maxWeight)
		want := big.NewRat(int64(a), int64(v)).Cmp(big.NewRat(int64(b), int64(w)))
		got := 0
		if x, y := ratio(a, v), ratio(b, w); x < y {
			got = -1
		} else if x > y {
			got = 1
		}
		if got != want {
			t.Fatalf("%d/%d against %d/%d: got %d, want %d", a, v, b, w, got, want)
		}
	}
}
