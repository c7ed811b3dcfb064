package frontend

import (
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"

	"weir/frontend/relay"
)

func (s *session) logServing() {
	s.event(s.frontend.opts.Log.Info()).Msg("serving connection")
}

func (s *session) logOpened(conn net.Conn) {
	e := s.event(s.frontend.opts.Log.Info())
	if e == nil {
		return
	}
	b := s.lease.Backend()
	e.Str("backend", b.Name()).Str("forward_to", b.Address()).Stringer("from", conn.LocalAddr()).
		Msg("opened client connection")
}

func (s *session) logRetry(err error) {
	s.event(s.frontend.opts.Log.Debug()).Err(err).Int("tries", s.tries).Msg("trying another backend")
}

// logServed writes the one line that tells all of a session.
func (s *session) logServed(outcome Outcome, err error) {
	var panicked *relay.PanicError
	e := s.frontend.opts.Log.Info()
	if errors.As(err, &panicked) {
		e = s.frontend.opts.Log.Error().Bytes("stack", panicked.Stack)
	}
	if e = s.event(e); e == nil {
		return
	}
	up, down := s.bytes()
	e.Str("backend", s.backendName()).
		Float64("waited_ms", ms(s.waited)).Float64("connect_ms", ms(s.connect)).
		Float64("total_ms", ms(time.Since(s.accepted))).
		Int64("bytes_up", up).Int64("bytes_down", down).Int("tries", s.tries).
		Str("outcome", outcome.String()).Str("code", outcome.code(s.phase())).
		AnErr("error", err).
		Msg("served connection")
}

func (s *session) event(e *zerolog.Event) *zerolog.Event {
	if e == nil {
		return nil
	}
	return e.Str("frontend", s.frontend.opts.Name).Uint64("session", s.id).Str("client", s.address)
}

// backendName names the backend chosen last, for that is the one the outcome speaks of.
func (s *session) backendName() string {
	if b := s.chosen.Load(); b != nil {
		return b.Name()
	}
	return ""
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
