package admin

import (
	"fmt"
	"sync"
	"time"

	"weir/backend"
	"weir/balancer"
)

// drains notices when a backend that gets no new sessions, for whatever reason, has lost its last one. It is asked once a
// second, and around each change by an operator, so that one who drains and undoes it at once is told too.
type drains struct {
	mu    sync.Mutex
	known map[*backend.Backend]drained
}

// drained is what was seen of a backend last.
type drained struct {
	frontend string
	done     bool // it gets no new sessions, and has none
}

// look returns the backends that have lost their last session since it looked before. What it sees for the first time was
// so all along.
func (d *drains) look(views []balancer.View) (list []Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	frontends, now := make(map[string]bool, len(views)), make(map[*backend.Backend]drained, len(d.known))
	for _, v := range views {
		frontends[v.Name] = true
		for _, s := range v.Pool.Snapshot() {
			is := drained{frontend: v.Name, done: s.Active == 0 && getsNone(s.State)}
			if was, seen := d.known[s.Backend]; seen && is.done && !was.done {
				list = append(list, drainedEvent(v.Name, s.Backend))
			}
			now[s.Backend] = is
		}
	}
	for b, was := range d.known {
		// A removed backend is there as long as it has sessions. What becomes of those of a removed frontend is not known.
		if _, still := now[b]; !still && !was.done && frontends[was.frontend] {
			list = append(list, drainedEvent(was.frontend, b))
		}
	}
	d.known = now
	return list
}

// getsNone says whether a backend in that state is not meant to get new sessions: one that is down is.
func getsNone(s backend.State) bool {
	switch s {
	case backend.Drain, backend.Maint, backend.Disabled, backend.Removed:
		return true
	}
	return false
}

func drainedEvent(frontend string, b *backend.Backend) Event {
	return Event{
		At: time.Now(), Kind: "drained", Frontend: frontend, Backend: b.Name(),
		Message: fmt.Sprintf("backend %s of %s is drained: no sessions left", b.Name(), frontend),
	}
}

// tellDrained publishes what drains has to say.
func (r *Running) tellDrained() {
	for _, e := range r.drains.look(r.Balancer.Views()) {
		r.feed.Publish(e)
	}
}
