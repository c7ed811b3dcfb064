package reactor

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend"
	"weir/frontend/reactor/loop"
)

const (
	// A loop tells of so many sessions at a time, which takes 15 µs, and stops when it has taken that long:
	// with TCP_INFO that is after some 100 sessions.
	atATime  = 256
	tellTime = 250 * time.Microsecond
	// killAtATime is how many sessions a loop ends at a time: each takes some 10 µs.
	killAtATime = 16
)

// What is told to who asks when the loops have stopped, or when the look itself went wrong.
var (
	errStopped  = errors.New("inspect sessions: the reactor has stopped")
	errPanicked = errors.New("inspect sessions: it panicked, see the log")
)

// Sessions calls visit for every session that lives throughout, once, and perhaps for some that begin or end
// meanwhile; on each core the newest come first. It ends when visit says false, or with the error of ctx. The
// Info is visit's only until it returns.
//
// visit runs here, not on a loop: the loops write down a few sessions at a time, each when its turn comes, and
// see to their traffic in between. So visit may take its time.
func (s *Server) Sessions(ctx context.Context, o frontend.Inspect, visit func(*frontend.Info) bool) error {
	for _, p := range s.ports {
		w := p.newWalk(o)
		defer w.leave()
		for more := true; more; {
			var err error
			if more, err = w.next(ctx); err != nil {
				return err
			}
			for i := range w.infos {
				if !visit(&w.infos[i]) {
					return nil
				}
			}
		}
	}
	return nil
}

// Kill cuts the sessions that match short, and tells how many. Those that begin meanwhile may escape. match
// runs here, not on a loop.
func (s *Server) Kill(ctx context.Context, match func(*frontend.Info) bool, why frontend.Outcome) (n int, err error) {
	for _, p := range s.ports {
		w := p.newWalk(frontend.Inspect{})
		defer w.leave()
		for more := true; more; {
			if more, err = w.next(ctx); err != nil {
				return n, err
			}
			killed, err := w.kill(ctx, w.matching(match), why)
			n += killed
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// walk is a way through the sessions of a port. Between two steps, which the loop makes, all of it but the
// cursor belongs to who asks.
type walk struct {
	port     *port
	o        frontend.Inspect
	at       cursor
	entered  bool
	more     bool
	infos    []frontend.Info
	sessions []*session // that infos are about; by now they may be others
	tcp      unix.TCPInfo
	done     chan bool // whether a step returned
}

func (p *port) newWalk(o frontend.Inspect) *walk {
	return &walk{port: p, o: o, infos: make([]frontend.Info, 0, atATime), done: make(chan bool, 1)}
}

// next has the loop make one step, and says whether there may be more.
func (w *walk) next(ctx context.Context) (more bool, err error) {
	if err := w.on(ctx, w.step); err != nil {
		return false, err // the step may still be made
	}
	return w.more, nil
}

// on has f run by the loop, and waits for that. After an error it may still run.
func (w *walk) on(ctx context.Context, f func()) error {
	w.port.Post(func() {
		returned := false
		defer func() { w.done <- returned }()
		f()
		returned = true
	})
	select {
	case returned := <-w.done:
		if !returned {
			return errPanicked
		}
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-w.port.reactor.over:
		return errStopped
	}
}

// leave takes the cursor out.
func (w *walk) leave() { w.port.Post(func() { w.port.forget(&w.at) }) }

// step writes down the next sessions, on the loop.
func (w *walk) step() {
	p := w.port
	if !w.entered {
		w.entered, w.at.next = true, p.sessions
		p.cursors = append(p.cursors, &w.at)
	}
	w.infos, w.sessions = w.infos[:0], w.sessions[:0]
	for began := time.Now(); w.at.next != nil && len(w.infos) < atATime; {
		s := w.at.next
		w.at.next = s.next
		w.infos = w.infos[:len(w.infos)+1]
		s.info(&w.infos[len(w.infos)-1], w.o, &w.tcp)
		w.sessions = append(w.sessions, s)
		if len(w.infos)%16 == 0 && time.Since(began) > tellTime {
			break
		}
	}
	w.more = w.at.next != nil
}

// victim is a session that is to be killed, if it is still the one of that number.
type victim struct {
	session *session
	id      uint64
}

// matching returns those of the last step that match.
func (w *walk) matching(match func(*frontend.Info) bool) (list []victim) {
	for i := range w.infos {
		id := w.infos[i].ID
		if match(&w.infos[i]) {
			list = append(list, victim{w.sessions[i], id})
		}
	}
	return list
}

// kill ends the sessions, a few at a time.
func (w *walk) kill(ctx context.Context, list []victim, why frontend.Outcome) (n int, err error) {
	for len(list) > 0 && err == nil {
		few, killed := list[:min(len(list), killAtATime)], 0
		list = list[len(few):]
		err = w.on(ctx, func() {
			for _, v := range few {
				if v.kill(why) {
					killed++
				}
			}
		})
		if err != nil {
			break // killed may still change
		}
		n += killed
	}
	return n, err
}

func (v victim) kill(why frontend.Outcome) bool {
	s := v.session
	if s.ID() != v.id || s.state == ended {
		return false
	}
	s.cutAlone(why)
	return true
}

// info writes down what is known of the session, on its loop.
func (s *session) info(i *frontend.Info, o frontend.Inspect, scratch *unix.TCPInfo) {
	s.Describe(i)
	i.In(s.stage(), time.Now())
	i.BytesUp, i.BytesDown = s.up.moved, s.down.moved
	if s.attempt == nil {
		i.Idle = s.port.Ran() - s.silence.Since
	}
	if o.TCP {
		i.ClientTCP, i.BackendTCP = tcpOf(&s.client, scratch), tcpOf(&s.server, scratch)
	}
}

func tcpOf(d *side, scratch *unix.TCPInfo) frontend.TCP {
	if d.fd < 0 || loop.TCPInfo(int(d.fd), scratch) != 0 {
		return frontend.TCP{}
	}
	return frontend.TCPOf(scratch)
}

// stage is phase in words.
func (s *session) stage() string {
	switch s.state {
	case queued:
		return frontend.PhaseQueued
	case choosing, connecting:
		return frontend.PhaseConnecting
	case relaying:
		if s.up.eof || s.down.eof {
			return frontend.PhaseHalfClosed
		}
		return frontend.PhaseRelaying
	}
	if s.attempt != nil {
		return frontend.PhaseRefusing
	}
	return frontend.PhaseClosing
}

// cursor is how far a walk has come. It moves on when the session it is at leaves, so that no other is missed.
// Those that come are put before the first, where it does not look.
type cursor struct{ next *session }

// pass moves the cursors on that are at s, which leaves.
func (p *port) pass(s *session) {
	for _, c := range p.cursors {
		if c.next == s {
			c.next = s.next
		}
	}
}

// forget takes a cursor out, if it is in.
func (p *port) forget(at *cursor) {
	for i, c := range p.cursors {
		if c == at {
			p.cursors = append(p.cursors[:i], p.cursors[i+1:]...)
			return
		}
	}
}
