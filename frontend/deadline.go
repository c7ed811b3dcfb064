package frontend

import "time"

// What both engines decide about time. They wait, look and ask the kernel; what that means is decided here.

const (
	// Looks is how often within a limit of silence it is looked at what the peers acknowledge.
	Looks = 4
	// beatsPerLimit is how often within the shortest limit of silence an engine wakes at least, so that it knows
	// whether it was stopped.
	beatsPerLimit = 20
	// Bounds of the time between two beats, sweeps or looks.
	shortestSweep, longestSweep = 5 * time.Millisecond, 15 * time.Second
	// JitterSteps is how many different lengths jitter gives to the time of a session.
	JitterSteps = 16
	// vigilsPerLimit is how often within dead_peer_timeout it is looked for peers that are gone.
	vigilsPerLimit = 10
	// answersMissed is how many of its questions in a row, retransmissions or window probes, the kernel has had no
	// answer to before a peer counts as gone: one may be lost on a way that is good.
	answersMissed = 2
	// The kernel asks that often at least within dead_peer_timeout, where it lets itself be told (TCP_RTO_MAX_MS),
	// and these are the bounds it has.
	questionsPerLimit       = 3
	shortestRTO, longestRTO = time.Second, 120 * time.Second
)

// SameTimes says whether the time limits are those of other.
func (r *Rules) SameTimes(other *Rules) bool { return r.times() == other.times() }

type times struct {
	idle, half, session, queue, dead time.Duration
	jitter                           int
}

func (r *Rules) times() times {
	return times{r.IdleTimeout, r.HalfCloseTimeout, r.SessionTimeout, r.QueueTimeout, r.DeadPeerTimeout, r.SessionJitter}
}

// SilenceLimit returns how long no byte may move, and what it is when none has: once one side has finished, the limit
// may be another. 0: any time.
func (r *Rules) SilenceLimit(finished bool) (limit time.Duration, why Outcome) {
	limit = r.IdleTimeout
	if h := r.HalfCloseTimeout; finished && h > 0 && (limit == 0 || h <= limit) {
		return h, HalfCloseTimeout
	}
	return limit, IdleTimeout
}

// Beat returns how often an engine wakes at least while it measures silence. 0: it need not.
func (r *Rules) Beat() time.Duration {
	return sweepFor(shortest(r.IdleTimeout, r.HalfCloseTimeout), beatsPerLimit)
}

// VigilEvery returns how often it is looked for peers that are gone. 0: never.
func (r *Rules) VigilEvery() time.Duration { return sweepFor(r.DeadPeerTimeout, vigilsPerLimit) }

// RTOMax returns the most time that the kernel may let pass between two questions to a peer that does not answer.
// 0: as much as it likes.
func (r *Rules) RTOMax() time.Duration {
	most := max(r.DeadPeerTimeout/questionsPerLimit, shortestRTO)
	if r.DeadPeerTimeout == 0 || most >= longestRTO {
		return 0
	}
	return most
}

// shortest returns the shortest of those durations that are not 0, or 0.
func shortest(all ...time.Duration) (least time.Duration) {
	for _, d := range all {
		if d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	return least
}

// sweepFor divides a limit, within bounds. 0: there is no limit.
func sweepFor(limit time.Duration, parts int) time.Duration {
	if limit == 0 {
		return 0
	}
	return min(max(limit/time.Duration(parts), shortestSweep), longestSweep)
}

// sessionEnd returns when the time of a session is up that was accepted then: the limit, less the session's share of the
// jitter, 0 to JitterSteps-1. Zero: never.
func (r *Rules) sessionEnd(accepted time.Time, share uint8) time.Time {
	if r.SessionTimeout == 0 {
		return time.Time{}
	}
	whole := r.SessionTimeout / 100 * time.Duration(r.SessionJitter)
	return accepted.Add(r.SessionTimeout - whole/JitterSteps*time.Duration(share))
}

// Silence is what is known of a session since a byte last moved. Its clock counts the time in which weir ran: see package
// pulse. The zero Silence began at the zero of that clock.
type Silence struct {
	// Since is when it began.
	Since time.Duration
	acked uint64 // at the last look
	asked bool   // acked is known
}

// Begin says that a byte has moved, or that one side has finished.
func (s *Silence) Begin(now time.Duration) { s.Since, s.asked = now, false }

// Look says whether the silence is over its limit, which is more than 0; if not, again is after how long that may be
// different. It should be called Looks times within the limit. A slow reader, for whom bytes still wait in a
// socket's buffer, is not silent as long as it acknowledges some: acked tells how many bytes the peers have
// acknowledged, which takes a system call or two.
func (s *Silence) Look(now, limit time.Duration, acked func() uint64) (over bool, again time.Duration) {
	step, silent := max(limit/Looks, 1), now-s.Since
	if silent < step {
		return false, step - silent
	}
	n := acked()
	if s.asked && n != s.acked {
		s.Since, s.acked = now, n
		return false, step
	}
	s.acked, s.asked = n, true
	if silent >= limit {
		return true, 0
	}
	return false, min(step, limit-silent)
}

// Line is what the kernel tells of data on its way to a peer (tcp(7), TCP_INFO). The zero Line is one with nothing on
// it, or not TCP.
type Line struct {
	// Unacked segments were sent, and NotSent bytes were not yet.
	Unacked, NotSent uint32
	// Resent is how often the oldest segment was sent again, and Probes how often a peer with a closed window was
	// asked for room, since it last answered.
	Resent, Probes uint8
	// SinceAck is how long ago it last answered anything.
	SinceAck time.Duration
}

// Pending says that data is still on its way: it is worth looking again.
func (l *Line) Pending() bool { return l.Unacked > 0 || l.NotSent > 0 || l.Probes > 0 }

// Asked says that the peer owes an answer. One that has closed its window, and answers that it is still closed, does
// not (RFC 9293 §3.8.6.1).
func (l *Line) Asked() bool { return l.Unacked > 0 || l.Probes > 0 }

// Vigil is what is remembered of one socket, to find a peer that is gone. Its clock goes on while weir is stopped: so
// does the kernel, and the peer.
type Vigil struct {
	since time.Duration // the first look that found the peer to owe an answer
	waits bool
}

// Look says whether the peer is gone: it was asked at least twice, and has answered nothing for as long as limit says. It
// should be called every VigilEvery, of which there are vigilsPerLimit in the limit; the peer may have been asked up to
// one of them before the look that finds out.
func (v *Vigil) Look(now time.Duration, l Line, limit time.Duration) (gone bool) {
	if !l.Asked() {
		v.waits = false
		return false
	}
	if !v.waits || now-l.SinceAck > v.since {
		v.since, v.waits = now, true
		return false
	}
	return now-v.since >= limit-limit/vigilsPerLimit && l.SinceAck >= limit && max(l.Resent, l.Probes) >= answersMissed
}

// Stalls says that the peer keeps data waiting, so that the kernel is to ask it more often than of its own accord.
func (r *Rules) Stalls(l Line) bool { return l.Pending() && l.SinceAck >= r.VigilEvery() }
