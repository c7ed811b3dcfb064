package strategy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestNewKnowsNamesAndAliases(t *testing.T) {
	for _, name := range append(names, "round-robin", "leastconn") {
		if _, err := New(name, rand.Uint64); err != nil {
			t.Errorf("New(%q): %v", name, err)
		}
	}
	if _, err := New("fastest", rand.Uint64); err == nil || err.Error() != `unknown strategy "fastest"` {
		t.Errorf("New of an unknown name: got %v", err)
	}
}

// Any sequence of calls must be answered with a member that is eligible and not tried, or with -1
// exactly when there is none.
func TestEveryStrategyAnswersOnlyWhatIsFree(t *testing.T) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				random := rand.New(rand.NewPCG(seed, 7))
				h := furnish(t, name, randomWeights(random, random.IntN(40))...)
				for range 2000 {
					churn(h, random)
					tried := someOf(len(h.loads), random)
					check(t, h, tried, random)
				}
			}
		})
	}
}

func randomWeights(random *rand.Rand, n int) []int {
	weights := make([]int, n)
	for i := range weights {
		weights[i] = random.IntN(4) * random.IntN(50)
	}
	return weights
}

func disturb(h *house, random *rand.Rand) {
	h.now += time.Duration(random.Int64N(int64(time.Second)))
	if len(h.loads) == 0 {
		return
	}
	i := random.IntN(len(h.loads))
	if h.gone[i] {
		return
	}
	switch random.IntN(3) {
	case 0:
		h.update(i, Load{Eligible: random.IntN(3) > 0, Weight: random.IntN(3000), Active: random.IntN(5)})
	case 1:
		h.active(i, random.IntN(1000))
	case 2:
		h.Observe(i, time.Duration(random.Int64N(int64(time.Second))), h.now)
	}
}

// churn is disturb, and what reloads do: members go, others come where they were, weights and ranks change,
// and a table is made meanwhile.
func churn(h *house, random *rand.Rand) {
	disturb(h, random)
	i := random.IntN(len(h.loads) + 1)
	switch isMember, what := i < len(h.loads) && !h.gone[i], random.IntN(300); {
	case what == 0:
		h.rebuildBitByBit() // seldom, as it takes milliseconds
	case what < 30:
		if isMember {
			h.remove(i)
		}
	case what < 65:
		if i < 50 { // or changes a member, whose ID then does not count
			h.place(i, Member{ID: fmt.Sprint(random.Uint64()), Weight: random.IntN(4), Rank: random.IntN(50)})
		}
	}
}

func someOf(n int, random *rand.Rand) []int {
	if n == 0 || random.IntN(2) == 0 {
		return nil
	}
	tried := make([]int, random.IntN(6))
	for k := range tried {
		tried[k] = random.IntN(n)
	}
	return tried
}

func check(t *testing.T, h *house, tried []int, random *rand.Rand) {
	t.Helper()
	free := h.free(tried)
	got := h.pickFor(random.Uint64(), tried...)
	if got == -1 && len(free) == 0 {
		return
	}
	if !slices.Contains(free, got) {
		t.Fatalf("got %d with tried %v, want one of %v", got, tried, free)
	}
}

func TestNoMembersAtAll(t *testing.T) {
	for _, name := range names {
		if got := furnish(t, name).pick(); got != -1 {
			t.Errorf("%s: got %d, want -1", name, got)
		}
	}
}

func TestNobodyIsEligibleBeforeTheFirstUpdate(t *testing.T) {
	for _, name := range names {
		s, _ := New(name, rand.Uint64)
		for i, m := range list(1, 1) {
			s.Place(i, m)
		}
		if got := s.Pick(&Request{}); got != -1 {
			t.Errorf("%s: got %d, want -1", name, got)
		}
	}
}

// A pool that passes a weight outside the contract gets a wrong share, not a division by zero.
func TestWeightsOutsideTheContract(t *testing.T) {
	for _, name := range names {
		for _, weight := range []int{-1, 0, 1 << 40} {
			h := furnish(t, name, 1, 1)
			h.update(0, Load{Eligible: true, Weight: weight})
			for range 100 {
				if h.begin() < 0 {
					t.Errorf("%s: weight %d: got -1", name, weight)
				}
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	for _, name := range names {
		h := furnish(t, name, equal(100)...)
		random := rand.New(rand.NewPCG(1, 1))
		r := &Request{Tried: []int{5, 50, 99, 5}}
		n := testing.AllocsPerRun(2000, func() {
			disturb(h, random)
			r.Key, r.Now = random.Uint64(), h.now
			h.Pick(r)
		})
		if n != 0 {
			t.Errorf("%s: got %v allocations a call, want 0", name, n)
		}
	}
}

// Whatever the strategy means by the best, retries go through all members and stop.
func TestRetriesReachEveryMemberOnce(t *testing.T) {
	for _, name := range names {
		h := furnish(t, name, 3, 1, 2, 1, 0)
		h.eligible(4, false)
		var tried []int
		for range 4 {
			tried = append(tried, h.pick(tried...))
		}
		if got := h.pick(tried...); got != -1 {
			t.Errorf("%s: got %d after %v, want -1", name, got, tried)
		}
		slices.Sort(tried)
		if !slices.Equal(tried, []int{0, 1, 2, 3}) {
			t.Errorf("%s: tried %v, want each of four once", name, tried)
		}
	}
}
