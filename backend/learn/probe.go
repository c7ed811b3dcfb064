package learn

import (
	"math"
	"time"
)

const (
	probeShare = 0.75             // of the limit
	firstWait  = 16               // part of Options.Recheck
	probeDrain = 2 * time.Second  // how long, at most, sessions may need to make room for a probe
	probeMost  = 10 * time.Second // how long a probe may take
)

// probe is a measurement of the floor with a lowered limit.
type probe struct {
	on       bool
	before   float64 // the limit
	deadline time.Duration
}

// maybeProbe begins a probe if the floor was long not measured, there is anything below the limit, and
// sessions end fast enough to get there soon.
func (l *Limit) maybeProbe() {
	if l.rise.on || l.now-l.measured < l.wait || !l.drains() || !l.canLower() {
		return
	}
	l.probe = probe{on: true, before: l.limit, deadline: l.now + probeMost}
	for k := range l.kinds {
		t := &l.kinds[k]
		if t.busy.n >= minSamples {
			t.top = t.busy.point()
		}
		t.first, t.doubted = t.top, false
	}
	l.lower()
}

// drains goes by how many sessions the window saw in its time.
func (l *Limit) drains() bool {
	began := 0
	for k := range l.kinds {
		began = max(began, l.kinds[k].busy.count())
	}
	return (1-probeShare)*l.limit*float64(l.now-l.since) <= float64(began)*float64(probeDrain)
}

func (l *Limit) target() float64 { return max(l.limit*probeShare, l.min) }

func (l *Limit) canLower() bool { return int(l.target()) < l.Limit() }

func (l *Limit) lower() {
	l.limit = l.target()
	l.settling = settling{draining: true, ceiling: l.Limit()}
}

// lesson is what a window of a probe taught.
type lesson struct {
	moved  bool // the floor is another one
	raised bool // by more than an error: the limit has come down for nothing
	deeper bool // less load may show a lower one still
}

// concludeProbe goes deeper as long as that makes latency fall with the load.
func (l *Limit) concludeProbe() {
	var all lesson
	for k := range l.kinds {
		if t := &l.kinds[k]; t.busy.n >= minSamples {
			one := t.learn(t.busy.point())
			all = lesson{all.moved || one.moved, all.raised || one.raised, all.deeper || one.deeper}
		}
	}
	if l.wait = min(2*l.wait, l.recheck); all.moved {
		l.wait = l.recheck / firstWait
	}
	if all.deeper && l.canLower() {
		l.lower()
		return
	}
	l.resume()
	if all.raised { // how far it should go back up is not known
		l.rise = rise{on: true}
	}
}

// learn takes the floor from a window of a probe. Where latency has risen it learns nothing: something
// else has happened.
func (t *track) learn(w point) lesson {
	before, flat, was := t.floor, t.flat(w), t.top
	moved := math.Abs(w.level-before) >= clearly/2
	t.top = w
	switch {
	case w.level > was.level+clearly:
	case flat && !moved:
		t.approach(w.level)
	case flat || w.level < before:
		t.floor = w.level
	}
	return lesson{moved, t.floor > before+clearly, !flat && t.floor < before}
}

// resume takes the step that the load before the probe and the new floor lead to.
func (l *Limit) resume() {
	l.endProbe()
	next, excess := l.limit, 0.0
	for k := range l.kinds {
		if t := &l.kinds[k]; t.known && t.first.load > 0 {
			t.top = t.first
			excess = max(excess, t.first.level-t.floor)
			next = min(next, l.step(t.first.load, t.first.level-t.floor))
		}
	}
	if l.rise.check {
		l.rise = rise{on: excess < clearly/2, from: l.limit}
	}
	l.limit = min(max(next, l.min), l.max)
}

// endProbe brings the limit back.
func (l *Limit) endProbe() {
	l.limit = l.probe.before
	l.measured = l.now
	l.probe = probe{}
	l.settling = settling{}
	l.restart()
}
