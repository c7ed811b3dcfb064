package strategy

// leastConnections picks the member with the fewest sessions for its weight, the one longest not
// picked among equals. So while all are idle it is cyclic, in the order of the list, and weights do
// not count (they divide 0).
type leastConnections struct {
	heap heap     // by active/weight, then by last
	last []uint64 // by member: the turn in which it was picked last
	turn uint64
}

func newLeastConnections(members []Member) *leastConnections {
	s := &leastConnections{
		heap: newHeap(len(members)),
		last: make([]uint64, len(members)),
		turn: uint64(len(members)),
	}
	for i := range s.last {
		s.last[i] = uint64(i)
	}
	return s
}

func (s *leastConnections) Pick(r *Request) int {
	i := s.heap.best(r.Tried)
	if i < 0 {
		return -1
	}
	s.last[i] = s.turn
	s.turn++
	s.heap.set(i, key{s.heap.nodes[s.heap.at[i]].a, s.last[i]})
	return i
}

func (s *leastConnections) Update(i int, l Load) {
	if !l.Eligible {
		s.heap.remove(i)
		return
	}
	s.heap.set(i, key{ratio(l.Active, l.Weight), s.last[i]})
}

// ratio is active/weight as an integer that orders exactly as the fractions do: two different
// fractions with denominators of at most maxWeight are at least 1/maxWeight² apart, which is 1 here.
// Sessions beyond 4 million on one member no longer count; it has no room for so many in 64 bits.
func ratio(active, weight int) uint64 {
	const most = 1 << 22
	return uint64(min(active, most)) * (maxWeight * maxWeight) / clampWeight(weight)
}
