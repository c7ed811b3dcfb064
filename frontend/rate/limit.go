package rate

import (
	"math"
	"time"
)

// limit is the generic cell rate algorithm as virtual scheduling (ITU-T I.371, Annex A). It decides
// as a bucket does that holds burst tokens and gets one every interval, but keeps one number: the
// theoretical arrival time (TAT), at which the bucket is full again. A session may begin unless that
// lies more than tolerance ahead, and then moves it on by interval.
//
// With 10 a second and a burst of 3, interval is 100 ms and tolerance 200 ms:
//
//	now    0    0    0    0    50   100  100  1000
//	TAT    -    100  200  300  300  300  400  400
//	begins yes  yes  yes  no   no   yes  no   yes
//
// A refusal costs nothing: who knocks all the time still gets in at the rate.
type limit struct {
	interval  int64 // ns; 0: no limit
	tolerance int64 // ns: (burst-1) times interval
}

// full is the TAT of a bucket that was never used.
const full = math.MinInt64

// longest bounds interval and tolerance to 73 years of nanoseconds, so that no sum overflows.
const longest = 1 << 61

// newLimit gives rate sessions a second and burst at once; less than 1 is 1. A rate that is not
// positive means no limit. The interval is in whole nanoseconds, so a rate of up to a million a second is
// met to 1 in 2,000, and one above a billion is a billion.
func newLimit(rate float64, burst int) limit {
	if !(rate > 0) {
		return limit{}
	}
	interval := min(max(1, math.Round(float64(time.Second)/rate)), longest)
	tolerance := min(float64(max(burst, 1)-1)*interval, longest)
	return limit{int64(interval), int64(tolerance)}
}

// take returns the TAT after a session that begins now, or ok false if it may not.
func (l limit) take(tat, now int64) (next int64, ok bool) {
	if l.interval == 0 {
		return tat, true
	}
	tat = max(tat, now)
	if tat-now > l.tolerance {
		return tat, false
	}
	return tat + l.interval, true
}
