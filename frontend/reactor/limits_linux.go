package reactor

import (
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend"
	"weir/frontend/reactor/loop"
)

// limits are the time limits that the sessions of a port go by, and the queues for them. A queue is quick as long as its
// timers are armed with one duration, or nearly so: other limits get other queues.
type limits struct {
	rules              *frontend.Rules
	quiet, half, queue *loop.Queue
	life               [frontend.JitterSteps]*loop.Queue
}

func (p *port) newLimits(rules *frontend.Rules) *limits {
	l := &limits{rules: rules, quiet: p.SpareQueue(), half: p.SpareQueue(), queue: p.SpareQueue()}
	for i := range l.life {
		l.life[i] = p.SpareQueue()
	}
	return l
}

func (l *limits) queues() []*loop.Queue {
	return append([]*loop.Queue{l.quiet, l.half, l.queue}, l.life[:]...)
}

// adopt has the sessions go by those rules: at once if they are new, and a few live ones each turn.
func (p *port) adopt(rules *frontend.Rules) {
	p.vigilant = rules.VigilEvery() > 0
	if p.limits.rules.SameTimes(rules) {
		p.limits.rules = rules
		return
	}
	p.outdated = append(p.outdated, p.limits)
	p.limits = p.newLimits(rules)
	for _, q := range p.limits.queues() {
		p.AddQueue(q)
	}
	p.core.setBeat()
	p.rearming.begin()
}

// setBeat has the loop wake as often as the ports need.
func (c *core) setBeat() {
	every := time.Duration(0)
	for _, p := range c.ports {
		if b := p.limits.rules.Beat(); b > 0 && (every == 0 || b < every) {
			every = b
		}
	}
	c.SetBeat(every)
}

// rearmAtATime is how many sessions get their timers anew in one turn: silent ones take two system calls each.
const rearmAtATime = 128

// rearming goes through the sessions of a port after its limits have changed.
type rearming struct {
	port *port
	at   cursor
	runs bool
}

// begin goes through all sessions that there are now. Those that begin later go by the new limits already.
func (r *rearming) begin() {
	if !r.runs {
		r.runs = true
		r.port.cursors = append(r.port.cursors, &r.at)
		r.port.Again(r)
	}
	r.at.next = r.port.sessions
}

// Ready takes the next few.
func (r *rearming) Ready(uint32) {
	for range rearmAtATime {
		s := r.at.next
		if s == nil {
			r.end()
			return
		}
		r.at.next = s.next
		s.rearm()
	}
	r.port.Again(r)
}

// end drops the queues of former limits, in which no timer is left.
func (r *rearming) end() {
	r.runs = false
	r.port.forget(&r.at)
	r.port.dropOutdated()
}

func (p *port) dropOutdated() {
	for _, l := range p.outdated {
		for _, q := range l.queues() {
			p.DropQueue(q)
		}
	}
	p.outdated = nil
}

// Panicked has nothing to do: each session answers for itself.
func (r *rearming) Panicked(any, []byte) {}

// rearm has a session go by the limits of now.
func (s *session) rearm() {
	defer loop.Contain(s)
	s.armLife()
	switch s.state {
	case queued:
		s.armQueue()
	case relaying:
		s.enroll()
		s.silenced()
	}
}

// armLife ends the session when its time is up.
func (s *session) armLife() {
	l := s.port.limits
	if at := s.EndsAt(l.rules); !at.IsZero() {
		l.life[s.Share()].Arm(&s.life, s, at.Sub(s.port.Now()))
		return
	}
	s.life.Stop()
}

// armQueue ends the wait of a session in the queue.
func (s *session) armQueue() {
	l := s.port.limits
	l.queue.Arm(&s.misc, s, l.rules.QueueTimeout-s.port.Now().Sub(s.QueuedAt()))
}

// touch starts the session's silence anew.
func (s *session) touch() {
	s.silence.Begin(s.port.Ran())
	s.armQuiet()
	if s.ward == 0 {
		s.enroll()
	}
}

// armQuiet has the silence looked at a part of its limit later. Always the same part, for the queue's sake: that the last
// look may come a part late after a reload costs less than to sort.
func (s *session) armQuiet() {
	l := s.port.limits
	limit, why := l.rules.SilenceLimit(s.up.eof || s.down.eof)
	switch {
	case limit == 0:
		s.quiet.Stop()
	case why == frontend.HalfCloseTimeout:
		l.half.Arm(&s.quiet, s, limit/frontend.Looks)
	default:
		l.quiet.Arm(&s.quiet, s, limit/frontend.Looks)
	}
}

// silenced ends a session in which no byte has moved for as long as it may, and looks again later at any other.
func (s *session) silenced() {
	limit, why := s.port.limits.rules.SilenceLimit(s.up.eof || s.down.eof)
	if limit > 0 {
		if over, _ := s.silence.Look(s.port.Ran(), limit, s.acknowledged); over {
			s.cut(why)
			return
		}
	}
	s.armQuiet()
}

// acknowledged returns how many bytes the peers have acknowledged.
func (s *session) acknowledged() uint64 { return acknowledged(s.client.fd) + acknowledged(s.server.fd) }

// acknowledged returns how many bytes the peer of a TCP socket has acknowledged, 0 for any other.
func acknowledged(fd int32) uint64 {
	if fd < 0 {
		return 0
	}
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return info.Bytes_acked
}
