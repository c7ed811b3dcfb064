package reactor

import (
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend/reactor/loop"
)

const (
	// mostResting is how many sockets, at most, rest in each frontend on each loop. When sessions or
	// descriptors run out, none does.
	mostResting = 32
	// restTime is how long one rests at most: connections that come more slowly can do without.
	restTime = time.Second
	// restBytes is the most that a connection may have carried whose socket rests: the kernel gives one
	// that carries much larger buffers, and it keeps them.
	restBytes = 64 << 10
	// starvedFor is how long none rests after a descriptor was missing: longer than a listener pauses then.
	starvedFor = 2 * longestPause
)

// resting is a socket whose connection to a backend was ended by both sides. To connect it once more
// spares most of what a new socket costs, and what closing one does: in place of socket(2), epoll_ctl(2)
// and close(2) there is one call that dissolves the old association (connect(2) to AF_UNSPEC).
type resting struct {
	port    *port
	fd      int // owned; registered with key
	key     loop.Key
	family  int
	settled bool   // has the late options
	turn    uint64 // in which its connection ended
	timer   loop.Timer
}

// rest keeps the session's socket towards its backend if nothing about it will differ from a new one. It
// reports false if it is to be closed.
func (s *session) rest() bool {
	p, d := s.port, &s.server
	if d.fd < 0 || s.failure != nil || s.unix || s.bound || d.err || d.pressed || s.up.moved+s.down.moved > restBytes {
		return false
	}
	if len(p.resting) == mostResting || p.Now().UnixNano()-p.starved.Load() < int64(starvedFor) {
		return false
	}
	if !s.up.told {
		loop.ShutdownWrite(int(d.fd))
	}
	r := p.takeResting()
	r.port, r.fd, r.key, r.family, r.settled, r.turn = p, int(d.fd), d.key, int(s.family), s.settled, p.Turn()
	p.resting = append(p.resting, r)
	p.Hand(d.key, r)
	p.rest.Arm(&r.timer, r, restTime)
	d.fd = -1
	return true
}

// rouse takes the socket that has rested longest, ready to be connected. nil: there is none.
//
// One that came to rest in this turn will not do: events of its last connection may be among those that
// are still to be handled. Nor will one whose backend has not acknowledged our end: should that be lost,
// the kernel has to say it again.
func (p *port) rouse(family int) *resting {
	for i, r := range p.resting {
		if r.turn == p.Turn() {
			break // as are those behind it
		}
		if r.family != family || !loop.Disconnected(r.fd) {
			continue
		}
		p.forgetResting(i)
		if loop.Disconnect(r.fd) == 0 {
			return r
		}
		r.close()
		break
	}
	return nil
}

// starve has no socket rest for a while: a descriptor is missing.
func (p *port) starve() {
	p.starved.Store(p.Now().UnixNano())
	p.closeResting()
}

// forgetResting takes the i-th out of the list, which stays in the order of coming to rest.
func (p *port) forgetResting(i int) {
	p.resting[i].timer.Stop()
	p.resting = append(p.resting[:i], p.resting[i+1:]...)
}

// closeResting closes every socket that rests.
func (p *port) closeResting() {
	for len(p.resting) > 0 {
		p.resting[0].drop()
	}
}

// drop ends the rest of a socket for good.
func (r *resting) drop() {
	for i := range r.port.resting {
		if r.port.resting[i] == r {
			r.port.forgetResting(i)
			r.close()
			return
		}
	}
}

func (r *resting) close() {
	r.port.Forget(r.key)
	loop.Close(r.fd)
	r.port.putResting(r)
}

// Ready is told of what does not matter any more, or of an error that would outlast the connection.
func (r *resting) Ready(events uint32) {
	if events&unix.EPOLLERR != 0 {
		r.drop()
	}
}

// Expired ends a rest that was long enough.
func (r *resting) Expired(*loop.Timer) { r.drop() }

// Panicked closes the socket.
func (r *resting) Panicked(value any, stack []byte) {
	r.port.Guard.Caught("a socket that rests", value, stack)
	r.drop()
}

func (p *port) takeResting() *resting {
	if n := len(p.roused); n > 0 {
		r := p.roused[n-1]
		p.roused = p.roused[:n-1]
		return r
	}
	return new(resting)
}

func (p *port) putResting(r *resting) { p.roused = append(p.roused, r) }
