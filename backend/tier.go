package backend

import (
	"time"

	"weir/backend/strategy"
)

// tier is the backends that compete with each other: those that serve, or one kind of backups. A member has the same
// place in it for as long as it is one, whatever becomes of the others.
type tier struct {
	name     string // of the strategy
	strategy strategy.Strategy
	observer strategy.Observer // the same, if it goes by latency; else nil
	incoming strategy.Strategy // takes its place when it knows all members; nil: none
	members  []*Backend        // by index; nil: the place is free
	free     []int             // places
	usable   int

	ask strategy.Request // what the strategy is asked; kept here so that a pick allocates nothing
}

func newTier(name string, s strategy.Strategy) *tier {
	t := new(tier)
	t.use(name, s)
	return t
}

// use has the tier go by a strategy that knows its members.
func (t *tier) use(name string, s strategy.Strategy) {
	t.name, t.strategy = name, s
	t.observer, _ = s.(strategy.Observer)
}

// join takes b in.
func (t *tier) join(b *Backend) {
	if n := len(t.free); n > 0 {
		b.index = t.free[n-1]
		t.free = t.free[:n-1]
		t.members[b.index] = b
	} else {
		b.index = len(t.members)
		t.members = append(t.members, b)
	}
	b.tier = t
	t.place(b, b.opts.Weight)
}

// place tells the strategy what b is, with that weight: of one that is to leave it is 0.
func (t *tier) place(b *Backend, weight int) {
	m := strategy.Member{ID: b.id.Name, Weight: weight, Rank: b.rank}
	t.strategy.Place(b.index, m)
	if b.incoming {
		t.incoming.Place(b.index, m)
	}
}

// leave lets b go.
func (t *tier) leave(b *Backend) {
	t.strategy.Remove(b.index)
	if b.incoming {
		t.incoming.Remove(b.index)
	}
	t.members[b.index] = nil
	t.free = append(t.free, b.index)
	b.tier, b.index, b.incoming = nil, 0, false
}

// introduce makes b known to the incoming strategy.
func (t *tier) introduce(b *Backend, now, slowStart time.Duration) {
	t.incoming.Place(b.index, strategy.Member{ID: b.id.Name, Weight: b.opts.Weight, Rank: b.rank})
	b.incoming = true
	t.incoming.Update(b.index, b.told(now, slowStart))
}

// change goes over to the incoming strategy.
func (t *tier) change(name string) {
	for _, b := range t.members {
		if b != nil {
			b.incoming = false
		}
	}
	t.use(name, t.incoming)
	t.incoming = nil
}

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
	l := b.told(now, slowStart)
	t.strategy.Update(b.index, l)
	if b.incoming {
		t.incoming.Update(b.index, l)
	}
}

func (b *Backend) told(now, slowStart time.Duration) strategy.Load {
	return strategy.Load{
		Eligible: b.usable() && !b.full(),
		Weight:   b.effectiveWeight(now, slowStart),
		Active:   b.load(),
	}
}

// effectiveWeight grows linearly from nothing to the whole weight while b starts slowly.
func (b *Backend) effectiveWeight(now, slowStart time.Duration) int {
	whole := b.opts.Weight * strategy.WeightUnit
	if b.rampFrom == 0 || now >= b.rampFrom+slowStart {
		return max(1, whole)
	}
	return max(1, int(float64(whole)*float64(now-b.rampFrom)/float64(slowStart)))
}
