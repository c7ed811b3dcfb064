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

// A reload before each session gives one member weight 1 and 2 in turn. Shares are those of the weights as
// they were at each session.
func TestCyclicWeightThatChangesBeforeEachSession(t *testing.T) {
	for _, others := range []int{1, 2, 5, 50} {
		h := furnish(t, "cyclic", equal(others+1)...)
		var got []int
		fair := make([]float64, others+1)
		for k := range 1000 {
			weight := 1 + k%2
			h.reweigh(0, weight)
			got = append(got, h.pick())
			for i := range fair {
				fair[i] += 1 / float64(weight+others)
			}
			fair[0] += float64(weight-1) / float64(weight+others)
		}
		shares(t, counts(got, others+1), fair, 0.05)
		if average := 1000 * 1.5 / (1.5 + float64(others)); math.Abs(fair[0]-average) > average*0.05 {
			t.Errorf("%d others: %.0f sessions by the weights, %.0f by their average", others, fair[0], average)
		}
	}
}

// All weights change before each session, as in slow start of everybody.
func TestCyclicWeightsThatAllChangeBeforeEachSession(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	const n = 10
	h := furnish(t, "cyclic", equal(n)...)
	var got []int
	fair := make([]float64, n)
	for range 1000 {
		total := 0
		for i := range n {
			h.reweigh(i, 1+random.IntN(1+i))
			total += h.loads[i].Weight
		}
		got = append(got, h.pick())
		for i, l := range h.loads {
			fair[i] += float64(l.Weight) / float64(total)
		}
	}
	shares(t, counts(got, n), fair, 0.05)
}

// shares holds got to fair, within so much of it, or a session and a half.
func shares(t *testing.T, got []int, fair []float64, within float64) {
	t.Helper()
	for i := range got {
		if math.Abs(float64(got[i])-fair[i]) > max(fair[i]*within, 1.5) {
			t.Errorf("%d members: member %d has %d sessions, want %.0f", len(got), i, got[i], fair[i])
		}
	}
}

// A reload before each session, or fewer, removes one member and adds another one. Those who stay get their shares, and
// the newcomers together what is one member's: neither a burst nor nothing.
func TestCyclicMemberThatIsReplacedBeforeEachSession(t *testing.T) {
	for _, c := range []struct {
		weights  []int
		at       int // which is replaced
		sessions int
	}{
		{equal(2), 0, 1000}, {equal(2), 1, 1000}, {equal(5), 0, 1000}, {equal(5), 2, 1000}, {equal(5), 4, 1000},
		{[]int{5, 1, 1}, 0, 1000}, {[]int{5, 1, 1}, 1, 1000}, {[]int{1, 5, 5}, 0, 1000}, {[]int{2, 3, 4, 5}, 3, 1000},
		{append(equal(50), 10), 50, 20000}, // its deadline is before all of theirs for one turn of theirs
	} {
		for _, every := range []int{1, 2, 3, 7, 20, 100} {
			h := furnish(t, "cyclic", c.weights...)
			var got []int
			for k := range c.sessions {
				if k%every == 0 {
					h.replace(c.at, Member{ID: fmt.Sprint("new ", k), Weight: c.weights[c.at], Rank: c.at})
				}
				got = append(got, h.pick())
			}
			within := 0.05
			if every > 1 { // each may have one session at once, or go while it waits for its first
				within = 0.2
			}
			shares(t, counts(got, len(c.weights)), fairShares(c.weights, c.sessions), within)
		}
	}
}

func fairShares(weights []int, sessions int) []float64 {
	total := 0
	for _, w := range weights {
		total += w
	}
	fair := make([]float64, len(weights))
	for i, w := range weights {
		fair[i] = float64(sessions*w) / float64(total)
	}
	return fair
}

// The same with a new one at another index each time, as the pool keeps a slot while its last sessions end.
func TestCyclicMemberThatMovesBeforeEachSession(t *testing.T) {
	h := furnish(t, "cyclic", equal(6)...)
	h.remove(4)
	h.remove(5)
	var got []int
	for k := range 1000 {
		old, fresh := 3+k%3, 3+(k+1)%3
		h.place(fresh, Member{ID: fmt.Sprint("new ", k), Weight: 1})
		h.update(fresh, Load{Eligible: true, Weight: WeightUnit})
		h.remove(old)
		got = append(got, min(h.pick(), 3))
	}
	shares(t, counts(got, 4), []float64{250, 250, 250, 250}, 0.05)
}

// After any churn the turns are as evenly spread as before: no run of the heavy member is longer.
func TestCyclicIsSmoothAfterChurn(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 5))
		weights := append([]int{50}, equal(50)...)
		h := furnish(t, "cyclic", weights...)
		for range 5000 {
			switch i := h.pick(); random.IntN(3) {
			case 0:
				if i > 0 {
					h.replace(i, Member{Weight: 1, Rank: i})
				}
			case 1:
				h.reweigh(1+random.IntN(50), 1+random.IntN(3))
			}
		}
		for i := 1; i <= 50; i++ {
			h.reweigh(i, 1)
		}
		h.picks(200)
		evenly(t, h, 1000, 0, 2)
		c := h.Strategy.(*cyclic)
		var owed int64
		for i := range c.turns {
			owed += c.turns[i].owed(c.now)
		}
		if owed != c.owed {
			t.Errorf("owed %d, want %d", c.owed, owed)
		}
	}
}

// One that has waited a part of its turn at weight 1/100 has not waited for many turns of weight 1.
func TestCyclicSlowStartDoesNotBurst(t *testing.T) {
	for _, waited := range []int{1, 10, 40, 90} {
		h := furnish(t, "cyclic", equal(10)...)
		h.picks(5)
		for i := range 5 {
			h.remove(i) // those who stay wait, so that the new one does too
		}
		h.place(0, Member{ID: "new", Weight: 1})
		h.update(0, Load{Eligible: true, Weight: 1})
		h.picks(waited)
		h.update(0, Load{Eligible: true, Weight: WeightUnit})
		got := h.picks(24)
		if n := counts(got, 10)[0]; n < 3 || n > 5 {
			t.Errorf("waited for %d sessions: got %v, want 0 four times", waited, got)
		}
	}
}

// A new member has its first turn from when it comes, long after the others' turns began, or just before.
func TestCyclicNewcomerNeitherBurstsNorStarves(t *testing.T) {
	for _, before := range []int{0, 1, 3, 10, 99, 12345} {
		for _, weight := range []int{1, 2, 5} {
			h := furnish(t, "cyclic", 1, 1, 1)
			h.picks(before)
			h.place(3, Member{ID: "new", Weight: weight, Rank: 3})
			h.update(3, Load{Eligible: true, Weight: weight * WeightUnit})
			got := h.picks(4 * (3 + weight))
			if n := counts(got, 4)[3]; n < 4*weight-1 || n > 4*weight+1 {
				t.Errorf("after %d sessions, weight %d: got %v, want 3 %d times", before, weight, got, 4*weight)
			}
			if n := counts(got[:3+weight], 4)[3]; n == 0 || n > weight+1 {
				t.Errorf("after %d sessions, weight %d: got %v in the first round", before, weight, got[:3+weight])
			}
		}
	}
}
