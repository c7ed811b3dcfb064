package reactor

import (
	"golang.org/x/sys/unix"

	"weir/backend/sockopt"
	"weir/frontend"
	"weir/frontend/reactor/loop"
)

// wardsAtATime is how many sessions are looked at in one turn: each takes two system calls, a microsecond or two.
const wardsAtATime = 64

// ward is a session of which a peer may be gone: something was sent lately, or is unacknowledged. All others have nothing
// that could be missed, and cost nothing.
type ward struct {
	session *session
	moved   int64 // bytes at the last look
	vigils  [2]frontend.Vigil
}

// vigil looks for peers that are gone, on one port.
type vigil struct {
	port  *port
	wards []ward
	next  int // of this round, which goes down from the last
	queue *loop.Queue
	timer loop.Timer
	runs  bool // a round
	tcp   unix.TCPInfo
}

// enroll has it looked at a session that something is sent in.
func (s *session) enroll() {
	p := s.port
	if !p.vigilant || s.ward != 0 {
		return
	}
	v := &p.vigil
	v.wards = append(v.wards, ward{session: s, moved: -1})
	s.ward = uint32(len(v.wards))
	if !v.timer.Armed() && !v.runs {
		v.arm()
	}
}

// dismiss takes a session out, whose place the last one gets.
func (s *session) dismiss() {
	if s.ward == 0 {
		return
	}
	v, at := &s.port.vigil, int(s.ward)-1
	last := len(v.wards) - 1
	v.wards[at] = v.wards[last]
	v.wards[at].session.ward = uint32(at + 1)
	v.wards[last] = ward{}
	v.wards = v.wards[:last]
	s.ward = 0
}

func (v *vigil) arm() {
	if every := v.port.limits.rules.VigilEvery(); every > 0 {
		v.queue.Arm(&v.timer, v, every)
	}
}

// Expired begins a round.
func (v *vigil) Expired(*loop.Timer) {
	v.runs, v.next = true, len(v.wards)-1
	v.Ready(0)
}

// Ready looks at the next few.
func (v *vigil) Ready(uint32) {
	for range wardsAtATime {
		at := min(v.next, len(v.wards)-1) // some may have left, and the last one has got the place
		if at < 0 {
			v.end()
			return
		}
		v.next = at - 1
		v.look(&v.wards[at])
	}
	v.port.Again(v)
}

func (v *vigil) end() {
	v.runs = false
	if len(v.wards) > 0 {
		v.arm()
	}
}

// Panicked has nothing to do: each session answers for itself.
func (v *vigil) Panicked(any, []byte) { v.end() }

// look ends a session of which a peer is gone, and lets go of one in which nothing is on its way any more.
func (v *vigil) look(w *ward) {
	s := w.session
	defer loop.Contain(s)
	rules := v.port.limits.rules
	if s.state != relaying || !v.port.vigilant {
		s.dismiss()
		return
	}
	moved, pending := s.up.moved+s.down.moved, false
	for i, d := range [...]*side{&s.client, &s.server} {
		line := v.line(d)
		if w.vigils[i].Look(v.port.Elapsed(), line, rules.DeadPeerTimeout) {
			s.vanished(d)
			return
		}
		pending = pending || line.Pending()
		if most := rules.RTOMax(); most > 0 && !d.pressed && rules.Stalls(line) {
			d.pressed = true
			sockopt.SetRTOMax(int(d.fd), most)
		}
	}
	if moved == w.moved && !pending {
		s.dismiss()
		return
	}
	w.moved = moved
}

func (v *vigil) line(d *side) frontend.Line {
	if d.fd < 0 || loop.TCPInfo(int(d.fd), &v.tcp) != 0 {
		return frontend.Line{}
	}
	return frontend.LineOf(&v.tcp)
}

// vanished ends a session of which one peer is gone.
func (s *session) vanished(d *side) {
	loop.ResetOnClose(int(d.fd))
	s.failed(d, frontend.GoneError(s.port.limits.rules.DeadPeerTimeout))
}
