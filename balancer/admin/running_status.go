package admin

import (
	"os"

	"weir/backend"
	"weir/backend/strategy"
	"weir/balancer"
	"weir/config"
	"weir/frontend"
)

// refusals are the outcomes of sessions that were refused.
var refusals = []frontend.Outcome{
	frontend.NoBackend, frontend.BackendsFull, frontend.QueueFull, frontend.QueueTimeout, frontend.Denied, frontend.TooFast, frontend.TooMany,
}

// Status tells everything but the sessions.
func (r *Running) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{
		Version: r.Version, PID: os.Getpid(), State: r.Balancer.State(), ConfigFile: r.File,
		StartedAt: r.Started, ReloadedAt: r.reloaded, Differs: r.differs(), Frontends: []Frontend{},
	}
	for _, v := range r.Balancer.Views() {
		s.Frontends = append(s.Frontends, r.frontend(&v))
	}
	return s
}

// differs tells what was changed at the door: against the file for what the file can say, and what an
// operator says of a backend's state.
func (r *Running) differs() []Difference {
	list := []Difference{}
	for _, c := range balancer.Compare(r.file, r.Balancer.Config()) {
		d := Difference{Frontend: c.Frontend, Backend: c.Backend, What: c.Key, File: c.From, Now: c.To}
		switch {
		case c.From == "":
			d.What, d.Now = "added", ""
		case c.To == "":
			d.What, d.File = "removed", ""
		}
		e := r.changed[place{c.Frontend, c.Backend, d.What}]
		if d.What == "max_connections" {
			d.What = "limit"
		}
		d.Who, d.At = e.who, e.at
		list = append(list, d)
	}
	for _, v := range r.Balancer.Views() {
		for _, s := range v.Pool.Snapshot() {
			if s.Admin.State == backend.AdminReady || s.State == backend.Removed {
				continue
			}
			e := r.changed[place{v.Name, s.Backend.Name(), stateKey}]
			list = append(list, Difference{
				Frontend: v.Name, Backend: s.Backend.Name(), What: stateKey, File: "ready", Now: adminWord(s.Admin.State), Who: e.who, At: e.at,
			})
		}
	}
	return list
}

func adminWord(s backend.AdminState) string {
	return [...]string{backend.AdminReady: "ready", backend.AdminDrain: "drain", backend.AdminMaint: "maint"}[s]
}

func (r *Running) frontend(v *balancer.View) Frontend {
	c := v.Counters
	closed, opened := c.Closed.Load(), c.Opened.Load() // in this order, or there might be fewer than none
	f := Frontend{
		Name: v.Name, Addresses: []string{}, Engine: v.Engine, EngineWhy: v.EngineWhy,
		Active: int(opened - closed), Opened: opened, Closed: closed, Outcomes: map[string]uint64{},
		BytesUp: c.BytesUp.Load(), BytesDown: c.BytesDown.Load(), MaxSessions: v.Config.MaxSessions,
		Rate: rateOf(v.Config.Rate.Sessions, v.Config.Rate.Burst), Clients: clients(v), Pool: r.pool(v),
	}
	for _, a := range v.Addrs {
		f.Addresses = append(f.Addresses, a.String())
	}
	for o := range frontend.Outcomes() {
		if n := c.Of(o); n > 0 {
			f.Outcomes[o.String()] = n
		}
	}
	return f
}

func rateOf(perSecond float64, burst int) *Rate {
	if perSecond == 0 {
		return nil
	}
	return &Rate{PerSecond: perSecond, Burst: burst}
}

func clients(v *balancer.View) *ClientTable {
	table := v.Rules.Admission.Clients
	if table == nil {
		return nil
	}
	s, c := table.Stats(), &v.Config.Client
	return &ClientTable{
		Known: s.Known, Size: c.Table, Full: s.Shared, Rate: rateOf(c.Rate, c.Burst), MaxSessions: c.MaxSessions,
	}
}

func (r *Running) pool(v *balancer.View) Pool {
	q := v.Pool.QueueSnapshot()
	p := Pool{
		Strategy: v.Config.Strategy, FailedOver: v.Pool.FailedOver(), MaxConnections: v.Config.MaxConnections, Classes: []Class{}, Backends: []Backend{},
		Queue: Queue{
			Length: q.Length, MaxLength: v.Config.Queue.Size, TimeoutSeconds: v.Rules.QueueTimeout.Seconds(),
			Served: q.Served, Refused: q.Refused, WaitedSeconds: q.Waited.Seconds(), Waits: []Bucket{},
		},
	}
	for i, n := range q.Waits {
		b := Bucket{Count: n}
		if i < len(q.Waits)-1 {
			up := backend.WaitBound(i).Seconds()
			b.UpToSeconds = &up
		}
		p.Queue.Waits = append(p.Queue.Waits, b)
	}
	for _, c := range q.Classes {
		p.Active += c.Active
		if len(v.Config.Classes) > 0 { // or there is but one, of everybody
			p.Classes = append(p.Classes, Class{Name: c.Name, Weight: c.Weight, Active: c.Active, Queued: c.Queued})
		}
	}
	known := r.known(v)
	for _, s := range v.Pool.Snapshot() {
		if s.State == backend.Up {
			p.Usable++
		}
		p.Backends = append(p.Backends, known.status(&s))
	}
	return p
}

// known is what the configuration that holds and the file say of the backends of one frontend, by name.
type known struct {
	configured map[string]*config.Backend
	filed      map[string]string // their addresses
	probed     bool
}

func (r *Running) known(v *balancer.View) *known {
	k := &known{make(map[string]*config.Backend, len(v.Config.Backends)), make(map[string]string, len(v.Config.Backends)), v.Config.Health.Kind != "none"}
	for i := range v.Config.Backends {
		b := &v.Config.Backends[i]
		k.configured[b.Name] = b
	}
	for i := range r.file.Frontends {
		f := &r.file.Frontends[i]
		if f.Name != v.Name {
			continue
		}
		for j := range f.Backends {
			_, k.filed[f.Backends[j].Name] = f.Backends[j].ForwardTo.Dial()
		}
	}
	return k
}

// status is one backend as the pool and the file see it.
func (k *known) status(s *backend.Status) Backend {
	name := s.Backend.Name()
	b := Backend{
		Name: name, Address: s.Backend.Address(), State: string(s.State), Reason: s.Reason, Since: s.Since,
		Active: s.Active, Limit: s.Max, Learns: s.Learns, Weight: float64(s.Weight) / strategy.WeightUnit,
		Sessions: s.Totals.Sessions, Failed: map[string]uint64{}, EarlyEnds: s.Totals.EarlyEnds,
		AdminState: adminWord(s.Admin.State), AdminReason: s.Admin.Reason, Elsewhere: s.Elsewhere, Leaving: s.Leaving,
		Backup: s.Backup != backend.NoBackup, BackupWhenFull: s.Backup == backend.BackupWhenFull,
	}
	if !s.EjectedUntil.IsZero() {
		b.EjectedUntil = &s.EjectedUntil
	}
	if k.probed && s.State != backend.Removed {
		b.Health = healthOf(&s.Health)
	}
	if s.State == backend.Removed { // another may have its name
		b.ConfiguredLimit = s.Max
		return failed(b, s)
	}
	if c := k.configured[name]; c != nil {
		b.ConfiguredLimit, b.ConfiguredWeight = c.MaxConnections, c.Weight
		if c.Auto {
			b.LearnedFloor = c.Min
		}
	}
	at, filed := k.filed[name]
	b.Added = !filed || at != s.Backend.Address()
	return failed(b, s)
}

// healthOf is what the probes say.
func healthOf(h *backend.Health) *Health {
	said := &Health{Up: h.Up, Reason: h.Reason, Since: h.Since}
	if last := h.Last; !last.At.IsZero() {
		p := Probe{At: last.At, DurationSeconds: last.Took.Seconds(), Result: "passed"}
		if last.Err != nil {
			p.Result, p.Error = "failed", last.Err.Error()
		}
		if last.Inconclusive {
			p.Result = "inconclusive"
		}
		said.Last = &p
	}
	return said
}

// failed adds how attempts to connect failed.
func failed(b Backend, s *backend.Status) Backend {
	for f, n := range s.Totals.Failed {
		if n > 0 {
			b.Failed[backend.Failure(f).String()] = n
		}
	}
	return b
}

func (r *Running) backend(v *balancer.View, name string) (Backend, error) {
	for _, s := range v.Pool.Snapshot() {
		if s.Backend.Name() == name {
			return r.known(v).status(&s), nil
		}
	}
	return Backend{}, NotFound("frontend %s has no backend %s", v.Name, name)
}
