package balancer

import (
	"context"
	"sync"
	"time"

	"weir/backend"
	"weir/frontend"
)

// removals is the backends that were removed and still have sessions: these have the drain time to finish. One that
// has none takes up nothing.
type removals struct {
	mu     sync.Mutex
	drain  time.Duration
	timers map[*backend.Backend]*time.Timer
	ended  bool
}

func (r *removals) setDrain(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drain = d
}

// begin has cut called for b when the drain time is up.
func (r *removals) begin(b *backend.Backend, cut func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.timers[b] != nil {
		return
	}
	if r.timers == nil {
		r.timers = make(map[*backend.Backend]*time.Timer)
	}
	r.timers[b] = time.AfterFunc(r.drain, cut)
}

// stop forgets b, which has come back or has no sessions left.
func (r *removals) stop(b *backend.Backend) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.timers[b]; t != nil {
		t.Stop()
		delete(r.timers, b)
	}
}

// end forgets all, for good.
func (r *removals) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for _, t := range r.timers {
		t.Stop()
	}
	r.timers = nil
}

// goes is told that a backend was removed, or that the last session of a removed one has ended.
func (p *part) goes(e backend.Event) {
	if e.Drained || e.Active == 0 {
		p.removals.stop(e.Backend)
		p.frontend.ForgetBackend(e.Backend)
		return
	}
	p.removals.begin(e.Backend, func() {
		p.removals.stop(e.Backend)
		if p.pool.IsRemoved(e.Backend) { // or it has come back just now
			p.frontend.CutBackend(e.Backend)
		}
	})
}

// returns is told that a removed backend is back, with its sessions.
func (p *part) returns(b *backend.Backend) { p.removals.stop(b) }

const (
	// The sessions of backups are closed within this time, in so many steps, so that not all of their clients connect
	// anew at once.
	closeWithin = 10 * time.Second
	closeSteps  = 50
)

// closeBackups closes the sessions of backups, where the file says so and others serve again.
func (p *part) closeBackups() {
	if !p.closesBackups() || !p.closing.CompareAndSwap(false, true) {
		return
	}
	p.watchers.Go(func() {
		defer p.closing.Store(false)
		p.closeSlowly(p.watching)
	})
}

// closesBackups says whether sessions of backups are to end now.
func (p *part) closesBackups() bool {
	p.mu.Lock()
	wanted, watching := p.config.Health.OnUp == closeBackupSessions, p.watching
	p.mu.Unlock()
	if !wanted || watching == nil || watching.Err() != nil || p.pool.FailedOver() {
		return false
	}
	_, others, sessions := p.backups()
	return others > 0 && sessions > 0
}

const closeBackupSessions = "close_backup_sessions"

// backups returns the names of the backups, how many others are usable, and how many sessions the backups have.
func (p *part) backups() (names map[string]bool, others, sessions int) {
	names = make(map[string]bool)
	for _, s := range p.pool.Snapshot() {
		switch {
		case s.Backup != backend.NoBackup:
			names[s.Backend.Name()] = true
			sessions += s.Active
		case s.State == backend.Up:
			others++
		}
	}
	return names, others, sessions
}

// closeSlowly closes them step by step, as long as others are usable.
func (p *part) closeSlowly(ctx context.Context) {
	_, _, sessions := p.backups()
	each := (sessions + closeSteps - 1) / closeSteps
	t := time.NewTicker(closeWithin / closeSteps)
	defer t.Stop()
	for p.closesBackups() {
		names, _, _ := p.backups()
		left := each
		p.frontend.Kill(ctx, func(i *frontend.Info) bool {
			if left == 0 || !names[i.Backend] || i.Phase != frontend.PhaseRelaying && i.Phase != frontend.PhaseHalfClosed {
				return false
			}
			left--
			return true
		}, frontend.BackendsUp)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
