package strategy

import "slices"

// arity is the number of children of a node. Four beat two by 13 to 25 % with 1,000 members or more
// (half the levels, and four children of 24 bytes lie in two cache lines) and cost nothing with 10.
const arity = 4

// key orders the members of a heap: lower first, b between those with equal a.
//
// Keys are compared as on a clock face, by the sign of their difference (RFC 1982 does so with serial
// numbers). So a key that counts up for ever may wrap, as long as all keys in a heap lie within 2^63
// of each other.
type key struct{ a, b uint64 }

func (k key) before(o key) bool {
	if k.a != o.a {
		return int64(k.a-o.a) < 0
	}
	return int64(k.b-o.b) < 0
}

type node struct {
	key
	member int32
}

// heap keeps some of the members in a min-heap and knows where each one is, so that any of them can be
// moved or removed in O(log n).
type heap struct {
	nodes []node
	at    []int32 // by member: its place in nodes, or -1
}

func newHeap(members int) heap {
	var h heap
	h.grow(members - 1)
	return h
}

// grow makes room for member i, so that set need not allocate.
func (h *heap) grow(i int) {
	h.at = grow(h.at, i, -1)
	h.nodes = slices.Grow(h.nodes, len(h.at)-len(h.nodes))
}

func (h *heap) has(i int) bool { return h.at[i] >= 0 }

func (h *heap) empty() bool { return len(h.nodes) == 0 }

// set gives member i the key k, and lets it in if it is not.
func (h *heap) set(i int, k key) {
	at := int(h.at[i])
	if at < 0 {
		at = len(h.nodes)
		h.nodes = append(h.nodes, node{}) // within the capacity
	}
	h.settle(at, node{k, int32(i)})
}

// remove takes member i out, if it is in.
func (h *heap) remove(i int) {
	at := int(h.at[i])
	if at < 0 {
		return
	}
	h.at[i] = -1
	end := len(h.nodes) - 1
	last := h.nodes[end]
	h.nodes = h.nodes[:end]
	if at < end {
		h.settle(at, last)
	}
}

// best returns the first member that is not among tried, or -1. It moves nothing: below a node that
// was tried it looks at the children, so the work is bounded by arity times the length of tried.
func (h *heap) best(tried []int) int {
	at := h.search(0, tried)
	if at < 0 {
		return -1
	}
	return int(h.nodes[at].member)
}

func (h *heap) search(at int, tried []int) int {
	if at >= len(h.nodes) {
		return -1
	}
	if len(tried) == 0 || !slices.Contains(tried, int(h.nodes[at].member)) {
		return at
	}
	best := -1
	for child := at*arity + 1; child <= at*arity+arity; child++ {
		found := h.search(child, tried)
		if found >= 0 && (best < 0 || h.nodes[found].before(h.nodes[best].key)) {
			best = found
		}
	}
	return best
}

// settle puts x where it belongs, beginning at the free place at.
func (h *heap) settle(at int, x node) {
	to := h.up(at, x)
	if to == at {
		to = h.down(at, x)
	}
	h.place(to, x)
}

func (h *heap) up(at int, x node) int {
	for at > 0 {
		parent := (at - 1) / arity
		if !x.before(h.nodes[parent].key) {
			break
		}
		h.place(at, h.nodes[parent])
		at = parent
	}
	return at
}

func (h *heap) down(at int, x node) int {
	for {
		least := h.leastChild(at)
		if least < 0 || !h.nodes[least].before(x.key) {
			return at
		}
		h.place(at, h.nodes[least])
		at = least
	}
}

func (h *heap) leastChild(at int) int {
	first := at*arity + 1
	if first >= len(h.nodes) {
		return -1
	}
	least := first
	for child := first + 1; child < min(first+arity, len(h.nodes)); child++ {
		if h.nodes[child].before(h.nodes[least].key) {
			least = child
		}
	}
	return least
}

func (h *heap) place(at int, x node) {
	h.nodes[at] = x
	h.at[x.member] = int32(at)
}
