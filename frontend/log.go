package frontend

import (
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"

	"weir/frontend/relay"
)

// LogListening says that clients are accepted at an address, by which engine, and why by that.
func (f *Frontend) LogListening(a net.Addr, engine, why string) {
	f.Log.Info().Str("frontend", f.Name()).Stringer("bind_on", a).Str("engine", engine).Str("why", why).
		Msg("listening for connections")
}

// LogNoAccept says that the kernel gives no connections: once a minute at most, for every descriptor
// that comes back is taken at once, and each is the end of one episode and the beginning of the next.
func (f *Frontend) LogNoAccept(err error) {
	now, last := time.Now().UnixNano(), f.noAccept.Load()
	if now-last < int64(tellEvery) || !f.noAccept.CompareAndSwap(last, now) {
		return
	}
	f.Log.Error().Str("frontend", f.Name()).Err(err).Msg("cannot accept: trying again until it works")
}

// LogServing says that a client was accepted.
func (s *Session) LogServing() {
	s.event(s.inCourse()).Msg("serving connection")
}

func (s *Session) logOpened(local func() net.Addr) {
	e := s.event(s.inCourse())
	if e == nil {
		return
	}
	b := s.lease.Backend()
	e.Str("backend", b.Name()).Str("forward_to", b.Address()).Stringer("from", local()).
		Msg("opened client connection")
}

func (s *Session) logRetry(err error) {
	s.event(s.frontend.Log.Debug()).Err(err).Int32("tries", s.tries.Load()).Msg("trying another backend")
}

// logServed writes the one line that tells all of a session. session-log.schema.json describes it.
func (s *Session) logServed(end *Ending) {
	e := s.event(s.atEnd(end))
	if e == nil {
		return
	}
	e.Str("backend", s.backendName()).
		Float64("waited_ms", ms(s.waited.get())).Float64("connect_ms", ms(s.connect.get())).
		Float64("total_ms", ms(end.At.Sub(s.accepted))).
		Int64("bytes_up", end.BytesUp).Int64("bytes_down", end.BytesDown).Int32("tries", s.tries.Load()).
		Str("outcome", end.Outcome.String()).Str("code", end.Outcome.code(end.Phase)).
		AnErr("error", end.Err).
		Msg("served connection")
}

func (s *Session) inCourse() *zerolog.Event {
	return s.frontend.Sessions.begun(&s.frontend.Log, s.id)
}

func (s *Session) atEnd(end *Ending) *zerolog.Event {
	if end.Outcome == InternalError {
		return s.logPanic(end.Err)
	}
	return s.frontend.Sessions.ended(&s.frontend.Log, s.id, end.Outcome)
}

func (s *Session) logPanic(err error) *zerolog.Event {
	e := s.frontend.Log.Error()
	var panicked *relay.PanicError
	if errors.As(err, &panicked) {
		e = e.Bytes("stack", panicked.Stack)
	}
	return e
}

func (s *Session) event(e *zerolog.Event) *zerolog.Event {
	if e == nil {
		return nil
	}
	client := "unix"
	if s.from.IsValid() {
		client = s.from.String()
	}
	return e.Str("frontend", s.frontend.Name()).Uint64("session", s.id).Str("client", client)
}

// backendName names the backend chosen last, for that is the one the outcome speaks of.
func (s *Session) backendName() string {
	if b := s.chosen.Load(); b != nil {
		return b.Name()
	}
	return ""
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
