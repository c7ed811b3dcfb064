package frontend

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever comes and goes: each cursor meets whoever stays all the while exactly once.
func TestRosterCursor(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		var r roster
		var live []*copySession
		come := func() {
			s := new(copySession)
			r.add(s)
			live = append(live, s)
		}
		for range random.IntN(30) {
			come()
		}
		stays, met := map[*copySession]bool{}, map[*copySession]int{}
		for _, s := range live {
			stays[s] = true
		}
		at, other := r.enter(), r.enter()
		few := make([]*copySession, 0, 1+random.IntN(5))
		for few = r.take(at, few); len(few) > 0; few = r.take(at, few) {
			for _, s := range few {
				met[s]++
				if !slices.Contains(live, s) {
					t.Fatalf("seed %d: met one that has left", seed)
				}
			}
			r.take(other, make([]*copySession, 0, random.IntN(3)))
			for range random.IntN(6) {
				if len(live) == 0 || random.IntN(3) == 0 {
					come()
					continue
				}
				k := random.IntN(len(live))
				r.remove(live[k])
				delete(stays, live[k])
				live = append(live[:k], live[k+1:]...)
			}
		}
		r.exit(at)
		r.exit(other)
		if len(r.cursors) != 0 {
			t.Fatalf("%d cursors left", len(r.cursors))
		}
		for s := range stays {
			if met[s] != 1 {
				t.Fatalf("seed %d: met one that stayed %d times", seed, met[s])
			}
		}
		for _, n := range met {
			if n > 1 {
				t.Fatalf("seed %d: met one %d times", seed, n)
			}
		}
	}
}
