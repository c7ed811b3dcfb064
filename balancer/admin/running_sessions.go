package admin

import (
	"cmp"
	"context"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"weir/balancer"
	"weir/config"
	"weir/frontend"
)

// all visits the live sessions of all frontends that a filter means.
func (r *Running) all(ctx context.Context, f *SessionFilter, tcp bool, visit func(*balancer.View, *frontend.Info) bool) error {
	now := time.Now()
	for _, v := range r.Balancer.Views() {
		if f.Frontend != "" && f.Frontend != v.Name {
			continue
		}
		err := v.Sessions(ctx, frontend.Inspect{TCP: tcp}, func(i *frontend.Info) bool { return !f.means(i, now) || visit(&v, i) })
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
	err := r.all(ctx, &q.SessionFilter, q.TCPInfo || q.Sort == "rtt", func(v *balancer.View, i *frontend.Info) bool {
		found = append(found, session(v, i, now))
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

func session(v *balancer.View, i *frontend.Info, now time.Time) Session {
	return Session{
		ID: i.ID, Frontend: i.Frontend, Client: client(i.Client), Class: class(v.Config, i.Class), Backend: i.Backend, State: i.Phase,
		AcceptedAt: i.Accepted, AgeSeconds: now.Sub(i.Accepted).Seconds(), IdleSeconds: max(0, i.Idle.Seconds()),
		WaitedSeconds: i.Waited.Seconds(), ConnectSeconds: i.Connect.Seconds(), Tries: i.Tries,
		BytesUp: uint64(i.BytesUp), BytesDown: uint64(i.BytesDown),
		ClientTCP: tcp(i.ClientTCP), BackendTCP: tcp(i.BackendTCP),
	}
}

// class names a class by its number, which is that of the file; empty where there are no classes.
func class(c *config.Frontend, number int) string {
	switch {
	case len(c.Classes) == 0 || number < 0:
		return ""
	case number < len(c.Classes):
		return c.Classes[number].Name
	}
	return config.DefaultClass
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
	return &TCPInfo{RTTSeconds: t.RTT.Seconds(), RTTVarSeconds: t.RTTVar.Seconds(), Retransmissions: uint64(t.Retransmits)}
}

// Session returns a live session, or one of the last that ended.
func (r *Running) Session(ctx context.Context, id uint64) (Session, error) {
	var found *Session
	now := time.Now()
	for _, v := range r.Balancer.Views() {
		err := v.Sessions(ctx, frontend.Inspect{TCP: true}, func(i *frontend.Info) bool {
			if i.ID == id {
				s := session(&v, i, now)
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
	s := ended(p)
	if v, ok := r.Balancer.View(p.Frontend); ok {
		s.Class = class(v.Config, p.Class)
	}
	return s, nil
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
