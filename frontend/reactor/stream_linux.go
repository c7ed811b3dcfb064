package reactor

import (
	"golang.org/x/sys/unix"

	"weir/frontend/reactor/loop"
	"weir/frontend/relay"
)

const (
	// rounds is how many reads one direction may make before the other sessions' turn.
	rounds = 8
)

// stream is one direction of a session. What one read brings goes to the other socket in the same
// step; what that does not take is kept, and nothing more is read until it is gone.
type stream struct {
	session  *session
	from, to *side
	moved    int64       // bytes delivered
	pipe     *relay.Pipe // holds pipe.N bytes
	kept     *buffer     // holds kept[begin:end]
	begin    uint16
	end      uint16
	failed   errno16 // of writing to to: nothing more is read
	full     int8    // full buffers in a row
	repeated bool    // more than one message was sent
	bulk     bool    // use splice(2)
	eof      bool    // from has ended, and to was told, or will be by closing it
	told     bool
}

// errno16 is a loop.Errno in a quarter of the room.
type errno16 uint16

// over says that nothing more will be moved.
func (d *stream) over() bool { return d.eof || d.failed != 0 }

// pump moves bytes until one of the sockets has to be waited for.
func (d *stream) pump() {
	for range rounds {
		if d.over() || !d.flush() || !d.from.readable {
			d.release()
			return
		}
		if !d.step() {
			return
		}
	}
	d.session.port.Again(d.from)
}

// step reads once and sends what came. It reports false when the session has moved on.
func (d *stream) step() bool {
	if d.from.drained { // and asking once more is spared
		d.session.finished(d)
		return false
	}
	if d.bulk && d.splice() {
		return d.session.state == relaying
	}
	buf := d.session.port.scratch
	n, errno := loop.Recv(int(d.from.fd), buf)
	switch {
	case errno == unix.EAGAIN:
		d.from.readable = false
		return true
	case errno == unix.EINTR:
		return true
	case errno != 0:
		d.session.fail(d.from, errno)
		return false
	case n == 0:
		d.session.finished(d)
		return false
	}
	d.account(n, len(buf))
	return d.send(buf[:n])
}

// account draws conclusions from the size of a read.
func (d *stream) account(n, room int) {
	if n < room {
		d.full = 0
		// All that had arrived is read, and what comes next brings an event. But an end may have come
		// before, and an urgent byte makes a read short.
		d.from.readable = d.from.hup || d.from.fin
		d.from.drained = d.from.fin && !d.from.hup
		return
	}
	if d.full++; d.full < relay.BulkAfter {
		return
	}
	d.bulk, d.full = true, 0
	if !d.session.settled {
		d.session.settleIn() // splice wants urgent bytes in line
	}
}

// send delivers p, and keeps what is not taken.
func (d *stream) send(p []byte) bool {
	s := d.session
	n, errno := 0, loop.Errno(unix.EAGAIN)
	if d.to.writable {
		n, errno = loop.Send(int(d.to.fd), p)
	}
	if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
		return s.refused(d, errno)
	}
	if d.moved == 0 && n > 0 && s.port.Learns() {
		s.first(d)
	}
	d.moved += int64(n)
	s.touch()
	if d.repeated && !s.settled && d == &s.up {
		s.settleIn()
	}
	d.repeated = true
	if n < len(p) {
		d.to.writable = errno == unix.EINTR
		d.kept = s.port.takeBuffer()
		d.begin, d.end = 0, uint16(copy(d.kept[:], p[n:]))
	}
	return true
}

// first is told of the first bytes each way.
func (s *session) first(d *stream) {
	if d == &s.up {
		s.Asked(s.port.Now())
	} else {
		s.Answered(s.port.Now())
	}
}

// flush delivers what was kept, and reports whether nothing is left.
func (d *stream) flush() bool {
	if d.pipe != nil && d.pipe.N > 0 {
		return d.drain()
	}
	if d.kept == nil {
		return true
	}
	for d.to.writable && d.begin < d.end {
		n, errno := loop.Send(int(d.to.fd), d.kept[d.begin:d.end])
		if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
			d.session.refused(d, errno)
			return false
		}
		d.begin += uint16(n)
		d.moved += int64(n)
		d.to.writable = errno != unix.EAGAIN
		if n > 0 {
			d.session.touch()
		}
	}
	if d.begin < d.end {
		return false
	}
	d.session.port.putBuffer(d.kept)
	d.kept = nil
	return true
}

// splice moves what has arrived through a pipe. It reports false when only a read can tell the truth:
// an end, or nothing, may really be an urgent byte (see package relay). Of that, EPOLLPRI would have told.
func (d *stream) splice() bool {
	if d.pipe == nil {
		if d.pipe = d.session.port.stock.Pipe(); d.pipe == nil {
			d.bulk = false
			return false
		}
	}
	n, errno := loop.Splice(int(d.from.fd), d.pipe.W, d.pipe.Size)
	if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
		d.session.fail(d.from, errno) // an error is told but once
		return true
	}
	if errno == unix.EAGAIN && !d.from.hup && !d.from.fin {
		d.from.readable = false
		return true
	}
	if n == 0 {
		return false
	}
	d.pipe.N = n
	d.bulk = n >= relay.BulkFloor
	d.drain()
	return true
}

// drain empties the pipe as far as the socket takes it, and reports whether nothing is left.
func (d *stream) drain() bool {
	for d.to.writable && d.pipe.N > 0 {
		n, errno := loop.Splice(d.pipe.R, int(d.to.fd), d.pipe.N)
		if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
			d.session.refused(d, errno)
			return false
		}
		d.pipe.N -= n
		d.moved += int64(n)
		d.to.writable = errno != unix.EAGAIN
		if n > 0 {
			d.session.touch()
		}
	}
	return d.pipe.N == 0
}

// release gives back the pipe when nothing is in it.
func (d *stream) release() {
	if d.pipe != nil && d.pipe.N == 0 {
		d.session.port.stock.PutPipe(d.pipe)
		d.pipe = nil
	}
}

// drop gives up what is on its way.
func (d *stream) drop() {
	if d.kept != nil {
		d.session.port.putBuffer(d.kept)
		d.kept = nil
	}
	if d.pipe != nil {
		d.session.port.stock.PutPipe(d.pipe)
		d.pipe = nil
	}
}

// other returns the opposite direction.
func (d *stream) other() *stream {
	if d == &d.session.up {
		return &d.session.down
	}
	return &d.session.up
}
