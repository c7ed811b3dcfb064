package load

import (
	"testing"
	"time"
)

// change is one that enters (+1) or leaves (-1) at a time in seconds.
type change struct {
	at float64
	by int
}

func TestUsage(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		changes []change
		now     float64
		want    EchoStats
		used    float64
	}{
		"nobody came": {nil, 9, EchoStats{}, 0},
		"one place of two, always": {
			[]change{{10, 1}, {20, -1}}, 20,
			EchoStats{Served: 1, Most: 1, Busy: 10 * s, Asked: 10 * s}, 0.5,
		},
		"both places": {
			[]change{{0, 1}, {0, 1}, {4, -1}, {4, -1}}, 4,
			EchoStats{Served: 2, Most: 2, Busy: 8 * s, Asked: 4 * s}, 1,
		},
		"one after the other": { // 3 s one, 1 s nobody, 2 s one: 5 of 12
			[]change{{1, 1}, {4, -1}, {5, 1}, {7, -1}}, 7,
			EchoStats{Served: 2, Most: 1, Busy: 5 * s, Asked: 6 * s}, 5.0 / 12,
		},
		"2 s one, 1 s two, 1 s one": {
			[]change{{0, 1}, {2, 1}, {3, -1}, {4, -1}}, 4,
			EchoStats{Served: 2, Most: 2, Busy: 5 * s, Asked: 4 * s}, 5.0 / 8,
		},
		"the time before and after does not count": {
			[]change{{100, 1}, {100, 1}, {101, -1}, {101, -1}}, 500,
			EchoStats{Served: 2, Most: 2, Busy: 2 * s, Asked: 1 * s}, 1,
		},
		"what is open counts until now": {
			[]change{{0, 1}}, 8,
			EchoStats{Served: 1, Most: 1, Busy: 8 * s, Asked: 8 * s}, 0.5,
		},
		"an overload takes no place": {
			[]change{{0, 1}, {0, 1}, {1, 1}, {2, 1}, {3, -1}, {3, -1}}, 3,
			EchoStats{Served: 2, Most: 2, Overloads: 2, Busy: 6 * s, Asked: 3 * s}, 1,
		},
		"a place is free at once": {
			[]change{{0, 1}, {0, 1}, {1, -1}, {1, 1}, {2, -1}, {2, -1}}, 2,
			EchoStats{Served: 3, Most: 2, Busy: 4 * s, Asked: 2 * s}, 1,
		},
		"no time went by": {
			[]change{{3, 1}, {3, -1}}, 3,
			EchoStats{Served: 1, Most: 1}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := usage{EchoStats: EchoStats{Capacity: 2}}
			seconds := func(f float64) time.Duration { return time.Duration(f * float64(s)) }
			for _, e := range c.changes {
				if e.by > 0 {
					u.enter(seconds(e.at))
				} else {
					u.leave(seconds(e.at))
				}
			}
			c.want.Capacity = 2
			for range 2 { // to look changes nothing
				if got := u.at(seconds(c.now)); got != c.want || got.Utilisation() != c.used {
					t.Errorf("got %+v, used %v; want %+v, used %v", got, got.Utilisation(), c.want, c.used)
				}
			}
		})
	}
}

func TestEchoStatsString(t *testing.T) {
	s := EchoStats{Capacity: 20, Served: 4000, Most: 20, Overloads: 3, Busy: 199 * time.Second, Asked: 10*time.Second + 1}
	const want = "capacity 20: served 4000 connections, at most 20 at one time; overloads 3; used 99.50 % of the capacity in 10s"
	if got := s.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
