package strategy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestCyclicEqualWeightsGoByTheList(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 100, 1000} {
		h := furnish(t, "cyclic", equal(n)...)
		for k := range 5 * n {
			if got := h.pick(); got != k%n {
				t.Fatalf("%d members: session %d: got %d, want %d", n, k, got, k%n)
			}
		}
	}
}

func TestCyclicWorkedExample(t *testing.T) {
	h := furnish(t, "cyclic", 5, 1, 1)
	wantPicks(t, h, 0, 1, 0, 0, 2, 0, 0)
	wantPicks(t, h, 0, 1, 0, 0, 2, 0, 0)
}

// After any number of sessions a member has its exact share but for less than one session, and after a
// period it has exactly its share.
func TestCyclicIsSmoothAndExact(t *testing.T) {
	cases := [][]int{
		{5, 1, 1}, {3, 2, 1}, {1, 2, 3}, {7, 3}, {1, 255}, {10, 10, 1}, {2, 3, 5, 7, 11, 13},
		append([]int{100}, equal(100)...), append(equal(100), 100),
		append(slices.Repeat([]int{2}, 50), append(equal(50), 100)...),
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		weights := make([]int, 1+random.IntN(30))
		for i := range weights {
			weights[i] = 1 + random.IntN(1+random.IntN(100))
		}
		cases = append(cases, weights)
	}
	for _, weights := range cases {
		h := furnish(t, "cyclic", weights...)
		smooth(t, h, weights, 4)
	}
}

// smooth runs periods of h and holds it to less than one session from the share.
func smooth(t *testing.T, h *house, weights []int, periods int) {
	t.Helper()
	total := 0
	for _, w := range weights {
		total += w
	}
	got := make([]int, len(weights))
	for k := 1; k <= periods*total; k++ {
		got[h.pick()]++
		for i, w := range weights {
			share := float64(k) * float64(w) / float64(total)
			off := math.Abs(float64(got[i]) - share)
			if off >= 1 || (k%total == 0 && off != 0) {
				t.Fatalf("weights %v: after %d sessions member %d has %d, want %.2f", weights, k, i, got[i], share)
			}
		}
	}
}

func TestCyclicNeverRepeatsTheHeavyOneMoreThanNeeded(t *testing.T) {
	h := furnish(t, "cyclic", 5, 1, 1)
	run, longest := 0, 0
	for range 70 {
		if h.pick() == 0 {
			run++
		} else {
			run = 0
		}
		longest = max(longest, run)
	}
	if longest > 3 {
		t.Errorf("got %d in a row, want at most 3", longest)
	}
}

func TestCyclicReturnDoesNotBurst(t *testing.T) {
	for _, away := range []int{1, 10, 12345} {
		h := furnish(t, "cyclic", 1, 1, 1, 1)
		h.picks(5)
		h.eligible(2, false)
		h.picks(away)
		h.eligible(2, true)
		got := h.picks(12)
		// Three rounds: its share is three, one more or less since it came in the middle of one.
		if n := counts(got, 4)[2]; n < 2 || n > 4 {
			t.Errorf("away for %d: got %v, want about three of member 2", away, got)
		}
		if !slices.Contains(got[:5], 2) {
			t.Errorf("away for %d: got %v, want member 2 within a round", away, got)
		}
		if slices.Equal(got[:2], []int{2, 2}) {
			t.Errorf("away for %d: got %v, a burst", away, got)
		}
	}
}

// A member at its limit goes and comes with each of its sessions.
func TestCyclicGoingAndComingGainsNothing(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1}, {5, 1, 1}, {1, 5, 9}} {
		for _, between := range []int{0, 1, 2, 3} {
			t.Run(fmt.Sprint(weights, between), func(t *testing.T) {
				h := furnish(t, "cyclic", weights...)
				total, rounds := weights[0]+weights[1]+weights[2], 300
				got, back := make([]int, 3), -1
				for k := range rounds * total {
					if k == back {
						h.eligible(0, true)
					}
					i := h.pick()
					got[i]++
					if i == 0 {
						h.eligible(0, false)
						back = k + 1 + between
						if between == 0 {
							h.eligible(0, true)
						}
					}
				}
				if fair := rounds * weights[0]; got[0] > fair+1 {
					t.Errorf("got %d sessions, want at most its share %d", got[0], fair)
				} else if between == 0 && got[0] < fair-1 {
					t.Errorf("got %d sessions, want its share %d", got[0], fair)
				}
			})
		}
	}
}

// The round in which others go is served out (those who stay and had their turn wait for the next); then
// all is as smooth as before, and so when all come back together.
func TestCyclicStaysSmoothWhenManyGoAndReturn(t *testing.T) {
	weights := append([]int{50}, equal(100)...)
	h := furnish(t, "cyclic", weights...)
	h.picks(77)
	for i := 51; i <= 100; i++ {
		h.eligible(i, false)
	}
	h.picks(100)
	evenly(t, h, 400, 0, 2)
	for i := 51; i <= 100; i++ {
		h.eligible(i, true)
	}
	evenly(t, h, 450, 0, 3)
}

// evenly checks that in n sessions member i comes every step sessions, give or take two.
func evenly(t *testing.T, h *house, n, i, step int) {
	t.Helper()
	got := 0
	for k := 1; k <= n; k++ {
		if h.pick() == i {
			got++
		}
		if want := k / step; got < want-2 || got > want+2 {
			t.Fatalf("after %d sessions: got %d, want about %d", k, got, want)
		}
	}
}

func TestCyclicChangeOfWeight(t *testing.T) {
	h := furnish(t, "cyclic", 1, 1)
	h.picks(11)
	h.update(0, Load{Eligible: true, Weight: 3 * WeightUnit})
	if n := counts(h.picks(400), 2)[0]; n < 299 || n > 301 {
		t.Errorf("got %d of 400 for weight 3 of 4, want 300", n)
	}
}

// A member in slow start that had its one turn at weight 1/100 must not wait 100 rounds for the next
// one when its weight has grown.
func TestCyclicSlowStartEndsAtOnce(t *testing.T) {
	h := furnish(t, "cyclic", 1, 1, 1)
	h.update(2, Load{Eligible: true, Weight: 1})
	for h.pick() != 2 {
	}
	h.update(2, Load{Eligible: true, Weight: WeightUnit})
	if got := h.picks(6); !slices.Contains(got, 2) {
		t.Errorf("got %v, want member 2 within two rounds", got)
	}
}

func TestCyclicTriedKeepsItsTurn(t *testing.T) {
	h := furnish(t, "cyclic", 1, 1, 1)
	if got := h.pick(0); got != 1 {
		t.Fatalf("got %d, want 1", got)
	}
	wantPicks(t, h, 0, 2, 0, 1, 2)
}

// Virtual time wraps: begin shortly before, with one member long away.
func TestCyclicOverTheWrap(t *testing.T) {
	s := &cyclic{now: math.MaxUint64 - round/WeightUnit*5/2}
	h := &house{Strategy: s}
	h.furnish(1, 2, 1)
	smooth(t, h, []int{1, 2, 1}, 20)
	if s.now > 1<<63 {
		t.Fatal("time did not wrap")
	}
}

func TestCyclicReturnAfterTheClockWentRound(t *testing.T) {
	for _, ahead := range []uint64{1 << 41, 1 << 50, 1 << 63, 3 << 62, math.MaxUint64 - 1<<42} {
		h := furnish(t, "cyclic", 1, 1)
		h.eligible(1, false)
		s := h.Strategy.(*cyclic)
		s.turns[1].start = s.now + ahead
		h.eligible(1, true)
		if got := counts(h.picks(10), 2); got[1] < 4 || got[1] > 6 {
			t.Errorf("start %#x ahead: got %v, want half", ahead, got)
		}
	}
}

// One long-lived strategy against whichever members happen to be there: nobody who stays is ever two
// rounds without a session.
func TestCyclicNobodyStarves(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	h := furnish(t, "cyclic", equal(20)...)
	since := 0
	for range 100000 {
		i := 1 + random.IntN(19)
		h.eligible(i, !h.loads[i].Eligible)
		if since++; h.pick() == 0 {
			since = 0
		}
		if since > 40 {
			t.Fatal("member 0 had no session in two rounds")
		}
	}
}
