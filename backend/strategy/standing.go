package strategy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Standing, of each strategy, is for a person who asks why one member is chosen and not the other.

// Standing tells how soon the turn of i ends, which decides among those whose turn has begun.
func (c *cyclic) Standing(_ *Request, i int) string {
	t := &c.turns[i]
	session := float64(round) / float64(max(c.total, 1))
	begins, ends := float64(int64(t.start-c.now))/session, float64(int64(t.deadline()-c.now))/session
	switch weight := weightOf(t.weight); {
	case begins > 0:
		return fmt.Sprintf("weight %s, its turn begins in %.1f sessions and ends in %.1f", weight, begins, ends)
	case ends > 0:
		return fmt.Sprintf("weight %s, its turn has begun and ends in %.1f sessions", weight, ends)
	default:
		return fmt.Sprintf("weight %s, its turn ended %.1f sessions ago, unused", weight, -ends)
	}
}

// Standing tells the sessions for the weight, and when i was picked last, which decides among equals.
func (s *leastConnections) Standing(_ *Request, i int) string {
	ratio := float64(s.heap.nodes[s.heap.at[i]].a) / (maxWeight * maxWeight) * WeightUnit
	picked := "not picked yet"
	if last := s.last[i]; last >= uint64(len(s.last)) {
		picked = fmt.Sprintf("picked %d sessions ago", s.turn-last)
	}
	return fmt.Sprintf("%s active for each 1 of weight, %s", short(ratio), picked)
}

// Standing tells the sessions for the weight, if i was drawn.
func (s *twoChoices) Standing(r *Request, i int) string {
	load, n := loadOf(s.loads[i]), len(s.eligible)
	if len(r.Tried) > 0 {
		s = s.ahead()
		n = s.setAside(r.Tried)
	}
	if n < 2 {
		return load
	}
	if x, y := twoOf(n, s.peek()); int(s.eligible[x]) == i || int(s.eligible[y]) == i {
		return load + ", one of the two drawn"
	}
	return load + ", not one of the two drawn"
}

// Standing tells in which place i comes for this client: when those before it are away, it gets the client.
func (s *sourceHash) Standing(r *Request, i int) string {
	var before []int
	for len(before) < placesTold {
		next := s.Next(&Request{Key: r.Key, Tried: before})
		if next == i {
			return fmt.Sprintf("in place %d for this client", len(before)+1)
		}
		before = append(before, next)
	}
	return fmt.Sprintf("not among the first %d for this client", placesTold)
}

// placesTold bounds the search for a place, which is quadratic: 10 places of 10,000 members take some 10 µs.
const placesTold = 10

// Standing tells the place in the list.
func (s *first) Standing(_ *Request, i int) string {
	before := 0
	for k := range i {
		if s.heap.at[k] >= 0 {
			before++
		}
	}
	return fmt.Sprintf("in place %d of those there", before+1)
}

// Standing tells the recent time to connect, and what it is multiplied with.
func (s *leastLatency) Standing(r *Request, i int) string {
	m := &s.members[i]
	average := time.Duration(m.at(r.Now)).Round(time.Microsecond)
	switch m.state {
	case untried:
		return "never tried, so it goes first"
	case guessed:
		return fmt.Sprintf("taken to connect in %v until it is known, %s", average, loadOf(m.load))
	}
	return fmt.Sprintf("connects in %v of late, %s", average, loadOf(m.load))
}

// at returns the average as it has fallen by now.
func (m *latency) at(now time.Duration) float64 {
	return m.average * math.Exp(-float64(max(0, now-m.seen))/float64(decay))
}

func loadOf(l Load) string {
	return fmt.Sprintf("%d active for weight %s", l.Active, weightOf(clampWeight(l.Weight)))
}

// weightOf writes an effective weight in the unit of the configured one: 0.4 while it climbs to 1.
func weightOf(effective uint64) string { return short(float64(effective) / WeightUnit) }

// short writes a number with two decimals, or fewer if these are zeros.
func short(x float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(x, 'f', 2, 64), "0"), ".")
}
