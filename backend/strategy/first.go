package strategy

// first picks the first eligible member in the order of the file: the second gets sessions only while the
// first is away or full, and so on. Weights do not count.
type first struct {
	heap  heap  // by rank
	ranks []int // by member
}

func (s *first) Place(i int, m Member) {
	s.heap.grow(i)
	s.ranks = grow(s.ranks, i, 0)
	s.ranks[i] = m.Rank
	if s.heap.has(i) {
		s.enter(i)
	}
}

func (s *first) Remove(i int) { s.heap.remove(i) }

func (s *first) Pick(r *Request) int { return s.heap.best(r.Tried) }

func (s *first) Update(i int, l Load) {
	switch in := s.heap.has(i); {
	case l.Eligible && !in:
		s.enter(i)
	case !l.Eligible:
		s.heap.remove(i)
	}
}

func (s *first) enter(i int) { s.heap.set(i, key{uint64(s.ranks[i]), uint64(i)}) }
