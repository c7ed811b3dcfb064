package balancer

import (
	"weir/backend"
)

// event logs what happens to a backend, once, and acts on it.
func (p *part) event(e backend.Event) {
	// A return is as worth knowing as a loss: whoever sees the one should see the other.
	p.log.Warn().Str("frontend", p.name).Str("backend", e.Backend.Name()).
		Str("was", string(e.From)).Str("reason", e.Reason).
		Int("usable", e.Usable).Int("of", e.Total).
		Msg("backend is " + string(e.To))
	if f := p.onEvent.Load(); f != nil {
		(*f)(p.name, e)
	}
	if e.Usable == 0 && e.From == backend.Up {
		p.log.Error().Str("frontend", p.name).Msg("no backend is left")
	}
	if e.To == backend.Down && p.cutsOnDown.Load() {
		p.frontend.CutBackend(e.Backend)
	}
}
