package frontend

import (
	"errors"
	"fmt"
	"iter"
	"syscall"
	"time"

	"weir/backend"
	"weir/frontend/relay"
)

// Outcome is why, and by whom, a session ended.
type Outcome uint8

// The outcomes.
const (
	unknown            Outcome = iota
	Normal                     // both sides finished
	ClientReset                // the client reset the connection, or took no more
	ClientTimedOut             // the client's host no longer answers
	ClientLeft                 // the client left before it had a backend
	BackendReset               // the backend reset the connection
	BackendTimedOut            // the backend's host no longer answers
	ConnectRefused             // the last backend tried refused
	ConnectTimeout             // the last backend tried did not answer
	ConnectUnreachable         // no route to the last backend tried
	ConnectFailed              // the last backend tried could not be connected to, for another reason
	NoResources                // we have no descriptor, port or memory left
	NoBackend                  // no backend is usable
	BackendsFull               // every usable backend is at its limit
	QueueFull                  // no more may wait
	QueueTimeout               // waited too long for a backend
	Denied                     // the access list says no
	TooFast                    // too many sessions began in a short time
	TooMany                    // the client has too many sessions
	IdleTimeout                // no byte either way
	HalfCloseTimeout           // one side had finished, the other said nothing
	SessionTimeout             // the session's time was up
	BackendDown                // its backend went down, and on_down is "close"
	BackendsUp                 // it was on a backup, others are up again, and on_up is "close_backup_sessions"
	Shutdown                   // weir was stopped
	Killed                     // an operator said so
	InternalError              // a panic, see the log
	numOutcomes
)

// outcomes holds the words of each, who is behind it as HAProxy's first letter, and the second letter
// where it is always the same.
var outcomes = [numOutcomes]struct {
	words      string
	who, phase byte
}{
	unknown:            {"unknown", '-', 0},
	Normal:             {"normal", '-', '-'},
	ClientReset:        {"client reset", 'C', 0},
	ClientTimedOut:     {"client timed out", 'c', 0},
	ClientLeft:         {"client left", 'C', 0},
	BackendReset:       {"backend reset", 'S', 0},
	BackendTimedOut:    {"backend timed out", 's', 0},
	ConnectRefused:     {"connection refused", 'S', 'C'},
	ConnectTimeout:     {"connect timeout", 's', 'C'},
	ConnectUnreachable: {"backend unreachable", 'S', 'C'},
	ConnectFailed:      {"connect failed", 'S', 'C'},
	NoResources:        {"out of resources", 'R', 'C'},
	NoBackend:          {"no backend", 'S', 'C'},
	BackendsFull:       {"backends full", 'P', 'Q'},
	QueueFull:          {"queue full", 'P', 'Q'},
	QueueTimeout:       {"queue timeout", 's', 'Q'},
	Denied:             {"denied", 'P', 'R'},
	TooFast:            {"too fast", 'P', 'R'},
	TooMany:            {"too many sessions", 'P', 'R'},
	IdleTimeout:        {"idle timeout", 'c', 0},
	HalfCloseTimeout:   {"half-close timeout", 'c', 'L'},
	SessionTimeout:     {"session timeout", 'P', 0},
	BackendDown:        {"backend down", 'D', 0},
	BackendsUp:         {"backends up again", 'U', 0},
	Shutdown:           {"shutdown", 'K', 0},
	Killed:             {"killed", 'K', 0},
	InternalError:      {"internal error", 'L', 0},
}

// Outcomes ranges over all outcomes.
func Outcomes() iter.Seq[Outcome] {
	return func(yield func(Outcome) bool) {
		for o := Normal; o < numOutcomes && yield(o); o++ {
		}
	}
}

func (o Outcome) String() string { return outcomes[o].words }

// CutsShort says whether the client's stream was cut short by us, and must not look as if it had ended.
func (o Outcome) CutsShort() bool {
	return o == BackendDown || o == BackendsUp || o == Shutdown || o == Killed
}

// turnedAway says whether the session never began.
func (o Outcome) turnedAway() bool { return o == Denied || o == TooFast || o == TooMany }

// code returns HAProxy's two letters: who ended the session, and in which phase.
func (o Outcome) code(p Phase) string {
	if fixed := outcomes[o].phase; fixed != 0 {
		return string([]byte{outcomes[o].who, fixed})
	}
	return string([]byte{outcomes[o].who, byte(p)})
}

// Phase is how far a session came, as HAProxy's second letter.
type Phase byte

// The phases.
const (
	Queued     Phase = 'Q'
	Connecting Phase = 'C'
	Relaying   Phase = 'D'
	LastBytes  Phase = 'L' // one side has finished
)

// ofFailure says what the last failed attempt to connect means for the session.
func ofFailure(f backend.Failure) Outcome {
	switch f {
	case backend.FailureRefused:
		return ConnectRefused
	case backend.FailureTimeout:
		return ConnectTimeout
	case backend.FailureUnreachable:
		return ConnectUnreachable
	case backend.FailureResource:
		return NoResources
	case backend.FailureCanceled:
		return ClientLeft
	}
	return ConnectFailed
}

// OfRelay says what the end of a relay means for the session.
func OfRelay(end relay.End) Outcome {
	var panicked *relay.PanicError
	switch {
	case end.Err == nil:
		return Normal
	case errors.As(end.Err, &panicked):
		return InternalError
	}
	vanished := hasVanished(end.Err)
	switch {
	case end.Side == relay.Client && vanished:
		return ClientTimedOut
	case end.Side == relay.Client:
		return ClientReset
	case vanished:
		return BackendTimedOut
	}
	return BackendReset
}

// hasVanished says whether an error of a connection means that the peer's host stopped answering. When
// the time for that is up, the kernel reports why the last packet was lost where it was told: the
// neighbour look-up failed, or a router said so (tcp_write_err, and RFC 1122 §4.2.3.9 on soft errors).
func hasVanished(err error) bool {
	for _, e := range []error{syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// GoneError says that a peer has not answered for that long. It is an ETIMEDOUT.
type GoneError time.Duration

func (e GoneError) Error() string {
	return fmt.Sprintf("data unacknowledged for %v: %v", time.Duration(e), syscall.ETIMEDOUT)
}

func (e GoneError) Unwrap() error { return syscall.ETIMEDOUT }
