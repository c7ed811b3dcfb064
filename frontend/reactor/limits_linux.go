package reactor

import (
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend"
)

// looks is how often within a limit of silence it is looked at what the peers acknowledge.
const looks = 4

// touch starts the session's silence anew.
func (s *session) touch() {
	s.silent, s.touched = 0, s.port.Elapsed()
	s.armQuiet()
}

func (s *session) armQuiet() {
	limit, half := s.silenceLimit()
	switch {
	case limit == 0:
		s.quiet.Stop()
	case half:
		s.port.half.Arm(&s.quiet, s, limit/looks)
	default:
		s.port.quiet.Arm(&s.quiet, s, limit/looks)
	}
}

// silenceLimit returns how long no byte may move: once one side has finished, that may be less.
func (s *session) silenceLimit() (limit time.Duration, half bool) {
	limit = s.port.Current().IdleTimeout
	if h := s.port.Current().HalfCloseTimeout; h > 0 && (s.up.eof || s.down.eof) && (limit == 0 || h <= limit) {
		return h, true
	}
	return limit, false
}

// silence ends a session in which no byte has moved for as long as it may. A slow reader, for whom bytes
// still wait in a socket's buffer, is not silent as long as it acknowledges some.
func (s *session) silence() {
	acked := acknowledged(s.client.fd) + acknowledged(s.server.fd)
	if s.silent > 0 && acked != s.acked {
		s.silent = 0
	}
	s.silent++
	s.acked = acked
	if s.silent < looks {
		s.armQuiet()
		return
	}
	why := frontend.IdleTimeout
	if _, half := s.silenceLimit(); half {
		why = frontend.HalfCloseTimeout
	}
	s.cut(why)
}

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
