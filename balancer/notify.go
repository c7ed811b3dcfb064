package balancer

import (
	"weir/backend"
)

// event logs what happens to a backend, once, and acts on it. Each of that is contained for itself: whoever caused
// the event, perhaps a session or the loop of many, has to go on, and a log that panics must not keep sessions at a
// backend that is down.
func (p *part) event(e backend.Event) {
	what := "telling that backend " + e.Backend.Name() + " is " + string(e.To)
	p.guard.Do(what, func() { p.logEvent(e) })
	if f := p.onEvent.Load(); f != nil {
		p.guard.Do(what, func() { (*f)(p.Name(), e) })
	}
	p.guard.Do("acting on a change of backend "+e.Backend.Name(), func() { p.act(e) })
}

func (p *part) act(e backend.Event) {
	switch {
	case e.To == backend.Down && p.cutsOnDown.Load():
		p.frontend.CutBackend(e.Backend)
	case e.To == backend.Removed:
		p.goes(e)
	case e.From == backend.Removed:
		p.returns(e.Backend)
	}
	if e.To == backend.Up {
		p.closeBackups()
	}
}

func (p *part) logEvent(e backend.Event) {
	if e.Drained {
		p.log.Info().Str("frontend", p.Name()).Str("backend", e.Backend.Name()).Str("state", string(e.To)).
			Msg("backend is drained: no sessions left")
		return
	}
	// A return is as worth knowing as a loss: whoever sees the one should see the other.
	p.log.Warn().Str("frontend", p.Name()).Str("backend", e.Backend.Name()).
		Str("was", string(e.From)).Str("reason", e.Reason).
		Int("usable", e.Usable).Int("of", e.Total).
		Msg("backend is " + string(e.To))
	if e.Usable == 0 && e.From == backend.Up {
		p.log.Error().Str("frontend", p.Name()).Msg("no backend is left")
	}
	if was := p.failedOver.Swap(e.FailedOver); e.FailedOver && !was {
		p.log.Error().Str("frontend", p.Name()).Msg("the backups have taken over, and keep new sessions until 'weir failback'")
	}
}
