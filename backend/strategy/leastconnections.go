package strategy

// leastConnections picks the member with the fewest sessions for its weight, the one longest not
// picked among equals. So while all are idle it is cyclic, in the order in which they were placed, and
// weights do not count (they divide 0). A new member comes after those that are there, as if it had been
// picked when it was placed: one that comes again and again does not take the turn of the others.
type leastConnections struct {
	heap    heap // by active/weight, then by last
	members []connections
	turn    uint64 // the next
	picks   uint64 // so far
}

// connections is what is known of one member.
type connections struct {
	load   Load
	placed bool
	last   uint64 // the turn in which it was placed or picked last
	picked uint64 // the number of that pick, from 1; 0: never
}

func (s *leastConnections) Place(i int, _ Member) {
	s.heap.grow(i)
	s.members = grow(s.members, i, connections{})
	if m := &s.members[i]; !m.placed {
		m.placed, m.last = true, s.takeTurn()
	}
}

func (s *leastConnections) Remove(i int) {
	s.heap.remove(i)
	s.members[i] = connections{}
}

func (s *leastConnections) Pick(r *Request) int {
	i := s.heap.best(r.Tried)
	if i < 0 {
		return -1
	}
	s.picks++
	m := &s.members[i]
	m.last, m.picked = s.takeTurn(), s.picks
	s.heap.set(i, key{s.heap.nodes[s.heap.at[i]].a, m.last})
	return i
}

func (s *leastConnections) takeTurn() uint64 {
	s.turn++
	return s.turn - 1
}

func (s *leastConnections) Update(i int, l Load) {
	m := &s.members[i]
	m.load = l
	if !l.Eligible {
		s.heap.remove(i)
		return
	}
	s.heap.set(i, key{ratio(l.Active, l.Weight), m.last})
}

// ratio is active/weight as an integer that orders exactly as the fractions do: two different
// fractions with denominators of at most maxWeight are at least 1/maxWeight² apart, which is 1 here.
// Sessions beyond 4 million on one member no longer count; it has no room for so many in 64 bits.
func ratio(active, weight int) uint64 {
	const most = 1 << 22
	return uint64(min(active, most)) * (maxWeight * maxWeight) / clampWeight(weight)
}
