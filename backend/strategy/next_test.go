package strategy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Whatever has happened before, Next foretells the Pick that follows; and the picks are those of a strategy
// that was never asked.
func TestNextForetellsAndChangesNothing(t *testing.T) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				foretell(t, name, seed)
			}
		})
	}
}

func foretell(t *testing.T, name string, seed uint64) {
	t.Helper()
	asked, silent, course := rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 8))
	a := furnish(t, name, randomWeights(asked, asked.IntN(40))...)
	b := furnish(t, name, randomWeights(silent, silent.IntN(40))...)
	for range 2000 {
		churn(a, asked)
		churn(b, silent)
		tried, key := someOf(len(a.loads), course), course.Uint64()
		next := -2
		for range course.IntN(3) { // for other requests than the one that follows, too
			a.Next(&Request{Key: course.Uint64(), Now: a.now, Tried: someOf(len(a.loads), course)})
			next = a.Next(&Request{Key: key, Now: a.now, Tried: tried})
			standings(t, a, &Request{Key: key, Now: a.now, Tried: tried})
		}
		x, y := a.pickFor(key, tried...), b.pickFor(key, tried...)
		if x != y {
			t.Fatalf("picked %d, and %d when Next was not asked", x, y)
		}
		if next != -2 && next != x {
			t.Fatalf("Next foretold %d, and %d was picked", next, x)
		}
	}
}

// standings asks for the standing of all that are there.
func standings(t *testing.T, h *house, r *Request) {
	t.Helper()
	for _, i := range h.free(r.Tried) {
		if got := h.Standing(r, i); got == "" || strings.Contains(got, "%!") || strings.Contains(got, "-") {
			t.Fatalf("standing of %d: %q", i, got)
		}
	}
}

func TestStanding(t *testing.T) {
	for _, c := range []struct {
		name string
		want [3]string // of members of weight 2, 1, 1, of which the second was picked, and serves 3
	}{
		{"cyclic", [3]string{
			"weight 2, its next turn begins in 1.0 sessions and is due within 3.0",
			"weight 1, its turn has begun and is due within 3.0 sessions",
			"weight 1, its turn has begun and is due within 3.0 sessions",
		}},
		{"least-connections", [3]string{
			"0 sessions at weight 2, chosen for the latest session", "3 sessions at weight 1, not chosen yet",
			"0 sessions at weight 1, not chosen yet",
		}},
		{"first", [3]string{
			"number 1 of 3 available, in the order of the file", "number 2 of 3 available, in the order of the file",
			"number 3 of 3 available, in the order of the file",
		}},
		{"least-latency", [3]string{
			"not measured yet and counted as connecting in 367.879ms, 0 sessions at weight 2",
			"has recently connected in 7.358ms, 3 sessions at weight 1", "never tried, so it goes first",
		}},
	} {
		h := furnish(t, c.name, 2, 1, 1)
		h.pick()
		h.active(1, 3)
		h.Observe(1, 20*time.Millisecond, 0)
		h.now = 10 * time.Second
		for i, want := range c.want {
			if got := h.Standing(&Request{Now: h.now}, i); got != want {
				t.Errorf("%s: standing of %d: got %q, want %q", c.name, i, got, want)
			}
		}
	}
}

func TestStandingOfTwoChoices(t *testing.T) {
	h := furnish(t, "two-choices", equal(5)...)
	r := &Request{}
	for range 50 {
		next, drawn := h.Next(r), 0
		for i := range 5 {
			if strings.HasSuffix(h.Standing(r, i), "at weight 1, one of the two drawn") {
				drawn++
			} else if i == next {
				t.Errorf("%d is next, and stands: %s", i, h.Standing(r, i))
			}
		}
		if drawn != 2 {
			t.Errorf("%d drawn, want 2", drawn)
		}
		if got := h.begin(); got != next {
			t.Errorf("picked %d, want %d", got, next)
		}
	}
}

// When the first goes, the client goes to the second.
func TestStandingOfSourceHash(t *testing.T) {
	h := furnish(t, "source-hash", equal(30)...)
	for key := range uint64(20) {
		place := map[string]int{}
		for i := range 30 {
			place[h.Standing(&Request{Key: key}, i)] = i
		}
		if len(place) != 11 {
			t.Errorf("%d different places, want 10 and none", len(place))
		}
		var gone []int
		for p := range 10 {
			want := place[fmt.Sprintf("number %d for this client", p+1)]
			if got := h.pickFor(key); got != want {
				t.Errorf("with %d gone: picked %d, want %d", p, got, want)
			}
			gone = append(gone, want)
			h.eligible(want, false)
		}
		for _, i := range gone {
			h.eligible(i, true)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			h := furnish(b, name, equal(10000)...)
			for b.Loop() {
				h.Next(&Request{Key: 5})
			}
		})
	}
}
