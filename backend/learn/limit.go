package learn

import (
	"time"
)

// Options bound a limit. Values out of their range count as the nearest one within it.
type Options struct {
	// Min and Max are the bounds, both included: 1 ≤ Min ≤ Max.
	Min, Max int
	// Start is the limit before anything is known. 0: Min. It grows by a quarter a window: from 1 to 200
	// in about 25 windows.
	Start int
	// Recheck is how long a floor is believed while the limit is in use. Then it is measured again with a
	// quarter less than the limit. A lower value finds a floor that was taken for too high sooner, and
	// costs more: a probe takes a quarter of the capacity for as long as it takes to serve up to 1000
	// sessions. 0: a minute, by which that is about 1 % for a backend of 200 sessions a second.
	// The first ones come sooner, after a sixteenth of it, an eighth, and so on.
	Recheck time.Duration
}

const defaultRecheck = time.Minute

// Kind says what was timed. Each kind has a floor of its own: to connect takes 0.1 ms on a LAN, to answer
// takes a database 20 ms.
type Kind uint8

// The kinds of samples.
const (
	Connect   Kind = iota // from dialling to connected
	FirstByte             // from when the backend had something to answer to the first byte it sent
	numKinds
)

// Sample is one time that one session took.
type Sample struct {
	Kind    Kind
	Latency time.Duration // below 1 ns counts as 1 ns
	// Active is how many sessions the backend had when this one began, this one included. Counted later,
	// a limit just lowered would go with a latency from before, and be lowered once more for it.
	Active int
	// Now is when the sample was taken, since an arbitrary start, on a clock that does not go back.
	Now time.Duration
	// Failed says that the session came to nothing: refused, timed out, closed without a byte. Then Latency
	// does not matter: it counts as 7 floors, since a refusal comes fast, and teaches nothing of the floor.
	Failed bool
}

// Limit is the learned limit of one backend. It is not safe for concurrent use, and no method allocates.
type Limit struct {
	min, max float64
	limit    float64
	kinds    [numKinds]track
	now      time.Duration
	since    time.Duration // when the window began
	recheck  time.Duration
	wait     time.Duration // until the next probe: up to recheck, twice as long with each that changes nothing
	measured time.Duration // when a floor was last measured with less load than the limit
	rise     rise
	settling settling
	probe    probe
}

// New returns a limit that knows nothing yet.
func New(o Options) Limit {
	o.Min = max(o.Min, 1)
	o.Max = max(o.Max, o.Min)
	if o.Recheck <= 0 {
		o.Recheck = defaultRecheck
	}
	return Limit{
		min:     float64(o.Min),
		max:     float64(o.Max),
		limit:   float64(min(max(o.Start, o.Min), o.Max)),
		recheck: o.Recheck,
		wait:    o.Recheck / firstWait,
		rise:    rise{on: true},
	}
}

// Limit is how many sessions the backend may have now.
func (l *Limit) Limit() int { return int(l.limit) }

// Floor is what that kind of latency is taken to be without load, a geometric mean. 0: not known yet.
func (l *Limit) Floor(k Kind) time.Duration {
	if !l.kinds[k].known {
		return 0
	}
	return span(l.kinds[k].floor)
}

// Observe takes a sample and says whether Limit has changed.
func (l *Limit) Observe(s Sample) (changed bool) {
	before := l.Limit()
	t := &l.kinds[s.Kind]
	s.Active = max(s.Active, 1)
	l.skip(t, s.Now)
	l.pass(s.Now)
	t.meet(&s)
	switch {
	case l.settling.ignores(&s, l.now, t):
		l.since = l.now
	case float64(s.Active) < l.limit/2 && !l.probe.on:
		l.observeIdle(t, &s)
	default:
		t.busy.add(t, &s, float64(s.Active) >= inUse*float64(l.Limit()))
		if l.complete(t) {
			l.conclude()
		}
	}
	return l.Limit() != before
}

// Settle does what time alone has decided by now, and says whether Limit has changed: a probe that finds
// too few sessions to learn from ends. Observe does the same, but is not called while no session can begin.
func (l *Limit) Settle(now time.Duration) (changed bool) {
	before := l.Limit()
	l.pass(now)
	return l.Limit() != before
}

// Due is when Settle will change the limit if nothing else does. 0: never, as things are.
func (l *Limit) Due() time.Duration {
	if !l.probe.on {
		return 0
	}
	return l.probe.deadline
}

func (l *Limit) pass(now time.Duration) {
	l.now = max(l.now, now)
	if l.probe.on && l.now >= l.probe.deadline {
		l.endProbe()
	}
}

// skip begins a new window after a silence: what came before it goes with nothing that comes after, and
// of a crowd that begins at once the short sessions end first.
func (l *Limit) skip(t *track, now time.Duration) {
	if silence := now - l.now; silence > maxWindow && silence > minWindow*span(t.floor) {
		l.restart()
		l.since = now
	}
}

// restart forgets the samples of the window, and begins another.
func (l *Limit) restart() {
	for k := range l.kinds {
		l.kinds[k].busy = tally{}
	}
	l.since = l.now
}

// observeIdle is for a sample from less than half the limit: as good as a probe, and for nothing.
func (l *Limit) observeIdle(t *track, s *Sample) {
	t.idle.add(t, s, false)
	if t.idle.n < minSamples || !t.idle.enough(minError) {
		return
	}
	t.approach(t.idle.level())
	t.idle = tally{}
	l.measured = l.now
}

// complete says that the window has come to its end, now that t had a sample.
func (l *Limit) complete(t *track) bool {
	if t.busy.count() < minSamples {
		return false
	}
	lasted := l.now - l.since
	if lasted < minWindow*span(t.floor) {
		return false
	}
	return lasted >= maxWindow || l.enough()
}

func (l *Limit) enough() bool {
	e := l.tolerableError()
	for k := range l.kinds {
		if t := &l.kinds[k]; t.seen && !t.busy.enough(e) {
			return false
		}
	}
	return true
}

// conclude draws the conclusion from a window, and begins the next one. A kind that had too few samples
// keeps them, unless the load they went with is gone.
func (l *Limit) conclude() {
	rising := l.rise.on
	switch {
	case l.probe.on:
		l.concludeProbe()
	default:
		l.adjust()
		if !rising { // the windows of the fast growth are too rough to compare with
			l.maybeProbe()
		}
	}
	for k := range l.kinds {
		if t := &l.kinds[k]; t.busy.count() >= minSamples || l.settling.draining {
			t.busy = tally{}
		}
	}
	l.since = l.now
}
