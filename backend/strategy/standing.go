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
		return fmt.Sprintf("weight %s, its next turn begins in %.1f sessions and is due within %.1f", weight, begins, ends)
	case ends > 0:
		return fmt.Sprintf("weight %s, its turn has begun and is due within %.1f sessions", weight, ends)
	default:
		return fmt.Sprintf("weight %s, its turn was due %.1f sessions ago", weight, -ends)
	}
}

// Standing tells the sessions and the weight, and when i was picked last, which decides among equals.
func (s *leastConnections) Standing(_ *Request, i int) string {
	m := &s.members[i]
	switch ago := s.picks - m.picked + 1; {
	case m.picked == 0:
		return loadOf(m.load) + ", not chosen yet"
	case ago == 1:
		return loadOf(m.load) + ", chosen for the latest session"
	default:
		return fmt.Sprintf("%s, last chosen %d sessions ago", loadOf(m.load), ago)
	}
}

// Standing tells the sessions and the weight, and whether i was drawn.
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
			return fmt.Sprintf("number %d for this client", len(before)+1)
		}
		before = append(before, next)
	}
	return fmt.Sprintf("not among the first %d for this client", placesTold)
}

// placesTold bounds the search for a place, which is quadratic: 10 places of 10,000 members take some 10 µs.
const placesTold = 10

// Standing tells the place in the order of the file, of those that may be picked.
func (s *first) Standing(_ *Request, i int) string {
	place := 1
	for _, n := range s.heap.nodes {
		if n.before(s.heap.nodes[s.heap.at[i]].key) {
			place++
		}
	}
	return fmt.Sprintf("number %d of %d available, in the order of the file", place, len(s.heap.nodes))
}

// Standing tells the recent time to connect, and what it is multiplied with.
func (s *leastLatency) Standing(r *Request, i int) string {
	m := &s.members[i]
	average := time.Duration(m.at(r.Now)).Round(time.Microsecond)
	switch m.state {
	case untried:
		return "never tried, so it goes first"
	case guessed:
		return fmt.Sprintf("not measured yet and counted as connecting in %v, %s", average, loadOf(m.load))
	}
	return fmt.Sprintf("has recently connected in %v, %s", average, loadOf(m.load))
}

// at returns the average as it has fallen by now.
func (m *latency) at(now time.Duration) float64 {
	return m.average * math.Exp(-float64(max(0, now-m.seen))/float64(decay))
}

// loadOf writes "2 sessions at weight 1".
func loadOf(l Load) string {
	plural := "s"
	if l.Active == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d session%s at weight %s", l.Active, plural, weightOf(clampWeight(l.Weight)))
}

// weightOf writes an effective weight in the unit of the configured one: 0.4 while it climbs to 1.
func weightOf(effective uint64) string {
	two := strconv.FormatFloat(float64(effective)/WeightUnit, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(two, "0"), ".")
}
