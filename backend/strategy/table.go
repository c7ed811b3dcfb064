package strategy

import (
	"cmp"
	"runtime"
	"slices"
)

// seat is a member as its table is made of it.
type seat struct {
	salt   uint64
	weight int    // above 0
	member int32  // what stands for it in the table
	placed uint64 // see hashed
}

// makeTable returns the Maglev table of members (Eisenbud et al., NSDI 2016, §3.4); nil, if there are
// none. They take places in turn, each by its own order of preference, until no place is free. Turns go
// by weight as in stride scheduling, and among equals by salt, not by place in the list, so that sorting a
// list differently moves no client. A member more moves its own share and, of the rest, 0.3 % with 10
// members and 0.7 % with 600.
//
// It takes 2 ms with 10 members and 130 ms with 10,000, where the table has 4 MB. It lets others have the
// processor at least each millisecond, which on a single one they would get after 10 ms otherwise.
func makeTable(members []seat) []int32 {
	if len(members) == 0 {
		return nil
	}
	slices.SortStableFunc(members, func(a, b seat) int { return cmp.Compare(a.salt, b.salt) })
	turns := newHeap(len(members))
	for k := range members {
		turns.set(k, key{0, uint64(k)})
	}
	table := make([]int32, tableSize(len(members)))
	for place := range table {
		table[place] = -1
	}
	orders := preferences(members, uint64(len(table)))
	for taken := range table {
		k := turns.best(nil)
		turns.set(k, key{turns.nodes[0].a + round/clampWeight(members[k].weight), uint64(k)})
		table[orders[k].nextFree(table)] = members[k].member
		if taken%atOnce == 0 {
			runtime.Gosched()
		}
	}
	return table
}

// atOnce is how many places are taken without a break, in half a millisecond or so.
const atOnce = 4096

// preference is a member's order of the places: from one place on in steps of skip. As the size is a
// prime it comes by every place.
type preference struct{ place, skip uint64 }

func preferences(members []seat, size uint64) []preference {
	orders := make([]preference, len(members))
	for k, m := range members {
		orders[k] = preference{place: mix(m.salt) % size, skip: mix(m.salt+1)%(size-1) + 1}
	}
	return orders
}

func (p *preference) nextFree(table []int32) uint64 {
	for {
		place := p.place
		p.place += p.skip
		if p.place >= uint64(len(table)) {
			p.place -= uint64(len(table))
		}
		if table[place] < 0 {
			return place
		}
	}
}

// tableSize is a prime of at least 100 places a member, which keeps shares within 1 % of each other
// (§5.3 of the paper). A table of another size puts every client elsewhere, so sizes are few: a list
// that grows beyond 655, 2621, 10485, … members with a weight, or shrinks below, moves everyone once.
func tableSize(members int) int {
	size := 1 << 16
	for size < members*100 {
		size <<= 2
	}
	for size++; !prime(size); size++ {
	}
	return size
}

func prime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return true
}
