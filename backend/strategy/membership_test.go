package strategy

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Who comes where another was is as new as at a place where nobody was.
func TestEveryStrategyInheritsNothingFromWhoWasThere(t *testing.T) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			used, fresh := furnish(t, name, 3, 1, 2), furnish(t, name, 3, 1, 2)
			for _, h := range []*house{used, fresh} {
				h.Observe(0, 5*ms, 0)
				h.Observe(1, 5*ms, 0)
				h.picks(7)
			}
			used.place(3, Member{ID: "old", Weight: 3, Rank: 3})
			used.rebuild()
			used.update(3, Load{Eligible: true, Weight: 3 * WeightUnit, Active: 70})
			used.Observe(3, 900*ms, 0)
			used.remove(3)
			for k, h := range []*house{used, fresh} {
				h.place(3, Member{ID: "new", Weight: 1, Rank: 3})
				if n := counts(h.picks(10), 4)[3]; n > 0 {
					t.Errorf("house %d: picked before it was eligible", k)
				}
				h.rebuild()
				h.update(3, Load{Eligible: true, Weight: WeightUnit})
			}
			for key := range uint64(500) {
				a, b := used.pickFor(key), fresh.pickFor(key)
				if a != b {
					t.Fatalf("pick %d: got %d, and %d where nobody was before", key, a, b)
				}
				if a == 3 && key%10 == 0 {
					used.Observe(3, time.Duration(key)*ms, 0)
					fresh.Observe(3, time.Duration(key)*ms, 0)
				}
			}
		})
	}
}

// The same for one that was eligible, full of sessions and slow, or had its turn just now.
func TestEveryStrategyRemovesWhoIsPicked(t *testing.T) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			h := furnish(t, name, equal(5)...)
			for k := range 200 {
				i := h.pickFor(uint64(k))
				h.remove(i)
				if got := h.pickFor(uint64(k)); got == i || got < 0 {
					t.Fatalf("picked %d after %d was removed", got, i)
				}
				h.place(i, Member{ID: fmt.Sprint(k), Weight: 1, Rank: i})
				h.update(i, Load{Eligible: true, Weight: WeightUnit})
			}
			for i := range 5 {
				h.remove(i)
			}
			if got := h.pick(); got != -1 {
				t.Errorf("picked %d of none", got)
			}
		})
	}
}

// Placing a member again, as each reload does, changes nothing, whatever has happened before.
func TestEveryStrategyIsPlacedAgainForNothing(t *testing.T) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			weights := []int{3, 1, 2, 5}
			again, once := furnish(t, name, weights...), furnish(t, name, weights...)
			for k := range 500 {
				for i, m := range list(weights...) {
					again.place(i, m)
				}
				if again.rebuild() {
					t.Fatal("the table was out of date")
				}
				var picked [2]int
				for n, h := range []*house{again, once} {
					h.now += 10 * ms
					i := h.pickFor(uint64(k))
					h.active(i, k%7)
					h.Observe(i, time.Duration(k%5)*ms, h.now)
					picked[n] = i
				}
				if picked[0] != picked[1] {
					t.Fatalf("session %d: got %d, and %d without", k, picked[0], picked[1])
				}
			}
		})
	}
}

func TestFirstGoesByTheOrderOfTheFile(t *testing.T) {
	h := furnish(t, "first", 1, 1, 1)
	h.remove(0)
	h.place(0, Member{ID: "new", Weight: 1, Rank: 3})
	h.update(0, Load{Eligible: true, Weight: WeightUnit})
	wantPicks(t, h, 1, 1)
	h.place(2, Member{Weight: 1, Rank: 0})
	wantPicks(t, h, 2, 2)
	h.place(0, Member{Weight: 1, Rank: 0}) // half-way through a change: the lower index
	wantPicks(t, h, 0, 0)
	h.eligible(0, false)
	h.place(0, Member{Weight: 1, Rank: 9})
	h.eligible(0, true)
	if got := []int{h.pick(), h.pick(2), h.pick(1, 2)}; !slices.Equal(got, []int{2, 1, 0}) {
		t.Errorf("got %v, want 2, 1, 0", got)
	}
}

// Idle members are picked in turn; one that is replaced before each session always has the last.
func TestLeastConnectionsNewcomerWaitsForItsTurn(t *testing.T) {
	h := furnish(t, "least-connections", 1, 1, 1)
	wantPicks(t, h, 0)
	h.place(3, Member{ID: "new", Weight: 1})
	h.update(3, Load{Eligible: true, Weight: WeightUnit})
	wantPicks(t, h, 1, 2, 0, 3, 1, 2, 0, 3)
	for k := range 20 {
		h.replace(3, Member{ID: fmt.Sprint(k), Weight: 1})
		wantPicks(t, h, (k+1)%3)
	}
}

func TestLeastConnectionsTurnsSurviveAChangeOfWeight(t *testing.T) {
	h := furnish(t, "least-connections", 1, 1, 1)
	for k := range 30 {
		h.reweigh(k%2, 1+k%5)
		wantPicks(t, h, k%3)
	}
}

func TestLeastLatencyAveragesSurviveAChangeOfWeight(t *testing.T) {
	h := furnish(t, "least-latency", 1, 1, 1)
	measure(h, 20*ms, 10*ms, 40*ms)
	h.reweigh(2, 3)
	wantPicks(t, h, 1)
	h.reweigh(2, 5) // 40/5 is less than 10
	wantPicks(t, h, 2)
	h.reweigh(0, 3)
	wantPicks(t, h, 0)
}
