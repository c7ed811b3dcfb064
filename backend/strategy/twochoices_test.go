package strategy

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestTwoOfIsUniformAndDistinct(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 9))
	const n, draws = 5, 200000
	var pairs [n][n]int
	for range draws {
		x, y := twoOf(n, random.Uint64())
		pairs[x][y]++
	}
	for x := range n {
		for y := range n {
			want := draws / float64(n*(n-1))
			if x == y {
				want = 0
			}
			if math.Abs(float64(pairs[x][y])-want) > want/20 {
				t.Errorf("pair %d, %d: got %d, want about %.0f", x, y, pairs[x][y], want)
			}
		}
	}
}

// The ends of the range of random must not lead out of the list.
func TestTwoOfEnds(t *testing.T) {
	for _, n := range []int{2, 3, 10000} {
		for _, r := range []uint64{0, math.MaxUint64, 1<<32 - 1, math.MaxUint64 - 1<<32 + 1} {
			if x, y := twoOf(n, r); x == y || x < 0 || y < 0 || x >= n || y >= n {
				t.Errorf("twoOf(%d, %#x): got %d, %d", n, r, x, y)
			}
		}
	}
}

func TestTwoChoicesNeverTakesTheWorst(t *testing.T) {
	h := furnish(t, "two-choices", 1, 1, 1)
	h.active(1, 5)
	for range 1000 {
		if h.pick() == 1 {
			t.Fatal("got the fullest of three, which loses against any other")
		}
	}
}

func TestTwoChoicesFillsByWeight(t *testing.T) {
	h := furnish(t, "two-choices", 4, 2, 2, 1, 1)
	for range 10000 {
		h.begin()
	}
	for i, want := range []int{4000, 2000, 2000, 1000, 1000} {
		if got := h.loads[i].Active; math.Abs(float64(got-want)) > float64(want)/20 {
			t.Errorf("member %d: got %d, want about %d", i, got, want)
		}
	}
}

// With as many sessions as members the fullest has log log n or so; one draw would give it 6 or 7.
func TestTwoChoicesKeepsTheFullestLow(t *testing.T) {
	h := furnish(t, "two-choices", equal(1000)...)
	for range 1000 {
		if i := h.begin(); h.loads[i].Active > 4 {
			t.Fatalf("member %d has %d sessions, want at most 4", i, h.loads[i].Active)
		}
	}
}
