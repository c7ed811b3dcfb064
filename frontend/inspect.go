package frontend

import (
	"net/netip"
	"time"
)

// Inspect says what is to be told of live sessions.
type Inspect struct {
	// TCP asks the kernel about both sockets of each session, which takes a microsecond or two.
	TCP bool
}

// Info is what can be told of one live session.
type Info struct {
	ID       uint64 // as in the log
	Frontend string
	// Client is the client's address. The zero address is that of a unix client.
	Client netip.AddrPort
	// Backend was chosen last. Empty: none yet.
	Backend string
	// Phase is how far the session has come, in words: see PhaseConnecting and so on.
	Phase    string
	Accepted time.Time
	// Waited is from accept until the backend was chosen, or for one that is queued until now; Connect is the
	// time the last finished attempt to connect took, and Tries how many attempts have finished. They are what
	// the log line will say, unless there are more attempts.
	Waited, Connect time.Duration
	Tries           int
	// Class is the class of the client in its pool, as in [backend.Request].
	Class int
	// BytesUp were delivered to the backend, BytesDown to the client.
	BytesUp, BytesDown int64
	// Idle is for how long no byte has moved, either way. -1: not known, or nothing is relayed yet.
	//
	// The reactor goes by the turn in which it last sent something, passed on the end of a stream, or saw that a peer
	// had acknowledged something that it sent long before; a turn takes a millisecond at most. The copy engine asks the kernel when it last had data to or from the
	// client, sent again included; elsewhere than on Linux, and for unix sockets, it does not know.
	Idle time.Duration
	// ClientTCP and BackendTCP are about the two sockets, if Inspect asks for that.
	ClientTCP, BackendTCP TCP
}

// The phases of a session as Info tells them.
const (
	PhaseConnecting = "connecting" // to a backend, pauses between two attempts included
	PhaseQueued     = "queued"     // waits for a backend
	PhaseRelaying   = "relaying"
	PhaseHalfClosed = "half-closed" // one side has finished
	PhaseClosing    = "closing"     // nothing is relayed any more; the last bytes are being delivered
	PhaseRefusing   = "refusing"    // gets no backend, and is being told so
)

// TCP is what the kernel tells of a TCP connection (tcp(7), TCP_INFO).
type TCP struct {
	// Known is false if it was not asked for, or there is no such socket, or it is not TCP.
	Known bool
	// RTT is the smoothed round-trip time.
	RTT time.Duration
	// RTTVar is how much that varies: the mean deviation (RFC 6298 §2).
	RTTVar time.Duration
	// Retransmits counts the segments that were sent again since the connection began.
	Retransmits uint32
}

// ID returns the number of the session, unique in this process.
func (s *Session) ID() uint64 { return s.id }

// Describe fills in what the session knows without its engine. Idle is not known. It may be called from any
// goroutine as long as the session is not used again.
func (s *Session) Describe(i *Info) {
	*i = Info{
		ID: s.id, Frontend: s.frontend.Name(), Client: s.from, Backend: s.backendName(),
		Accepted: s.accepted, Idle: -1,
		Waited: s.waited.get(), Connect: s.connect.get(), Tries: int(s.tries.Load()), Class: s.admitted.class,
	}
}

// In sets the phase that the session is in now.
func (i *Info) In(phase string, now time.Time) {
	i.Phase = phase
	if phase == PhaseQueued {
		i.Waited = now.Sub(i.Accepted)
	}
}
