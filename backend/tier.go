package backend

import (
	"fmt"
	"slices"
	"time"

	"weir/backend/strategy"
)

// tier is the backends that compete with each other: those that serve, or the backups.
type tier struct {
	name     string // of the strategy
	strategy strategy.Strategy
	observer strategy.Observer // the same, if it goes by latency; else nil
	members  []*Backend
	weights  []int // that the strategy was made with
	usable   int

	ask strategy.Request // what the strategy is asked; kept here so that a pick allocates nothing
}

func newTier(name string, members []*Backend, random func() uint64) (*tier, error) {
	s, err := strategy.New(name, random)
	if err != nil {
		return nil, fmt.Errorf("make pool: %w", err)
	}
	t := &tier{name: name, strategy: s, members: members, weights: weights(members)}
	t.observer, _ = s.(strategy.Observer)
	for i, b := range members {
		b.tier, b.index = t, i
		s.Place(i, strategy.Member{ID: b.name, Weight: b.weight, Rank: i})
	}
	if tabled, ok := s.(strategy.Tabled); ok {
		if compute := tabled.Rebuild(); compute != nil {
			compute()()
		}
	}
	return t, nil
}

func weights(members []*Backend) []int {
	list := make([]int, len(members))
	for i, b := range members {
		list[i] = b.weight
	}
	return list
}

func (t *tier) sameWeights() bool { return slices.Equal(t.weights, weights(t.members)) }

// pick returns the chosen backend, or nil when none is eligible but those tried.
func (t *tier) pick(r *Request) *Backend {
	if t.usable == 0 {
		return nil
	}
	t.ask.Key, t.ask.Now, t.ask.Tried = r.key, r.Now, t.ask.Tried[:0]
	for _, b := range r.tried {
		if b.tier == t {
			t.ask.Tried = append(t.ask.Tried, b.index)
		}
	}
	i := t.strategy.Pick(&t.ask)
	if i < 0 {
		return nil
	}
	return t.members[i]
}

// untried returns how many usable members the request has not tried yet.
func (t *tier) untried(r *Request) int {
	n := t.usable
	for _, b := range r.tried {
		if b.tier == t && b.usable() {
			n--
		}
	}
	return n
}

// tell lets the strategy know what is now true of b.
func (t *tier) tell(b *Backend, now, slowStart time.Duration) {
	t.strategy.Update(b.index, strategy.Load{
		Eligible: b.usable() && !b.full(),
		Weight:   b.effectiveWeight(now, slowStart),
		Active:   b.active,
	})
}

// effectiveWeight grows linearly from nothing to the whole weight while b starts slowly.
func (b *Backend) effectiveWeight(now, slowStart time.Duration) int {
	whole := b.weight * strategy.WeightUnit
	if b.rampFrom == 0 || now >= b.rampFrom+slowStart {
		return max(1, whole)
	}
	return max(1, int(float64(whole)*float64(now-b.rampFrom)/float64(slowStart)))
}
