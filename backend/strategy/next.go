package strategy

import "slices"

// Next, of each strategy, looks ahead for a person who asks, and leaves everything as it was: with or without
// it the picks are the same, and the Pick that follows, for the same request, returns what it returned.
//
// It is asked rarely. So where Pick moves things about, it is asked of a copy, in O(n).

// Next of a copy: promote moves time.
func (c *cyclic) Next(r *Request) int {
	clone := *c
	clone.turns = slices.Clone(c.turns)
	clone.waiting, clone.ready = c.waiting.clone(), c.ready.clone()
	return clone.Pick(r)
}

func (s *leastConnections) Next(r *Request) int { return s.heap.best(r.Tried) }

func (s *first) Next(r *Request) int { return s.Pick(r) }

func (s *leastLatency) Next(r *Request) int { return s.heap.best(r.Tried) }

func (s *sourceHash) Next(r *Request) int { return s.Pick(r) }

// Next draws ahead what the Pick that follows goes by.
func (s *twoChoices) Next(r *Request) int { return s.ahead().Pick(r) }

// ahead returns a copy that goes by the same draw.
func (s *twoChoices) ahead() *twoChoices {
	s.peek()
	clone := *s
	clone.eligible, clone.at = slices.Clone(s.eligible), slices.Clone(s.at)
	return &clone
}

// peek draws ahead.
func (s *twoChoices) peek() uint64 {
	if !s.isDrawn {
		s.drawn, s.isDrawn = s.random(), true
	}
	return s.drawn
}

func (h *heap) clone() heap {
	nodes := make([]node, len(h.nodes), cap(h.nodes))
	copy(nodes, h.nodes)
	return heap{nodes: nodes, at: slices.Clone(h.at)}
}
