package frontend

import (
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"weir/backend/contain"
)

// panicLines is how many panics have a line in each second: something that panics at once, again and again, is not to
// fill the disk with its stack. All are counted.
const panicLines = 5

// NewGuard returns a guard that logs what it contains.
func NewGuard(log zerolog.Logger) *contain.Guard {
	return contain.New((&panicLog{log: log}).report)
}

// panicLog writes the lines of panics.
type panicLog struct {
	log zerolog.Logger

	mu     sync.Mutex
	second time.Time // in which the last line was written
	lines  int       // of that second
	left   int       // out, since the last line
}

func (l *panicLog) report(p contain.Panic) {
	left, ok := l.take(time.Now())
	if !ok {
		return
	}
	e := l.log.Error().Str("what", p.What).Str("panic", fmt.Sprint(p.Value)).Bytes("stack", p.Stack)
	if left > 0 {
		e.Int("left_out", left)
	}
	e.Msg("a panic was contained: all else goes on")
}

// take says whether there is room for a line now, and how many had none since the last.
func (l *panicLog) take(now time.Time) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	if l.lines == panicLines {
		l.left++
		return 0, false
	}
	left = l.left
	l.lines, l.left = l.lines+1, 0
	return left, true
}
