package frontend

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

const (
	second = time.Second
	minute = time.Minute
)

func TestSilenceLimit(t *testing.T) {
	for _, tc := range []struct {
		idle, half time.Duration
		finished   bool
		limit      time.Duration
		why        Outcome
	}{
		{0, 0, false, 0, IdleTimeout},
		{minute, second, false, minute, IdleTimeout},
		{minute, second, true, second, HalfCloseTimeout},
		{second, minute, true, second, IdleTimeout},
		{minute, minute, true, minute, HalfCloseTimeout},
		{minute, 0, true, minute, IdleTimeout},
		{0, minute, true, minute, HalfCloseTimeout},
		{0, minute, false, 0, IdleTimeout},
	} {
		r := Rules{IdleTimeout: tc.idle, HalfCloseTimeout: tc.half}
		if limit, why := r.SilenceLimit(tc.finished); limit != tc.limit || limit > 0 && why != tc.why {
			t.Errorf("idle %v, half-close %v, finished %v: %v %v, want %v %v", tc.idle, tc.half, tc.finished, limit, why, tc.limit, tc.why)
		}
	}
}

// The jitter of a session is drawn once: whatever the rules say later, its share of it stays.
func TestSessionEnd(t *testing.T) {
	accepted := time.Unix(1000, 0)
	for _, tc := range []struct {
		limit  time.Duration
		jitter int
		share  uint8
		after  time.Duration
	}{
		{minute, 0, 0, minute},
		{minute, 0, JitterSteps - 1, minute},
		{160 * second, 50, 0, 160 * second},
		{160 * second, 50, 4, 140 * second},
		{160 * second, 100, JitterSteps - 1, 10 * second},
		{1<<63 - 1, 100, 0, 1<<63 - 1},
		{1, 100, JitterSteps - 1, 1},
	} {
		r := Rules{SessionTimeout: tc.limit, SessionJitter: tc.jitter}
		if got := r.sessionEnd(accepted, tc.share).Sub(accepted); got != tc.after {
			t.Errorf("limit %v, jitter %d, share %d: ends after %v, want %v", tc.limit, tc.jitter, tc.share, got, tc.after)
		}
	}
	if got := new(Rules).sessionEnd(accepted, 3); !got.IsZero() {
		t.Errorf("without a limit it ends at %v", got)
	}
}

func TestSilence(t *testing.T) {
	type look struct {
		at    time.Duration
		acked uint64
		over  bool
		again time.Duration
	}
	for name, looks := range map[string][]look{
		"silent":                {{1 * second, 5, false, 1 * second}, {2 * second, 5, false, 1 * second}, {3 * second, 5, false, 1 * second}, {4 * second, 5, true, 0}},
		"too early":             {{second / 4, 5, false, 3 * second / 4}, {1 * second, 9, false, 1 * second}},
		"acknowledges a little": {{1 * second, 5, false, 1 * second}, {2 * second, 6, false, 1 * second}, {3 * second, 6, false, 1 * second}, {5 * second, 6, false, 1 * second}, {6 * second, 6, true, 0}},
		"late looks":            {{3900 * time.Millisecond, 5, false, 100 * time.Millisecond}, {4 * second, 5, true, 0}},
		"one look, too late":    {{9 * second, 5, true, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var s Silence
			s.Begin(0)
			for _, l := range looks {
				if over, again := s.Look(l.at, 4*second, func() uint64 { return l.acked }); over != l.over || again != l.again {
					t.Errorf("at %v: over %v, again after %v; want %v, %v", l.at, over, again, l.over, l.again)
				}
			}
		})
	}
}

// What was acknowledged before a byte moved says nothing about the time after.
func TestSilenceBeginsAnew(t *testing.T) {
	var s Silence
	s.Begin(0)
	s.Look(3*second, 4*second, func() uint64 { return 1 })
	s.Begin(3 * second)
	if over, _ := s.Look(4*second, 4*second, func() uint64 { return 2 }); over {
		t.Error("over one second after a byte")
	}
	if over, _ := s.Look(7*second, 4*second, func() uint64 { return 2 }); !over {
		t.Error("not over 4 seconds after a byte")
	}
}

// Each row is looks at one socket, with dead_peer_timeout at 10s and a look every second.
func TestVigil(t *testing.T) {
	const limit = 10 * second
	type look struct {
		Line
		gone bool
	}
	idle := func(sinceAck time.Duration) look { return look{Line: Line{SinceAck: sinceAck}} }
	flying := func(resent uint8, sinceAck time.Duration) look {
		return look{Line: Line{Unacked: 3, Resent: resent, SinceAck: sinceAck}}
	}
	closed := func(probes uint8, sinceAck time.Duration) look {
		return look{Line: Line{NotSent: 9, Probes: probes, SinceAck: sinceAck}}
	}
	gone := func(l look) look { l.gone = true; return l }
	repeat := func(n int, each func(i int) look) (all []look) {
		for i := range n {
			all = append(all, each(i))
		}
		return all
	}
	for name, looks := range map[string][]look{
		"idle for an hour": repeat(30, func(i int) look { return idle(time.Duration(i) * 10 * minute) }),
		"gone with data on its way": append(repeat(9, func(i int) look { return flying(uint8(i), time.Duration(i+1)*second) }),
			gone(flying(8, 10*second))),
		"gone after an hour in which nothing was said": append(append([]look{idle(60 * minute)},
			repeat(9, func(i int) look { return flying(uint8(i), 60*minute+time.Duration(i)*second) })...), gone(flying(8, 60*minute+9*second))),
		"answers each time": repeat(30, func(i int) look { return flying(1, 3*second/10) }),
		"answers late":      repeat(30, func(i int) look { return flying(3, time.Duration(i%8)*second) }),
		"never asked twice": repeat(30, func(i int) look { return flying(1, time.Duration(i)*second) }),
		"window closed, answers every probe, which come ever more rarely": repeat(60, func(i int) look { return closed(0, time.Duration(i)*second) }),
		"window closed, one probe unanswered":                             repeat(30, func(i int) look { return closed(1, time.Duration(i)*second) }),
		"window closed, gone": append(repeat(9, func(i int) look { return closed(uint8(1+i/4), time.Duration(i+3)*second) }),
			gone(closed(3, 12*second))),
		"window closed, a probe lost now and then": repeat(60, func(i int) look { return closed(uint8(i/4%2), time.Duration(i%8)*second) }),
	} {
		t.Run(name, func(t *testing.T) {
			var v Vigil
			for i, l := range looks {
				if got := v.Look(time.Duration(i)*second, l.Line, limit); got != l.gone {
					t.Fatalf("look %d at %+v: gone %v, want %v", i, l.Line, got, l.gone)
				}
			}
		})
	}
}

func TestRTOMax(t *testing.T) {
	for _, tc := range []struct{ limit, want time.Duration }{
		{0, 0}, {second, second}, {2 * second, second}, {30 * second, 10 * second}, {5 * minute, 100 * second}, {6 * minute, 0}, {24 * time.Hour, 0},
	} {
		if got := (&Rules{DeadPeerTimeout: tc.limit}).RTOMax(); got != tc.want {
			t.Errorf("dead_peer_timeout %v: %v, want %v", tc.limit, got, tc.want)
		}
	}
}

func TestHowOftenToLook(t *testing.T) {
	for _, tc := range []struct {
		rules              Rules
		beat, sweep, vigil time.Duration
	}{
		{Rules{}, 0, 0, 0},
		{Rules{IdleTimeout: second}, 50 * time.Millisecond, 25 * time.Millisecond, 0},
		{Rules{IdleTimeout: time.Hour, HalfCloseTimeout: 5 * minute}, 15 * second, 7500 * time.Millisecond, 0},
		{Rules{SessionTimeout: second}, 0, 25 * time.Millisecond, 0},
		{Rules{DeadPeerTimeout: 30 * second}, 0, 3 * second, 3 * second},
		{Rules{IdleTimeout: 10 * time.Millisecond}, shortestSweep, shortestSweep, 0},
	} {
		if beat, sweep, vigil := tc.rules.Beat(), tc.rules.sweepEvery(), tc.rules.VigilEvery(); beat != tc.beat || sweep != tc.sweep || vigil != tc.vigil {
			t.Errorf("%+v: beat %v, sweep %v, vigil %v; want %v, %v, %v", tc.rules.times(), beat, sweep, vigil, tc.beat, tc.sweep, tc.vigil)
		}
	}
}

func TestGoneErrorIsATimeout(t *testing.T) {
	err := error(GoneError(30 * second))
	if !errors.Is(err, syscall.ETIMEDOUT) || err.Error() != "data unacknowledged for 30s: connection timed out" {
		t.Errorf("%v", err)
	}
}
