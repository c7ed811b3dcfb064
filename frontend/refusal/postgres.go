package refusal

import (
	"encoding/binary"
	"strings"
)

// The first words of a client of PostgreSQL ("Frontend/Backend Protocol", Message Formats): four bytes of
// length, which count themselves, and four that say what it is, big-endian.
const (
	sslRequest    = 80877103 // may there be TLS?
	gssEncRequest = 80877104 // may there be GSSAPI encryption?
	// 80877102, a CancelRequest, is never answered, and is here one more thing we know nothing about.

	requestLength = 8 // of the two requests for encryption: nothing follows
	// maxStartup is the longest StartupMessage: MAX_STARTUP_PACKET_LENGTH in src/include/libpq/pqcomm.h,
	// which does not count the four bytes of length.
	maxStartup = 4 + 10000

	// maxNays bounds how often we say no to encryption: once to each kind, as the server does
	// (ProcessStartupPacket in src/backend/tcop/backend_startup.c).
	maxNays = 2
)

// MaxHeard is the most bytes that are heard of one client: two requests for encryption and the longest
// StartupMessage. After so many [Speech.Hear] says done.
//
// So a stranger who may connect can make us spend a [Hearing], which is 16 bytes or less; a pass over
// 10,020 bytes that are kept nowhere; three small writes, of 1, 1 and at most 540 bytes; and as much time
// as the engine's deadline allows, for one who sends nothing, or a byte now and then. Nothing is
// allocated.
const MaxHeard = maxNays*requestLength + maxStartup

// Hearing is how far one client has been heard. The zero value is for a new one. It belongs to the
// session.
type Hearing struct {
	header [8]byte // of the message that is coming in
	have   uint8   // how many bytes of header are here
	nays   uint8   // how often we have said no to encryption
	rest   uint16  // bytes of the StartupMessage still to come
	stage  stage
}

// stage is what a hearing has come to.
type stage uint8

const (
	hearing  stage = iota // more is to come
	answered              // the client said who it is, and gets the error
	dropped               // it is to be closed without a word
)

// Hear takes what the client sent next, split wherever it pleases, and returns what to send, often
// nothing. done says to close once that is sent: what the client says further does not matter. If the
// client ends its stream before, close without a word. The caller must not change the answer.
//
// A request for encryption is refused with an N, on which most clients go on without. (An error in its
// place would reach nobody: clients are told not to show what came before the server proved who it is,
// CVE-2024-10977.) A StartupMessage of protocol 3, whatever its minor version, is answered once it is all
// there: the server does the same, and closing before would reset the connection under the error. A
// cancel request, which servers never answer, TLS without asking, protocol 2 and all that makes no sense
// get no answer.
//
// Clients wait for each answer. One that does not is heard all the same: what follows an N is never taken
// for something said under encryption, so nothing can be smuggled in.
func (s *Speech) Hear(h *Hearing, p []byte) (answer []byte, done bool) {
	if !s.Listens() {
		return nil, true
	}
	told, nays := h.stage != hearing, h.nays
	for len(p) > 0 && h.stage == hearing {
		p = p[h.take(p):]
	}
	return s.reply(int(h.nays-nays), h.stage == answered && !told), h.stage != hearing
}

// take hears the beginning of p, and returns how much of it. p is not empty, and neither is what it takes.
func (h *Hearing) take(p []byte) (n int) {
	if h.rest > 0 {
		n = min(len(p), int(h.rest))
		h.rest -= uint16(n)
		if h.rest == 0 {
			h.stage = answered
		}
		return n
	}
	n = copy(h.header[h.have:], p)
	h.have += uint8(n)
	if int(h.have) == len(h.header) {
		h.have = 0
		h.judge()
	}
	return n
}

// judge decides on a message by its header. A minor version is the lower half of a version, and the error
// is the same in each.
func (h *Hearing) judge() {
	length, code := binary.BigEndian.Uint32(h.header[:]), binary.BigEndian.Uint32(h.header[4:])
	switch {
	case (code == sslRequest || code == gssEncRequest) && length == requestLength && h.nays < maxNays:
		h.nays++
	case code>>16 == 3 && length == uint32(len(h.header)):
		h.stage = answered
	case code>>16 == 3 && length > uint32(len(h.header)) && length <= maxStartup:
		h.rest = uint16(length) - uint16(len(h.header))
	default:
		h.stage = dropped
	}
}

// reply returns some Ns and, if so wished, the error: a piece of replies, so that nothing is allocated.
func (s *Speech) reply(nays int, failed bool) []byte {
	from, to := maxNays-nays, maxNays
	if failed {
		to = len(s.replies)
	}
	if from == to {
		return nil
	}
	return s.replies[from:to:to]
}

// postgresReplies returns as many Ns as there can be, and behind them the error.
func postgresReplies(text string) []byte {
	return append([]byte(strings.Repeat("N", maxNays)), postgresError(text)...)
}

// postgresError returns an ErrorResponse with the fields that PostgreSQL sends for too many clients, but
// for the place in its source ("Error and Notice Message Fields"): the severity twice, as the second is
// never translated; 53300, too_many_connections; and the text.
func postgresError(text string) []byte {
	fields := "SFATAL\x00VFATAL\x00C53300\x00M" + text + "\x00\x00"
	message := binary.BigEndian.AppendUint32([]byte{'E'}, uint32(4+len(fields)))
	return append(message, fields...)
}
