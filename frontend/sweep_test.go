package frontend

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/frontend/pulse"
	"weir/frontend/relay"
)

// A session that the sweep panics at is not the end of the others, nor of the process.
func TestSweepGoesOnAfterAPanic(t *testing.T) {
	c := &Copy{Frontend: New(Options{Log: zerolog.Nop(), Rules: Rules{IdleTimeout: time.Second, SessionTimeout: 24 * time.Hour}})}
	over := &copySession{server: c, cancel: func() {}}
	over.accepted = time.Now().Add(-25 * time.Hour)
	c.roster.add(over)
	broken := &copySession{server: c, cancel: func() {}}
	broken.accepted = time.Now()
	broken.pair.Store(relay.NewPair(nil, nil, nil)) // has no sockets to ask
	c.roster.add(broken)                            // met first

	s := &sweeper{Copy: c, start: time.Now().Add(-time.Hour)}
	s.sweep(t.Context())
	if n := c.Guard.Count(); n != 0 {
		t.Fatalf("%d panics before anything is asked", n)
	}
	over.cutBy.Store(0)
	s.start, s.pulse = s.start.Add(-time.Hour), pulse.Pulse{} // an hour later
	s.sweep(t.Context())
	if n := c.Guard.Count(); n == 0 {
		t.Error("no panic was counted")
	}
	if got := Outcome(broken.cutBy.Load()); got != InternalError {
		t.Errorf("the session that panics is cut as %v, want %v", got, InternalError)
	}
	if got := Outcome(over.cutBy.Load()); got != SessionTimeout {
		t.Errorf("the session behind it is cut as %v, want %v", got, SessionTimeout)
	}
}
