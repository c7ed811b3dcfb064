package strategy

import "slices"

// twoChoices draws two different members and picks the one with fewer sessions for its weight. Of two
// random ones the better is nearly as good as the best of all (Mitzenmacher 2001: the fullest of n has
// log log n more than the mean, against log n / log log n with one draw), and it stays good where
// several balancers share the backends and each knows only its own sessions: they do not all run to
// the same one.
type twoChoices struct {
	loads    []Load
	eligible []int32 // in no order
	at       []int32 // by member: its place in eligible, or -1
	random   func() uint64
	drawn    uint64 // what the next Pick goes by, if Next has asked before
	isDrawn  bool
}

func (s *twoChoices) Place(i int, _ Member) {
	s.loads = grow(s.loads, i, Load{})
	s.at = grow(s.at, i, -1)
	s.eligible = slices.Grow(s.eligible, len(s.at)-len(s.eligible))
}

func (s *twoChoices) Remove(i int) { s.Update(i, Load{}) }

func (s *twoChoices) Pick(r *Request) int {
	n := s.setAside(r.Tried)
	switch n {
	case 0:
		return -1
	case 1:
		return int(s.eligible[0])
	}
	x, y := twoOf(n, s.draw())
	return s.better(int(s.eligible[x]), int(s.eligible[y]))
}

// draw uses up what was drawn ahead, if anything was.
func (s *twoChoices) draw() uint64 {
	if !s.isDrawn {
		return s.random()
	}
	s.isDrawn = false
	return s.drawn
}

// setAside moves the tried ones to the end of eligible and returns how many are before them.
func (s *twoChoices) setAside(tried []int) int {
	n := len(s.eligible)
	for _, i := range tried {
		if at := int(s.at[i]); at >= 0 && at < n {
			n--
			s.swap(at, n)
		}
	}
	return n
}

// twoOf makes two different numbers below n, each pair as likely as any other (but for 2^-32), of the
// two halves of random.
func twoOf(n int, random uint64) (int, int) {
	x := random >> 32 * uint64(n) >> 32
	y := random & (1<<32 - 1) * uint64(n-1) >> 32
	if y >= x {
		y++
	}
	return int(x), int(y)
}

// better compares (active+1)/weight: what it would be with this session. Without the 1 an idle member
// of weight 1 would go before an idle one of weight 10.
func (s *twoChoices) better(x, y int) int {
	a, b := &s.loads[x], &s.loads[y]
	if (a.Active+1)*max(b.Weight, 1) <= (b.Active+1)*max(a.Weight, 1) {
		return x
	}
	return y
}

func (s *twoChoices) Update(i int, l Load) {
	s.loads[i] = l
	switch in := s.at[i] >= 0; {
	case l.Eligible && !in:
		s.at[i] = int32(len(s.eligible))
		s.eligible = append(s.eligible, int32(i)) // within the capacity
	case !l.Eligible && in:
		end := len(s.eligible) - 1
		s.swap(int(s.at[i]), end)
		s.eligible = s.eligible[:end]
		s.at[i] = -1
	}
}

func (s *twoChoices) swap(a, b int) {
	s.eligible[a], s.eligible[b] = s.eligible[b], s.eligible[a]
	s.at[s.eligible[a]], s.at[s.eligible[b]] = int32(a), int32(b)
}
