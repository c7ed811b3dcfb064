package balancer

import (
	"github.com/rs/zerolog"

	"weir/backend"
)

// notifier logs what happens to the backends of one frontend, once each, and acts on it.
type notifier struct {
	log      zerolog.Logger
	frontend string
	cut      func(*backend.Backend) // ends the sessions of a backend that went down; nil: they go on
}

func (n *notifier) event(e backend.Event) {
	// A return is as worth knowing as a loss: whoever sees the one should see the other.
	n.log.Warn().Str("frontend", n.frontend).Str("backend", e.Backend.Name()).
		Str("was", string(e.From)).Str("reason", e.Reason).
		Int("usable", e.Usable).Int("of", e.Total).
		Msg("backend is " + string(e.To))
	if e.Usable == 0 && e.From == backend.Up {
		n.log.Error().Str("frontend", n.frontend).Msg("no backend is left")
	}
	if e.To == backend.Down && n.cut != nil {
		n.cut(e.Backend)
	}
}
