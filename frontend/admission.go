package frontend

import (
	"net/netip"
	"time"

	"weir/frontend/access"
	"weir/frontend/rate"
)

// Admission is what decides about a client before it costs more than its socket. The zero Admission lets
// everybody in.
type Admission struct {
	// Access says who may connect at all.
	Access *access.List
	// Rate bounds the new sessions of all clients together, Clients what each of them may do.
	Rate    *rate.Bucket
	Clients *rate.Clients
	// Classes says of which class of its pool a client is.
	Classes Classes
}

// Classes says of which class a client is: by the address it connected to, or else by its own.
type Classes struct {
	// Binds holds the classes of listening addresses. Where there is none the client's address decides.
	Binds map[Bind]int
	// Prefixes holds the classes of clients' addresses.
	Prefixes *access.Classes
	// Default is the class of everybody else.
	Default int
}

// Of returns the class of a client that has come to that address.
func (c *Classes) Of(client netip.Addr, bind Bind) int {
	if len(c.Binds) > 0 {
		if i, ok := c.Binds[bind]; ok {
			return i
		}
	}
	if i, ok := c.Prefixes.Of(client); ok {
		return i
	}
	return c.Default
}

// Admitted is what is to be remembered of a client that was let in.
type Admitted struct {
	clients *rate.Clients // that counts it; nil: none does
	client  rate.Ref
	class   int
}

// end is the opposite of Admit.
func (a *Admitted) end() { a.clients.Close(a.client) }

// Admit says whether a client that was just accepted at that address is let in; if not, its session
// is over, and counted and told as such. Then the engine resets it: a client that is not welcome is worth
// no further word. One that was let in is to Begin.
//
// A stranger makes us spend one accept and one close, a look-up in the access list, and if that lets it in
// one in the table of clients, which is bounded; and a log line, if sessions are logged.
func (f *Frontend) Admit(from netip.AddrPort, bind Bind, now time.Time) (a Admitted, ok bool) {
	rules := &f.Current().Admission
	if !rules.Access.Allowed(from.Addr()) {
		f.turnAway(from, now, Denied)
		return a, false
	}
	if rules.Clients != nil || rules.Rate != nil {
		at := f.Pool.At(now)
		verdict := rate.OK
		if a.client, verdict = rules.Clients.Open(from.Addr(), at); verdict != rate.OK {
			f.turnAway(from, now, ofVerdict(verdict))
			return a, false
		}
		a.clients = rules.Clients
		if !rules.Rate.Take(at) {
			a.end()
			f.turnAway(from, now, TooFast)
			return a, false
		}
	}
	a.class = rules.Classes.Of(from.Addr(), bind)
	return a, true
}

// admitLent is Admit for a client that a landlord has let in.
func (f *Frontend) admitLent(from netip.AddrPort, bind Bind, now time.Time) (a Admitted) {
	rules := &f.Current().Admission
	a.clients, a.client = rules.Clients, rules.Clients.Occupy(from.Addr(), 1, f.Pool.At(now))
	a.class = rules.Classes.Of(from.Addr(), bind)
	return a
}

// ofVerdict says what it means that a client may not begin a session.
func ofVerdict(v rate.Verdict) Outcome {
	if v == rate.TooMany {
		return TooMany
	}
	return TooFast
}

// turnAway counts and logs a session that never began.
func (f *Frontend) turnAway(from netip.AddrPort, now time.Time, why Outcome) {
	s := Session{frontend: f, id: lastID.Add(1), from: from, accepted: now, admitted: Admitted{class: -1}}
	f.counters.Opened.Add(1)
	s.Settle(Ending{Outcome: why, Phase: Connecting, At: now})
}
