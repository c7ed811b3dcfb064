package strategy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// names are the canonical names of all strategies.
var names = []string{"cyclic", "least-connections", "two-choices", "source-hash", "first", "least-latency"}

// house is a strategy with its members as a pool would keep them.
type house struct {
	Strategy
	loads   []Load
	gone    []bool // not a member now
	now     time.Duration
	pending func() // what is left of a Rebuild
}

// furnish builds a house whose members have the configured weights and are eligible.
func furnish(t testing.TB, name string, weights ...int) *house {
	t.Helper()
	s, err := New(name, rand.New(rand.NewPCG(1, 2)).Uint64)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{Strategy: s}
	h.furnish(weights...)
	return h
}

func (h *house) furnish(weights ...int) {
	for i, m := range list(weights...) {
		h.place(i, m)
	}
	h.rebuild()
	for i, w := range weights {
		h.update(i, Load{Eligible: true, Weight: w * WeightUnit})
	}
}

// place leaves a new member as it is before its first Update.
func (h *house) place(i int, m Member) {
	h.loads, h.gone = grow(h.loads, i, Load{}), grow(h.gone, i, false)
	h.gone[i] = false
	h.Place(i, m)
}

func (h *house) remove(i int) {
	h.loads[i], h.gone[i] = Load{}, true
	h.Remove(i)
}

// replace has somebody else at i, who is eligible.
func (h *house) replace(i int, m Member) {
	h.remove(i)
	h.place(i, m)
	h.update(i, Load{Eligible: true, Weight: m.Weight * WeightUnit})
}

// reweigh gives i another weight, as a reload does.
func (h *house) reweigh(i, weight int) {
	m := list(make([]int, i+1)...)[i]
	m.Weight = weight
	h.place(i, m)
	l := h.loads[i]
	l.Weight = weight * WeightUnit
	h.update(i, l)
}

// rebuild makes the table of a strategy that has one, and says whether it was out of date.
func (h *house) rebuild() bool {
	t, ok := h.Strategy.(Tabled)
	if !ok {
		return false
	}
	compute := t.Rebuild()
	if compute == nil {
		return false
	}
	compute()()
	return true
}

func list(weights ...int) []Member {
	members := make([]Member, len(weights))
	for i, w := range weights {
		members[i] = Member{ID: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), Weight: w, Rank: i}
	}
	return members
}

// equal is n times the weight 1.
func equal(n int) []int { return slices.Repeat([]int{1}, n) }

func (h *house) update(i int, l Load) {
	h.loads[i] = l
	h.Update(i, l)
}

// rebuildBitByBit begins a table, or puts the one begun before in place.
func (h *house) rebuildBitByBit() {
	if h.pending != nil {
		h.pending()
		h.pending = nil
	} else if t, ok := h.Strategy.(Tabled); ok {
		if compute := t.Rebuild(); compute != nil {
			h.pending = compute()
		}
	}
}

// Observe tells a strategy that wants to know.
func (h *house) Observe(i int, connect, now time.Duration) {
	if o, ok := h.Strategy.(Observer); ok {
		o.Observe(i, connect, now)
	}
}

func (h *house) eligible(i int, yes bool) {
	l := h.loads[i]
	l.Eligible = yes
	h.update(i, l)
}

func (h *house) active(i, n int) {
	l := h.loads[i]
	l.Active = n
	h.update(i, l)
}

// pick asks without counting a session.
func (h *house) pick(tried ...int) int { return h.pickFor(0, tried...) }

func (h *house) pickFor(key uint64, tried ...int) int {
	return h.Pick(&Request{Key: key, Now: h.now, Tried: tried})
}

// picks asks n times, each session ending before the next begins.
func (h *house) picks(n int) []int {
	got := make([]int, n)
	for k := range got {
		got[k] = h.pick()
	}
	return got
}

// begin picks and counts the session.
func (h *house) begin(tried ...int) int {
	i := h.pick(tried...)
	if i >= 0 {
		h.active(i, h.loads[i].Active+1)
	}
	return i
}

// free lists the members that may be picked.
func (h *house) free(tried []int) []int {
	var free []int
	for i, l := range h.loads {
		if l.Eligible && !slices.Contains(tried, i) {
			free = append(free, i)
		}
	}
	return free
}

func wantPicks(t *testing.T, h *house, want ...int) {
	t.Helper()
	if got := h.picks(len(want)); !slices.Equal(got, want) {
		t.Fatalf("picks: got %v, want %v", got, want)
	}
}

func counts(picks []int, members int) []int {
	n := make([]int, members)
	for _, i := range picks {
		n[i]++
	}
	return n
}
