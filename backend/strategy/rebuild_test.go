package strategy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// tables returns the IDs by place.
func (h *house) tableIDs(ids []string) []string {
	table := h.Strategy.(*sourceHash).table
	got := make([]string, len(table))
	for place, i := range table {
		got[place] = ids[i]
	}
	return got
}

// A balancer that got its members by a thousand changes agrees with one that began with them, and so it does
// when it has members without a weight, which the other has not.
func TestSourceHashDependsOnlyOnWhoIsThere(t *testing.T) {
	for seed := range uint64(5) {
		random := rand.New(rand.NewPCG(seed, 2))
		h := &house{Strategy: new(sourceHash)}
		ids, weights := make([]string, 30), make([]int, 30)
		for k := range 1000 {
			i := random.IntN(len(ids))
			if ids[i] != "" && random.IntN(2) == 0 {
				h.remove(i)
				ids[i] = ""
				continue
			}
			if ids[i] == "" {
				ids[i] = fmt.Sprint("b", k)
			}
			weights[i] = random.IntN(4)
			h.place(i, Member{ID: ids[i], Weight: weights[i], Rank: random.IntN(30)})
			if k%200 == 0 {
				h.rebuild()
			}
		}
		h.rebuild()
		fresh := &house{Strategy: new(sourceHash)}
		var names []string
		for _, i := range random.Perm(len(ids)) {
			if ids[i] != "" && weights[i] > 0 {
				fresh.place(len(names), Member{ID: ids[i], Weight: weights[i], Rank: len(names)})
				names = append(names, ids[i])
			}
		}
		fresh.rebuild()
		if !slices.Equal(h.tableIDs(ids), fresh.tableIDs(names)) {
			t.Fatalf("seed %d: another table than that of a fresh balancer", seed)
		}
	}
}

func TestSourceHashIsOutOfDateOnlyWhenTheTableWouldDiffer(t *testing.T) {
	h := furnish(t, "source-hash", 1, 2, 0)
	for _, c := range []struct {
		what  string
		do    func()
		stale bool
	}{
		{"nothing", func() {}, false},
		{"the same again", func() { h.reweigh(1, 2) }, false},
		{"another rank", func() { h.place(1, Member{Weight: 2, Rank: 9}) }, false},
		{"a load", func() { h.update(1, Load{Eligible: true, Weight: 3, Active: 4}) }, false},
		{"away and back", func() { h.eligible(1, false); h.eligible(1, true) }, false},
		{"a weight", func() { h.reweigh(1, 3) }, true},
		{"a weight of 0", func() { h.reweigh(1, 0) }, true},
		{"removal without a weight", func() { h.remove(1) }, false},
		{"a member without a weight", func() { h.place(3, Member{ID: "new"}) }, false},
		{"a weight for it", func() { h.place(3, Member{ID: "new", Weight: 1}) }, true},
		{"removal", func() { h.remove(0) }, true},
		{"a return", func() { h.replace(0, Member{ID: "back", Weight: 1}) }, true},
	} {
		c.do()
		if got := h.rebuild(); got != c.stale {
			t.Errorf("%s: out of date: got %v, want %v", c.what, got, c.stale)
		}
		if h.rebuild() {
			t.Errorf("%s: out of date after it was made", c.what)
		}
	}
}

// Before the first table, clients go by rendezvous: each has its own, and who goes or comes moves no others.
func TestSourceHashServesBeforeItsFirstTable(t *testing.T) {
	h := &house{Strategy: new(sourceHash)}
	for i, m := range list(equal(10)...) {
		h.place(i, m)
		h.update(i, Load{Eligible: true, Weight: WeightUnit})
	}
	before := placement(h)
	for i, n := range counts(before, 10) {
		if n < clients/10*95/100 || n > clients/10*105/100 {
			t.Errorf("member %d: got %d clients, want about %d", i, n, clients/10)
		}
	}
	h.remove(3)
	for k, i := range placement(h) {
		if i == 3 || before[k] != 3 && i != before[k] {
			t.Fatalf("client %d: moved from %d to %d", k, before[k], i)
		}
	}
}

// Until the next table is there, a change moves only the clients of who went.
func TestSourceHashMovesOnlyTheLostUntilTheNextTable(t *testing.T) {
	h := furnish(t, "source-hash", equal(10)...)
	before := placement(h)
	h.reweigh(2, 0)
	h.reweigh(5, 7)
	h.place(10, Member{ID: "new", Weight: 1})
	h.update(10, Load{Eligible: true, Weight: WeightUnit})
	h.update(2, Load{Eligible: true, Weight: WeightUnit}) // it leaves, and still serves
	if !slices.Equal(before, placement(h)) {
		t.Error("clients moved before the next table")
	}
	h.replace(4, Member{ID: "another", Weight: 1})
	for k, i := range placement(h) {
		if i == 4 {
			t.Fatalf("client %d: goes to who has the place of who went", k)
		}
		if before[k] != 4 && i != before[k] {
			t.Fatalf("client %d: moved from %d to %d", k, before[k], i)
		}
	}
	h.rebuild()
	got := counts(placement(h), 11)
	if got[2] > 0 {
		t.Errorf("%d clients go to who has no weight", got[2])
	}
	if got[4] == 0 || got[10] == 0 || got[5] < 5*got[4] {
		t.Errorf("clients by member: %v", got)
	}
}

// Whoever goes, comes, or comes to where another was while a table is made, is not in it; what it is made of
// is out of date at once.
func TestSourceHashChangesWhileItsTableIsMade(t *testing.T) {
	for _, change := range []string{"before compute", "before install"} {
		h := furnish(t, "source-hash", equal(10)...)
		h.reweigh(0, 2)
		compute := h.Strategy.(Tabled).Rebuild()
		var install func()
		if change == "before install" {
			install = compute()
		}
		h.remove(1)
		h.replace(2, Member{ID: "another", Weight: 1})
		h.place(10, Member{ID: "new", Weight: 1})
		h.update(10, Load{Eligible: true, Weight: WeightUnit})
		h.eligible(5, false)
		if install == nil {
			install = compute()
		}
		install()
		for k, i := range placement(h) {
			if slices.Contains([]int{1, 2, 5, 10}, i) {
				t.Fatalf("%s: client %d goes to %d, which the table does not know", change, k, i)
			}
		}
		h.eligible(5, true)
		if !h.rebuild() {
			t.Fatalf("%s: the table is not out of date", change)
		}
		for i, n := range counts(placement(h), 11) {
			if (n == 0) != (i == 1) {
				t.Errorf("%s: %d has %d clients", change, i, n)
			}
		}
	}
}

// Of two that are made at the same time the later one stays, whichever is ready first.
func TestSourceHashOlderTableDoesNotReplaceTheNewer(t *testing.T) {
	h := furnish(t, "source-hash", equal(3)...)
	h.reweigh(0, 5)
	older := h.Strategy.(Tabled).Rebuild()
	h.reweigh(0, 0)
	newer := h.Strategy.(Tabled).Rebuild()
	newer()()
	before := placement(h)
	older()()
	if !slices.Equal(before, placement(h)) || h.rebuild() {
		t.Error("the older table was put in place")
	}
}

// A member that goes and one that comes each move their share, with tables in between.
func TestSourceHashReloadMovesLittle(t *testing.T) {
	h := furnish(t, "source-hash", equal(100)...)
	before := placement(h)
	h.replace(7, Member{ID: "another", Weight: 1})
	h.rebuild()
	moved := 0
	for k, i := range placement(h) {
		if before[k] != 7 && i != before[k] {
			moved++
		}
	}
	if moved > clients/50 {
		t.Errorf("%d of %d clients of others moved", moved, clients)
	}
}
