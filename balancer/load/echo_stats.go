package load

import (
	"fmt"
	"time"
)

// EchoStats tells what an echo server with a capacity went through.
type EchoStats struct {
	// Capacity is how many connections it serves at one time. 0: no limit, and nothing else here is counted.
	Capacity int
	// Served counts the connections that it took in, those that are still open included.
	Served uint64
	// Most is the largest number of them that were open at one time. It is never above Capacity.
	Most int
	// Overloads counts the connections beyond Capacity, which it reset.
	Overloads uint64
	// Busy is the time that connections were open, added up: 20 that last a second are 20 s.
	Busy time.Duration
	// Asked is the time between the first connection and the last change: another one that came, was
	// reset or ended. While one is open that is now.
	Asked time.Duration
}

// Utilisation is the part of the capacity that was used in the time from the first connection to the last:
// 0 to 1, and 0 if no time went by.
func (s EchoStats) Utilisation() float64 {
	if s.Asked <= 0 {
		return 0
	}
	return float64(s.Busy) / float64(s.Asked) / float64(s.Capacity)
}

// String is one line for people, without its end.
func (s EchoStats) String() string {
	return fmt.Sprintf("capacity %d: served %d connections, at most %d at one time; overloads %d; used %.2f %% of the capacity in %v",
		s.Capacity, s.Served, s.Most, s.Overloads, 100*s.Utilisation(), s.Asked.Round(time.Millisecond))
}

// usage adds up the stats. It is told the time, which never goes back.
type usage struct {
	EchoStats
	active int
	last   time.Duration // of the last change
}

// enter counts one that comes, and reports whether there is room for it.
func (u *usage) enter(now time.Duration) bool {
	u.advance(now)
	if u.active == u.Capacity {
		u.Overloads++
		return false
	}
	u.active++
	u.Served++
	u.Most = max(u.Most, u.active)
	return true
}

// leave counts one that entered and ends.
func (u *usage) leave(now time.Duration) {
	u.advance(now)
	u.active--
}

func (u *usage) advance(now time.Duration) {
	if u.Served > 0 { // the first one starts the time
		u.Asked += now - u.last
		u.Busy += time.Duration(u.active) * (now - u.last)
	}
	u.last = now
}

// at returns the stats as they are now.
func (u usage) at(now time.Duration) EchoStats {
	if u.active > 0 {
		u.advance(now)
	}
	return u.EchoStats
}
