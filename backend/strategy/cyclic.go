package strategy

// cyclic gives every member its turn, as often as its weight says, and spreads the turns of each as
// evenly as whole sessions allow. It is what users know as smooth weighted round robin (nginx), in
// O(log n) instead of O(n).
//
// It is stride scheduling (Waldspurger and Weihl 1995) in virtual time: a member of weight w has one
// turn in every round/w, and each session moves the time on by round/(sum of the weights). Among the
// members whose turn has begun, the one whose turn ends first is picked (earliest deadline first, as
// in Envoy). That a turn must have begun is what stride scheduling and Envoy lack: without it, weights
// 5, 1, 1 give a five times in a row. With it (WF2Q: Bennett and Zhang, INFOCOM 1996) no member is ever
// a whole session away from its exact share, after any number of sessions.
//
// Weights a 5, b 1, c 1; the round is taken as 35, so a turn of a lasts 7, of b and c 35, a session 5:
//
//	time        0     5     10    15    20    25    30    35
//	turn of a   0-7   7-14  7-14  14-21 21-28 21-28 28-35 35-42
//	turn of b   0-35  0-35  35-70 …
//	turn of c   0-35  0-35  0-35  0-35  0-35  35-70 …
//	begun       a b c b c   a c   a c   c     a     a     a b c
//	picked      a     b     a     a     c     a     a     a
//
// A turn that ends while its member is away (down, or full) is lost, not saved up, so that nobody
// catches up in a burst. A turn that has not ended is kept, so that going away and coming back, as a
// member at its limit does with every session, gains nothing and costs nothing.
//
// While nobody comes or goes, what some members have waited is what others have had in advance: the sum of
// weight·(now - start) over all is 0. At time 5 above it is 5·(5-7) for a, and 5 each for b and c. One that
// goes takes its part with it. If it had just had its turn, time is ahead of those who stay: all their turns
// seem to have begun, and the heavy ones get their sessions in a row again. So time moves on slower until the
// sum is 0 again. (EEVDF, Stoica and others, RTSS 1996, sets it right at once. Here time never goes back:
// whose turn has begun is not asked again.)
type cyclic struct {
	turns    []turn
	waiting  heap   // members whose turn has not begun, as far as was looked: by start
	ready    heap   // members whose turn has begun: by deadline
	now      uint64 // virtual time
	owed     int64  // sum of weight·(now - start) of the members in waiting and ready
	calm     uint64 // when the first turns of all who are new have ended, or a time before now
	total    uint64 // sum of the weights of the members in waiting and ready
	heaviest uint64 // no weight was ever greater
}

// turn is a member's present or next turn.
type turn struct {
	start    uint64 // virtual time
	left     uint64 // what dividing round by the weight left over at start, below the weight
	weight   uint64 // effective weight when it last was eligible; 0 if it never was
	eligible bool
}

// round is the virtual time in which a member of effective weight 1 has one turn. It is the square of
// maxWeight, so that two different fractions of it never round to the same time. The time wraps after
// 2^24 turns of weight 1, or a few hours of a busy single member: the comparisons allow for that
// (see key), as no turn starts more than two rounds ahead.
const round = maxWeight * maxWeight

// maxWeight bounds effective weights; greater ones count as this. It is more than 10,000 configured.
const maxWeight = 1 << 20

func (c *cyclic) Place(i int, _ Member) {
	c.turns = grow(c.turns, i, turn{})
	c.waiting.grow(i)
	c.ready.grow(i)
}

// Remove leaves nothing of the turn of i to the next one there.
func (c *cyclic) Remove(i int) {
	if c.turns[i].eligible {
		c.leave(i)
	}
	c.turns[i] = turn{}
}

func (c *cyclic) Pick(r *Request) int {
	c.promote()
	i := c.ready.best(r.Tried)
	if i < 0 {
		i = c.waiting.best(r.Tried)
	}
	if i >= 0 {
		c.use(i)
	}
	return i
}

// promote moves to ready the members whose turn has begun and might be the next to end. If none has
// begun, time jumps to the first that will: an idle moment is nobody's.
//
// No turn in waiting ends before the first start there plus the shortest possible turn. When what is
// ready ends no later, the rest can wait. So with equal weights a round that begins for 10,000 members
// at once costs each session one move, not one session 10,000. With mixed weights it may still be many,
// up to about 1 ms in one session among 10,000; the mean is 0.2 µs.
func (c *cyclic) promote() {
	if c.ready.empty() && !c.waiting.empty() && after(c.waiting.nodes[0].a, c.now) {
		c.advance(c.waiting.nodes[0].a - c.now)
	}
	for !c.waiting.empty() {
		first := c.waiting.nodes[0]
		if after(first.a, c.now) {
			return
		}
		if !c.ready.empty() && !after(c.ready.nodes[0].a, first.a+round/c.heaviest) {
			return
		}
		c.waiting.remove(int(first.member))
		c.ready.set(int(first.member), key{c.turns[first.member].deadline(), uint64(first.member)})
	}
}

// use ends the turn of i, begins its next where this one would have ended, and moves time on.
func (c *cyclic) use(i int) {
	t := &c.turns[i]
	c.owed -= t.owed(c.now)
	t.start, t.left = t.deadline(), (round+t.left)%t.weight
	c.owed += t.owed(c.now)
	c.ready.remove(i)
	c.waiting.set(i, key{t.start, uint64(i)})
	c.advance(c.sessionTime() / c.total)
}

// sessionTime is by how much a session moves time on, times the sum of the weights: by a round; and while time
// is ahead, by up to a quarter less. When it is behind, promote sees to it.
//
// It is a round until the first turn of whoever came last is over. A heavy member that is replaced before each
// session never has had anything in advance: while time is slow it would take the sessions of all the others.
func (c *cyclic) sessionTime() uint64 {
	least := round - int64(c.total) // for what the last division left over
	if !after(c.calm, c.now) {
		c.calm = c.now
		least = round * 3 / 4
	}
	return uint64(min(max(-c.owed, least), round+int64(c.total)))
}

func (c *cyclic) advance(time uint64) {
	c.now += time
	c.owed += int64(time * c.total)
}

// owed is what t has waited of its turn, times its weight, so that a whole turn counts as a round. It is
// below 0 before the turn begins.
func (t *turn) owed(now uint64) int64 { return int64(t.weight) * int64(now-t.start) }

func (c *cyclic) Update(i int, l Load) {
	t := &c.turns[i]
	weight := clampWeight(l.Weight)
	if l.Eligible == t.eligible && (weight == t.weight || !l.Eligible) {
		return
	}
	if t.eligible {
		c.leave(i)
	} else {
		c.resume(t, weight)
	}
	if l.Eligible {
		c.join(i, weight)
	}
}

func (c *cyclic) leave(i int) {
	t := &c.turns[i]
	t.eligible = false
	c.waiting.remove(i)
	c.ready.remove(i)
	c.total -= t.weight
	c.owed -= t.owed(c.now)
}

func (c *cyclic) join(i int, weight uint64) {
	t := &c.turns[i]
	t.eligible = true
	c.stretch(t, weight)
	c.heaviest = max(c.heaviest, weight)
	c.waiting.set(i, key{t.start, uint64(i)})
	c.total += weight
	c.owed += t.owed(c.now)
}

// resume gives a member that was away its old turn, if that has not ended, and a new one otherwise.
//
// A start more than two turns ahead makes no sense (the clock went round since t was last here) and
// counts as long past.
func (c *cyclic) resume(t *turn, weight uint64) {
	if t.weight == 0 {
		c.begin(t, weight)
		return
	}
	length := int64(round / t.weight)
	if ahead := int64(t.start - c.now); ahead <= -length || ahead > 2*length {
		t.start, t.left = c.now, 0
	}
}

// begin gives a new member its first turn, now.
func (c *cyclic) begin(t *turn, weight uint64) {
	t.start, t.weight = c.now, weight
	if end := t.deadline(); after(end, c.calm) {
		c.calm = end
	}
}

// stretch gives t another weight: what is left to wait of its turn, and what has passed of it, become
// longer or shorter as the turn does (Waldspurger and Weihl do so with what is left). So nothing of what it
// is owed, or has had in advance, is lost or multiplied, however often its weight changes. With weight 1 and
// half a turn waited, a member that gets weight 100 has waited for half of one turn, not for 50.
func (c *cyclic) stretch(t *turn, weight uint64) {
	if old := t.weight; old != weight {
		most := 2 * int64(round/old)
		ahead := min(max(int64(t.start-c.now), -most), most)
		t.start, t.left = c.now+uint64(ahead*int64(old)/int64(weight)), 0
	}
	t.weight = weight
}

// deadline is where the turn ends and the next one starts.
func (t *turn) deadline() uint64 { return t.start + (round+t.left)/t.weight }

// after says whether virtual time x is later than y.
func after(x, y uint64) bool { return int64(x-y) > 0 }

func clampWeight(w int) uint64 { return uint64(min(max(w, 1), maxWeight)) }
