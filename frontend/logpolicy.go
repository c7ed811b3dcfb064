package frontend

import (
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"weir/backend/contain"
)

// SessionLines says which sessions have a line in the log.
type SessionLines uint8

// The choices.
const (
	LinesAsLevel SessionLines = iota // all, when the log's level is info or more
	LinesAll                         // all, whatever the level
	LinesFailed                      // those whose outcome is not Normal, whatever the level
	LinesNone
)

// SessionPolicy is what is written about sessions. A panic has its line in any case.
type SessionPolicy struct {
	Lines SessionLines
	// Sample keeps one in so many of the sessions that end normally. Less than 2: all of them.
	Sample int
	// Rate bounds the lines of a second. 0: no bound.
	Rate int
}

// SessionLog holds all frontends of a process to one policy.
//
// The line that counts is the last of a session, for it tells everything. The two before it, "serving
// connection" and "opened client connection", are for whoever watches (-v): they follow the log's level
// also where the last does not, and a session that was left out of the sample has neither. With
// LinesFailed nobody has them, for nobody can tell yet who will fail.
//
// A nil *SessionLog writes what the level of the frontend's log lets through.
type SessionLog struct {
	// Guard contains a panic of Tell, when a timer calls it. nil: nothing does.
	Guard *contain.Guard

	log     zerolog.Logger
	policy  atomic.Pointer[SessionPolicy]
	began   time.Time
	window  atomic.Uint64 // the second since began, and in the lower half its lines
	untold  atomic.Int64  // dropped since Tell
	dropped atomic.Uint64
}

// NewSessionLog returns one that writes to log.
func NewSessionLog(log zerolog.Logger, p SessionPolicy) *SessionLog {
	l := &SessionLog{log: log, began: time.Now()}
	l.Set(p)
	return l
}

// Set changes the policy, also in the midst of sessions.
func (l *SessionLog) Set(p SessionPolicy) { l.policy.Store(&p) }

// Dropped returns how many lines there were too many of.
func (l *SessionLog) Dropped() uint64 { return l.dropped.Load() }

// Tell logs how many lines were dropped since it last did, if any. It is called a second after the first
// of them; call it once more at the end.
func (l *SessionLog) Tell() {
	if n := l.untold.Swap(0); n > 0 {
		l.log.Warn().Int64("lines", n).Msg("lines of sessions were dropped: more than the rate of the log")
	}
}

// begun returns the event for a line in the course of a session; nil: there is none.
func (l *SessionLog) begun(log *zerolog.Logger, id uint64) *zerolog.Event {
	if l == nil {
		return log.Info()
	}
	p := l.policy.Load()
	if log.GetLevel() > zerolog.InfoLevel || p.Lines > LinesAll || !p.sampled(id) || !l.take(p.Rate) {
		return nil
	}
	return log.Info()
}

// ended returns the event for the last line of a session; nil: there is none.
func (l *SessionLog) ended(log *zerolog.Logger, id uint64, o Outcome) *zerolog.Event {
	if l == nil {
		return log.Info()
	}
	p := l.policy.Load()
	silent := p.Lines == LinesAsLevel && log.GetLevel() > zerolog.InfoLevel
	if silent || !p.wants(id, o) || !l.take(p.Rate) {
		return nil
	}
	if log.GetLevel() > zerolog.InfoLevel {
		loud := log.Level(zerolog.InfoLevel)
		log = &loud
	}
	return log.Info()
}

func (p *SessionPolicy) wants(id uint64, o Outcome) bool {
	switch {
	case p.Lines == LinesNone:
		return false
	case o != Normal:
		return true
	}
	return p.Lines != LinesFailed && p.sampled(id)
}

// sampled draws by the session's number, so that the first line of a session and its last agree without
// remembering. Every Nth number would not do: a client that comes every Nth time would always be the one,
// or never.
func (p *SessionPolicy) sampled(id uint64) bool {
	return p.Sample < 2 || mix(id)%uint64(p.Sample) == 0
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
// Generators", 2014): numbers that follow each other become as good as random.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// take says whether this second has room for a line, and counts it if so. It takes no lock.
func (l *SessionLog) take(most int) bool {
	if most == 0 {
		return true
	}
	second := uint64(time.Since(l.began) / time.Second)
	for {
		w := l.window.Load()
		second = max(second, w>>32) // somebody else may have read the clock later
		lines := w & (1<<32 - 1)
		if w>>32 != second {
			lines = 0
		}
		if lines >= uint64(most) {
			l.drop()
			return false
		}
		if l.window.CompareAndSwap(w, second<<32|(lines+1)) {
			return true
		}
	}
}

func (l *SessionLog) drop() {
	l.dropped.Add(1)
	if l.untold.Add(1) == 1 {
		time.AfterFunc(time.Second, func() { l.Guard.Do("telling of lines of sessions that were dropped", l.Tell) })
	}
}
