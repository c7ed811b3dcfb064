package strategy

// first picks the first eligible member of the list: the second gets sessions only while the first is
// away or full, and so on. Weights do not count.
type first struct {
	heap heap // by index
}

func newFirst(members []Member) *first {
	return &first{heap: newHeap(len(members))}
}

func (s *first) Pick(r *Request) int { return s.heap.best(r.Tried) }

func (s *first) Update(i int, l Load) {
	switch in := s.heap.at[i] >= 0; {
	case l.Eligible && !in:
		s.heap.set(i, key{uint64(i), 0})
	case !l.Eligible:
		s.heap.remove(i)
	}
}
