package strategy

import (
	"math/rand/v2"
	"testing"
)

// Random sets and removals against a search through all, with keys around the wrap.
func TestHeapAgainstASearch(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		n := 1 + random.IntN(60)
		h := newHeap(n)
		keys := map[int]key{}
		for range 2000 {
			i := random.IntN(n)
			if random.IntN(3) == 0 {
				h.remove(i)
				delete(keys, i)
			} else {
				k := key{random.Uint64N(20) - 10, uint64(i)}
				h.set(i, k)
				keys[i] = k
			}
			tried := someOf(n, random)
			if got, want := h.best(tried), searchAll(keys, tried); got != want {
				t.Fatalf("with %v tried of %v: got %d, want %d", tried, keys, got, want)
			}
		}
	}
}

func searchAll(keys map[int]key, tried []int) int {
	rest := map[int]key{}
	for i, k := range keys {
		rest[i] = k
	}
	for _, i := range tried {
		delete(rest, i)
	}
	best := -1
	for i, k := range rest {
		if best < 0 || k.before(rest[best]) {
			best = i
		}
	}
	return best
}

func TestKeysWrap(t *testing.T) {
	if !(key{^uint64(0), 0}).before(key{1, 0}) || (key{1, 0}).before(key{^uint64(0), 0}) {
		t.Error("a key just below the wrap must go before one just above")
	}
	if !(key{5, ^uint64(0)}).before(key{5, 0}) {
		t.Error("ties must wrap too")
	}
}

func TestHeapTriedAreNotMoved(t *testing.T) {
	h := newHeap(5)
	for i := range 5 {
		h.set(i, key{uint64(i), 0})
	}
	before := append([]node(nil), h.nodes...)
	if got := h.best([]int{0, 1, 3, 0, 99, -1}); got != 2 {
		t.Errorf("got %d, want 2", got)
	}
	for at := range before {
		if h.nodes[at] != before[at] {
			t.Fatal("best moved a node")
		}
	}
}
