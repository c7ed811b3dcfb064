package load

import (
	"fmt"
	"time"
)

// progress tells how a run goes, on one line that is written over.
type progress struct {
	run  *run
	done int64 // when last told
	at   time.Duration
	told bool
}

func (p *progress) tell(t *tally) {
	now := p.run.now() - time.Duration(p.run.begun.Load())
	seconds := (now - p.at).Seconds()
	amount := t.done
	unit := "/s"
	if p.run.Mode == Stream {
		amount, unit = t.received, " B/s"
	}
	fmt.Fprintf(p.run.Progress, "\r\x1b[K%4.0fs  %d  %.0f%s  p50 %v  p99 %v  errors %d", now.Seconds(), t.done,
		float64(amount-p.done)/seconds, unit, quantile(t, 50), quantile(t, 99), t.failed())
	p.done, p.at, p.told = amount, now, true
}

// end leaves the line to what comes next.
func (p *progress) end() {
	if p.told {
		fmt.Fprint(p.run.Progress, "\r\x1b[K")
	}
}

func quantile(t *tally, q float64) time.Duration {
	return time.Duration(t.latency.ValueAtQuantile(q)).Round(time.Microsecond)
}
