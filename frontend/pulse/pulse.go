// Package pulse tells the time in which a process ran from the time in which it was stopped: by a signal (SIGSTOP), a
// frozen container, a virtual machine that is paused, or a machine too busy to let it run. A peer that weir could not
// hear meanwhile was not silent.
//
// Whoever waits wakes at least once in each beat. When it wakes much later than that it was stopped. It reads no clock:
// it is told the time. Start with [Pulse.Beat].
package pulse

import "time"

// lateBeats is how many beats may pass without a wake-up before they count as missed.
const lateBeats = 2

// Pulse is a clock that stands still while the process is stopped. It belongs to one goroutine. The zero Pulse expects
// no beat, and all time counts.
type Pulse struct {
	every        time.Duration
	last, missed time.Duration // on the clock that Beat is given
}

// Every returns how long may pass between two beats. 0: any time.
func (p *Pulse) Every() time.Duration { return p.every }

// SetEvery says how long may pass from the last beat to the next. 0: any time, all of which counts.
func (p *Pulse) SetEvery(d time.Duration) { p.every = d }

// Beat says that the process runs, at that time of a clock that goes on while it is stopped. It reports whether it was
// stopped since the last beat; then none of that time counts.
func (p *Pulse) Beat(now time.Duration) (stopped bool) {
	gap := now - p.last
	p.last = now
	if stopped = p.every > 0 && gap > lateBeats*p.every; stopped {
		p.missed += gap
	}
	return stopped
}

// Ran returns how much time had counted at the last beat.
func (p *Pulse) Ran() time.Duration { return p.last - p.missed }
