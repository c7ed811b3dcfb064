package admin

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

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
			if s.Admin.State == backend.AdminReady {
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
		Strategy: v.Config.Strategy, MaxConnections: v.Config.MaxConnections, Classes: []Class{}, Backends: []Backend{},
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
	for _, s := range v.Pool.Snapshot() {
		if s.State == backend.Up {
			p.Usable++
		}
		p.Backends = append(p.Backends, r.status(v, &s))
	}
	return p
}

// status is one backend as the pool and the file see it.
func (r *Running) status(v *balancer.View, s *backend.Status) Backend {
	name := s.Backend.Name()
	b := Backend{
		Name: name, Address: s.Backend.Address(), State: string(s.State), Reason: s.Reason, Since: s.Since,
		Active: s.Active, Limit: s.Max, Learns: s.Learns, Weight: float64(s.Weight) / strategy.WeightUnit,
		Sessions: s.Totals.Sessions, Failed: map[string]uint64{},
	}
	if c := configured(v.Config, name); c != nil {
		b.Backup, b.ConfiguredLimit, b.ConfiguredWeight = c.Backup != config.NoBackup, c.MaxConnections, c.Weight
		if c.Auto {
			b.LearnedFloor = c.Min
		}
	}
	b.Added = !r.filed(v.Name, name, s.Backend.Address())
	for f, n := range s.Totals.Failed {
		if n > 0 {
			b.Failed[backend.Failure(f).String()] = n
		}
	}
	return b
}

// filed says whether the file has a backend.
func (r *Running) filed(frontend, name, address string) bool {
	return slices.ContainsFunc(r.file.Frontends, func(f config.Frontend) bool {
		b := configured(&f, name)
		if f.Name != frontend || b == nil {
			return false
		}
		_, at := b.ForwardTo.Dial()
		return at == address
	})
}

// configured returns what the configuration that holds says of a backend; nil: nothing.
func configured(f *config.Frontend, name string) *config.Backend {
	for i := range f.Backends {
		if f.Backends[i].Name == name {
			return &f.Backends[i]
		}
	}
	return nil
}

func (r *Running) backend(v *balancer.View, name string) (Backend, error) {
	for _, s := range v.Pool.Snapshot() {
		if s.Backend.Name() == name {
			return r.status(v, &s), nil
		}
	}
	return Backend{}, NotFound("frontend %s has no backend %s", v.Name, name)
}

// all visits the live sessions of all frontends that a filter means.
func (r *Running) all(ctx context.Context, f *SessionFilter, tcp bool, visit func(*frontend.Info) bool) error {
	now := time.Now()
	for _, v := range r.Balancer.Views() {
		if f.Frontend != "" && f.Frontend != v.Name {
			continue
		}
		err := v.Sessions(ctx, frontend.Inspect{TCP: tcp}, func(i *frontend.Info) bool { return !f.means(i, now) || visit(i) })
		if err != nil {
			return err
		}
	}
	return nil
}

// means says whether the filter means a session.
func (f *SessionFilter) means(i *frontend.Info, now time.Time) bool {
	switch {
	case f.Client.IsValid() && !f.Client.Contains(i.Client.Addr()):
	case f.Backend != "" && f.Backend != i.Backend:
	case f.Frontend != "" && f.Frontend != i.Frontend:
	case now.Sub(i.Accepted) < f.MinAge:
	case f.MinIdle > 0 && i.Idle < f.MinIdle:
	default:
		return true
	}
	return false
}

// Sessions returns one page. A cursor is how many sessions come before it.
func (r *Running) Sessions(ctx context.Context, q SessionQuery) (SessionPage, error) {
	skip := 0
	if q.Cursor != "" {
		n, err := strconv.Atoi(q.Cursor)
		if err != nil || n < 0 {
			return SessionPage{}, Invalid("cursor %q is none", q.Cursor)
		}
		skip = n
	}
	var found []Session
	now := time.Now()
	err := r.all(ctx, &q.SessionFilter, q.TCPInfo || q.Sort == "rtt", func(i *frontend.Info) bool {
		found = append(found, session(i, now))
		return true
	})
	if err != nil {
		return SessionPage{}, err
	}
	slices.SortStableFunc(found, sessionOrder(q.Sort))
	page := SessionPage{Sessions: []Session{}, Total: len(found)}
	limit := cmp.Or(q.Limit, DefaultPage)
	if skip < len(found) {
		page.Sessions = found[skip:min(skip+limit, len(found))]
	}
	if skip+limit < len(found) {
		page.Next = strconv.Itoa(skip + limit)
	}
	return page, nil
}

// sessionOrder puts the largest first, and the older of two alike.
func sessionOrder(by string) func(a, b Session) int {
	key := func(s *Session) float64 { return s.AgeSeconds }
	switch by {
	case "idle":
		key = func(s *Session) float64 { return s.IdleSeconds }
	case "bytes":
		key = func(s *Session) float64 { return float64(s.BytesUp) + float64(s.BytesDown) }
	case "rtt":
		key = func(s *Session) float64 { return math.Max(rtt(s.ClientTCP), rtt(s.BackendTCP)) }
	}
	return func(a, b Session) int { return cmp.Or(cmp.Compare(key(&b), key(&a)), cmp.Compare(a.ID, b.ID)) }
}

func rtt(t *TCPInfo) float64 {
	if t == nil {
		return 0
	}
	return t.RTTSeconds
}

func session(i *frontend.Info, now time.Time) Session {
	s := Session{
		ID: i.ID, Frontend: i.Frontend, Client: client(i.Client), Backend: i.Backend, State: i.Phase,
		AcceptedAt: i.Accepted, AgeSeconds: now.Sub(i.Accepted).Seconds(), IdleSeconds: max(0, i.Idle.Seconds()),
		BytesUp: uint64(i.BytesUp), BytesDown: uint64(i.BytesDown),
		ClientTCP: tcp(i.ClientTCP), BackendTCP: tcp(i.BackendTCP),
	}
	return s
}

func client(a netip.AddrPort) string {
	if !a.IsValid() {
		return "unix"
	}
	return a.String()
}

func tcp(t frontend.TCP) *TCPInfo {
	if !t.Known {
		return nil
	}
	return &TCPInfo{RTTSeconds: t.RTT.Seconds(), Retransmissions: uint64(t.Retransmits)}
}

// Session returns a live session, or one of the last that ended.
func (r *Running) Session(ctx context.Context, id uint64) (Session, error) {
	var found *Session
	now := time.Now()
	for _, v := range r.Balancer.Views() {
		err := v.Sessions(ctx, frontend.Inspect{TCP: true}, func(i *frontend.Info) bool {
			if i.ID == id {
				s := session(i, now)
				found = &s
			}
			return found == nil
		})
		if err != nil {
			return Session{}, err
		}
	}
	if found != nil {
		return *found, nil
	}
	p, ok := r.Balancer.Ended().Find(id)
	if !ok {
		return Session{}, NotFound("no session %d is live, or among the last %d that ended", id, frontend.EndedSize)
	}
	return ended(p), nil
}

func ended(p *frontend.Past) Session {
	s := Session{
		ID: p.ID, Frontend: p.Frontend, Client: client(p.Client), Backend: p.Backend, State: "ended",
		AcceptedAt: p.Ended.Add(-p.Total), AgeSeconds: p.Total.Seconds(),
		WaitedSeconds: p.Waited.Seconds(), ConnectSeconds: p.Connect.Seconds(), Tries: p.Tries,
		BytesUp: uint64(p.BytesUp), BytesDown: uint64(p.BytesDown),
		Ended: &Ended{At: p.Ended, Outcome: p.Outcome.String(), Code: p.Code},
	}
	if p.Err != nil {
		s.Ended.Error = p.Err.Error()
	}
	return s
}

// Kill ends the sessions that a selector means: their clients see a reset.
func (r *Running) Kill(ctx context.Context, who Who, k KillSelector) (n int, err error) {
	f, err := k.Filter()
	if err != nil {
		return 0, err
	}
	now := time.Now()
	for _, v := range r.Balancer.Views() {
		killed, err := v.Kill(ctx, func(i *frontend.Info) bool {
			if k.ID != 0 {
				return i.ID == k.ID
			}
			return f.means(i, now)
		}, frontend.Killed)
		n += killed
		if err != nil {
			return n, err
		}
	}
	if k.ID != 0 && n == 0 {
		return 0, NotFound("no session %d is live", k.ID)
	}
	if n > 0 {
		r.feed.Publish(Event{At: now, Kind: "change", Who: who.String(), Count: n, Message: fmt.Sprintf("%d sessions were ended by %s", n, who)})
	}
	return n, nil
}

// Why tells what a connection from that client would get now.
func (r *Running) Why(_ context.Context, client, name string) ([]Why, error) {
	addr, err := parseAddr(client)
	if err != nil {
		return nil, err
	}
	var list []Why
	for _, v := range r.Balancer.Views() {
		if name == "" || name == v.Name {
			list = append(list, why(&v, addr))
		}
	}
	if len(list) == 0 {
		return nil, NotFound("no frontend %s", name)
	}
	return list, nil
}

func why(v *balancer.View, addr netip.Addr) Why {
	w := Why{Frontend: v.Name, Client: addr.String(), Admitted: true, Limits: limits(v), Backends: []WhyBackend{}}
	w.AdmittedWhy = "no access list"
	if access := v.Rules.Admission.Access; access != nil {
		w.AdmittedWhy = "the access list lets it in"
		if w.Admitted = access.Allowed(addr); !w.Admitted {
			w.AdmittedWhy, w.Result = "the access list does not let it in", "is refused: denied"
			return w
		}
	}
	request := backend.NewRequest(addr)
	request.Class = v.Rules.Admission.Classes.Of(addr, frontend.Bind{})
	p := v.Pool.Why(&request)
	if len(v.Config.Classes) > 0 {
		w.Class = p.Class.Name
	}
	if p.Backend != nil {
		w.Backend, w.Result = p.Backend.Name(), "goes to "+p.Backend.Name()
		w.Backends = append(w.Backends, WhyBackend{w.Backend, true, p.Reason})
	} else {
		w.Result = strings.TrimSpace("gets none now: " + p.Reason)
	}
	for _, n := range p.Others {
		w.Backends = append(w.Backends, WhyBackend{n.Backend.Name(), false, strings.TrimSuffix(string(n.Cause)+": "+n.Detail, ": ")})
	}
	return w
}

// limits are those that hold for every client, in words.
func limits(v *balancer.View) []string {
	list := []string{}
	c := v.Config
	add := func(n int, what string) {
		if n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(c.MaxSessions, "sessions of this frontend")
	add(c.MaxConnections, "sessions of its backends together")
	add(c.Client.MaxSessions, "sessions of one client")
	if c.Rate.Sessions > 0 {
		list = append(list, fmt.Sprintf("%g new sessions a second", c.Rate.Sessions))
	}
	if c.Client.Rate > 0 {
		list = append(list, fmt.Sprintf("%g new sessions a second of one client", c.Client.Rate))
	}
	return list
}
