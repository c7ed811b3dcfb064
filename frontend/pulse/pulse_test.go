package pulse

import (
	"testing"
	"time"
)

func TestTimeWithoutABeatDoesNotCount(t *testing.T) {
	const ms = time.Millisecond
	type beat struct {
		every, at, ran time.Duration
		stopped        bool
	}
	for name, beats := range map[string][]beat{
		"on time":                     {{10 * ms, 10 * ms, 10 * ms, false}, {10 * ms, 20 * ms, 20 * ms, false}},
		"a little late":               {{10 * ms, 10 * ms, 10 * ms, false}, {10 * ms, 30 * ms, 30 * ms, false}},
		"stopped":                     {{10 * ms, 10 * ms, 10 * ms, false}, {10 * ms, 3010 * ms, 10 * ms, true}, {10 * ms, 3020 * ms, 20 * ms, false}},
		"stopped twice":               {{10 * ms, 50 * ms, 0, true}, {10 * ms, 100 * ms, 0, true}, {10 * ms, 105 * ms, 5 * ms, false}},
		"no beat expected":            {{0, time.Hour, time.Hour, false}, {0, 3 * time.Hour, 3 * time.Hour, false}},
		"expected from a time on":     {{0, time.Hour, time.Hour, false}, {10 * ms, time.Hour + 15*ms, time.Hour + 15*ms, false}},
		"woken more often than asked": {{10 * ms, 1 * ms, 1 * ms, false}, {10 * ms, 1 * ms, 1 * ms, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var p Pulse
			for i, b := range beats {
				p.SetEvery(b.every)
				if stopped := p.Beat(b.at); stopped != b.stopped || p.Ran() != b.ran {
					t.Errorf("beat %d at %v: stopped %v, ran %v; want %v, %v", i, b.at, stopped, p.Ran(), b.stopped, b.ran)
				}
			}
		})
	}
}
