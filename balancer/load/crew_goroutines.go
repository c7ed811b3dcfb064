package load

import (
	"context"
	"net"
	"sync"
	"time"
)

// goroutines is the crew for systems without event loops: a goroutine for each connection, and with
// [Stream] another one that sends.
type goroutines struct {
	*run
	schedule *schedule // of the open loop

	mu       sync.Mutex // guards what follows, and the schedule
	all      tallies
	lines    []*line
	source   int
	more     bool // there may be more starts
	working  sync.WaitGroup
	idle     chan struct{}
	over     chan struct{} // closed by finish
	overOnce sync.Once
}

// line is one goroutine's connection at a time.
type line struct {
	crew    *goroutines
	conn    net.Conn // owned; nil: none
	greeted bool
	name    greeting
	base    int64
	buf     []byte
	piece   piece
}

// piece is what is counted before it is reported.
type piece struct {
	started, done, sent, received int64
	took                          time.Duration // 0: it has not ended well
	failures                      []string
	names                         []string
}

func newGoroutines(r *run) *goroutines {
	g := &goroutines{
		run: r, schedule: newSchedule(&r.Options), all: newTallies(len(r.Phases)), more: true,
		idle: make(chan struct{}), over: make(chan struct{}),
	}
	for i := range r.Concurrency {
		g.lines = append(g.lines, &line{crew: g, base: int64(i), buf: make([]byte, chunk)})
	}
	return g
}

func (g *goroutines) prepare(ctx context.Context) {
	if g.Mode == Connect || g.Mode == Hold && g.open() {
		return
	}
	gate := make(chan struct{}, 64) // fewer at one time than an accept queue holds
	var opening sync.WaitGroup
	for _, l := range g.lines {
		opening.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			if ctx.Err() != nil {
				return
			}
			l.prepare(g.now())
		})
	}
	opening.Wait()
}

// prepare opens a lasting connection; one that is to be held makes its exchange.
func (l *line) prepare(from time.Duration) {
	if l.crew.Mode == Hold {
		l.work(from, 0)
		return
	}
	defer l.report(0)
	if err := l.dial(); err != nil {
		l.failed("connect", err)
		return
	}
	l.conn.SetDeadline(time.Now().Add(l.crew.Timeout))
	for !l.greeted {
		if _, err := l.read(0, 0); err != nil {
			l.failed("answer", err)
			return
		}
	}
	l.conn.SetDeadline(time.Time{})
}

func (g *goroutines) begin() <-chan struct{} {
	for _, l := range g.lines {
		switch {
		case g.Mode == Stream:
			g.working.Go(l.stream)
		case g.Mode == Hold && !g.open():
			g.working.Go(l.hold)
		case g.open():
			g.working.Go(l.paced)
		default:
			g.working.Go(l.unpaced)
		}
	}
	go func() {
		g.working.Wait()
		if g.Mode != Hold {
			close(g.idle)
		}
	}()
	return g.idle
}

func (g *goroutines) counts() tallies {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := newTallies(len(g.all))
	t.add(g.all)
	return t
}

func (g *goroutines) finish() {
	g.overOnce.Do(func() { close(g.over) })
	g.working.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now() - time.Duration(g.begun.Load())
	for g.open() && g.more {
		s, ok := g.schedule.next()
		if g.more = ok && s.at <= now; g.more {
			g.all[s.phase].late++
		}
	}
}

func (g *goroutines) close() {
	for _, l := range g.lines {
		l.hangUp()
	}
}

func (g *goroutines) isOver() bool {
	select {
	case <-g.over:
		return true
	default:
		return false
	}
}

// paced takes starts in turn with the others, and waits for each.
func (l *line) paced() {
	g := l.crew
	for !g.isOver() {
		g.mu.Lock()
		s, ok := g.schedule.next()
		g.more = ok
		g.mu.Unlock()
		if !ok {
			return
		}
		at := time.Duration(g.begun.Load()) + s.at
		if !g.waitUntil(at) {
			g.missed(at, s.phase)
			return
		}
		l.work(at, s.phase)
		if g.Mode == Hold {
			l.hold()
			return
		}
	}
}

// missed counts a start that was due and not made.
func (g *goroutines) missed(at time.Duration, phase int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at <= g.now() {
		g.all[phase].late++
	}
}

// waitUntil reports false when the run is over first.
func (g *goroutines) waitUntil(at time.Duration) bool {
	t := time.NewTimer(at - g.now())
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-g.over:
		return false
	}
}

func (l *line) unpaced() {
	g := l.crew
	for !g.isOver() && g.take() {
		if !l.work(g.now(), 0) {
			g.waitUntil(g.now() + errorPause)
		}
	}
}

// hold watches an idle connection until the run is over.
func (l *line) hold() {
	g := l.crew
	if l.conn == nil {
		return
	}
	defer l.report(0)
	l.conn.SetDeadline(time.Time{})
	watched := make(chan error, 1)
	c := l.conn
	go func() {
		n, err := c.Read(l.buf)
		if n > 0 {
			err = errMore
		}
		watched <- err
	}()
	select {
	case err := <-watched:
		l.failed("idle", err)
	case <-g.over:
		l.hangUp()
		<-watched
	}
}
