package strategy

import (
	"math"
	"slices"
	"testing"
)

const clients = 50000

func placement(h *house, tried ...int) []int {
	got := make([]int, clients)
	for k := range got {
		got[k] = h.pickFor(mix(uint64(k)), tried...)
	}
	return got
}

// The same table must come out in every process and every version: this pins it.
func TestSourceHashIsTheSameEverywhere(t *testing.T) {
	h := furnish(t, "source-hash", equal(10)...)
	var got []int
	for k := range uint64(12) {
		got = append(got, h.pickFor(k))
	}
	if want := []int{2, 2, 1, 2, 1, 7, 6, 4, 3, 2, 0, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSourceHashShares(t *testing.T) {
	for _, weights := range [][]int{equal(2), equal(10), equal(300), {5, 3, 1, 1}, {100, 1, 1}, {2, 0, 1}} {
		h := furnish(t, "source-hash", weights...)
		total := 0
		for _, w := range weights {
			total += w
		}
		inTable := make([]int, len(weights))
		table := h.Strategy.(*sourceHash).table
		for _, i := range table {
			inTable[i]++
		}
		for i, w := range weights {
			want := float64(len(table)) * float64(w) / float64(total)
			if math.Abs(float64(inTable[i])-want) > 1+want/100 {
				t.Errorf("weights %v: member %d: got %d slots, want about %.0f", weights, i, inTable[i], want)
			}
		}
	}
}

func TestSourceHashBalance(t *testing.T) {
	h := furnish(t, "source-hash", equal(10)...)
	for i, n := range counts(placement(h), 10) {
		if n < clients/10*96/100 || n > clients/10*104/100 {
			t.Errorf("member %d: got %d clients, want about %d", i, n, clients/10)
		}
	}
}

// When a member goes, its clients spread and nobody else moves; when it comes back, so do they.
func TestSourceHashMovesOnlyTheLost(t *testing.T) {
	for _, n := range []int{2, 3, 10, 200} {
		h := furnish(t, "source-hash", equal(n)...)
		before := placement(h)
		h.eligible(1, false)
		during := placement(h)
		heirs := make([]int, n)
		for k, was := range before {
			if was != 1 && during[k] != was {
				t.Fatalf("%d members: client %d moved from %d to %d", n, k, was, during[k])
			}
			if was == 1 {
				heirs[during[k]]++
			}
		}
		spread(t, heirs, 1, counts(before, n)[1])
		if !slices.Equal(during, placement(furnish(t, "source-hash", equal(n)...), 1)) {
			t.Errorf("%d members: tried and gone lead to different members", n)
		}
		h.eligible(1, true)
		if !slices.Equal(before, placement(h)) {
			t.Errorf("%d members: not all came back", n)
		}
	}
}

// spread checks that total clients of member lost went evenly to the others.
func spread(t *testing.T, heirs []int, lost, total int) {
	t.Helper()
	share := float64(total) / float64(len(heirs)-1)
	for i, n := range heirs {
		if i != lost && math.Abs(float64(n)-share) > 5*math.Sqrt(share)+1 {
			t.Errorf("%d members: %d inherited %d, want about %.0f", len(heirs), i, n, share)
		}
	}
}

func TestSourceHashAddingMovesLittle(t *testing.T) {
	for _, n := range []int{3, 10, 100, 600, 700} {
		before := placement(furnish(t, "source-hash", equal(n)...))
		after := placement(furnish(t, "source-hash", equal(n+1)...))
		moved, needless := 0, 0
		for k := range before {
			if after[k] != before[k] {
				moved++
				if after[k] != n {
					needless++
				}
			}
		}
		fair := float64(clients) / float64(n+1)
		t.Logf("%d members and one more: %d of %d clients moved, fair %.0f, %.2f %% of all needlessly",
			n, moved, clients, fair, 100*float64(needless)/clients)
		if float64(needless) > clients*0.05 || math.Abs(float64(moved-needless)-fair) > fair*0.05+5*math.Sqrt(fair) {
			t.Errorf("%d members: moved %d, %d needlessly, want about %.0f", n, moved, needless, fair)
		}
	}
}

func TestSourceHashDoesNotDependOnTheOrder(t *testing.T) {
	members := list(1, 2, 3, 4, 5)
	reversed := slices.Clone(members)
	slices.Reverse(reversed)
	a, b := tableOf(members), tableOf(reversed)
	for place := range a.table {
		if members[a.table[place]].ID != reversed[b.table[place]].ID {
			t.Fatalf("place %d: got %s and %s", place, members[a.table[place]].ID, reversed[b.table[place]].ID)
		}
	}
}

// Far beyond the bounded lookups the promise still holds.
func TestSourceHashWithFewLeft(t *testing.T) {
	h := furnish(t, "source-hash", equal(2000)...)
	for i := range 1990 {
		h.eligible(i, false)
	}
	before := placement(h)
	for i, n := range counts(before, 2000)[1990:] {
		if n < clients/10*80/100 || n > clients/10*120/100 {
			t.Errorf("member %d: got %d clients, want about %d", 1990+i, n, clients/10)
		}
	}
	h.eligible(1995, false)
	for k, i := range placement(h) {
		if before[k] != 1995 && i != before[k] {
			t.Fatalf("client %d moved from %d to %d", k, before[k], i)
		}
	}
}

func TestSourceHashWithoutAnyWeight(t *testing.T) {
	h := furnish(t, "source-hash", 0, 0, 0)
	for i, n := range counts(placement(h), 3) {
		if n < clients/3*9/10 {
			t.Errorf("member %d: got %d clients, want a third", i, n)
		}
	}
}

func TestSourceHashIgnoresEffectiveWeight(t *testing.T) {
	h := furnish(t, "source-hash", 1, 1)
	before := placement(h)
	h.update(1, Load{Eligible: true, Weight: 1})
	if !slices.Equal(before, placement(h)) {
		t.Error("clients moved with slow start")
	}
}

func TestTableSize(t *testing.T) {
	for members, want := range map[int]int{0: 65537, 1: 65537, 655: 65537, 656: 262147, 2621: 262147, 10000: 1048583} {
		if got := tableSize(members); got != want {
			t.Errorf("%d members: got %d, want %d", members, got, want)
		}
	}
}

func tableOf(members []Member) *sourceHash {
	h := &house{Strategy: new(sourceHash)}
	for i, m := range members {
		h.place(i, m)
	}
	h.rebuild()
	return h.Strategy.(*sourceHash)
}
