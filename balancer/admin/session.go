package admin

import (
	"net/netip"
	"time"
)

// SessionQuery asks for live sessions. Its zero value asks for the first hundred of all, the oldest first.
type SessionQuery struct {
	SessionFilter
	// Sort is one of [SessionSorts]; empty: age. The largest come first.
	Sort string
	// Limit is how many to return: 1 to [MaxPage]. 0: [DefaultPage].
	Limit int
	// Cursor is SessionPage.Next of the page before; empty: the first page.
	Cursor string
	// TCPInfo asks the kernel about both sockets of each session of the page: two system calls each.
	// Sorting by rtt asks about every session.
	TCPInfo bool
}

// SessionFilter says which sessions are meant: those of which all that is set is true.
type SessionFilter struct {
	// Client is who they come from. The zero prefix: anybody.
	Client netip.Prefix
	// Backend and Frontend are names; empty: any.
	Backend  string
	Frontend string
	MinAge   time.Duration
	MinIdle  time.Duration
}

// How many sessions are on a page.
const (
	DefaultPage = 100
	MaxPage     = 10_000
)

// SessionSorts are the ways to sort sessions.
var SessionSorts = []string{"age", "idle", "bytes", "rtt"}

// SessionPage is some of the live sessions.
type SessionPage struct {
	Sessions []Session `json:"sessions"`
	// Total is how many sessions the filter means, on all pages together.
	Total int `json:"total"`
	// Next is the cursor for the next page; empty: this is the last.
	Next string `json:"next"`
}

// Session is a session at one moment, or a record of one that ended.
type Session struct {
	// ID is the session's number in the log.
	ID       uint64 `json:"id"`
	Frontend string `json:"frontend"`
	// Client is address and port, or "unix".
	Client string `json:"client"`
	// Class is empty where there are no classes.
	Class string `json:"class"`
	// Backend was chosen last; empty: none yet.
	Backend string `json:"backend"`
	// State is one of [SessionStates].
	State      string    `json:"state"`
	AcceptedAt time.Time `json:"accepted_at"`
	// AgeSeconds is from accept until now, or until the end.
	AgeSeconds float64 `json:"age_seconds"`
	// IdleSeconds is the time since a byte moved either way.
	IdleSeconds float64 `json:"idle_seconds"`
	// WaitedSeconds is from accept until a backend was chosen, ConnectSeconds the connecting to it.
	WaitedSeconds  float64 `json:"waited_seconds"`
	ConnectSeconds float64 `json:"connect_seconds"`
	Tries          int     `json:"tries"`
	// BytesUp were delivered to the backend, BytesDown to the client.
	BytesUp   uint64 `json:"up_bytes"`
	BytesDown uint64 `json:"down_bytes"`
	// ClientTCP and BackendTCP are there when they were asked for, and the socket is one of TCP.
	ClientTCP  *TCPInfo `json:"client_tcp,omitempty"`
	BackendTCP *TCPInfo `json:"backend_tcp,omitempty"`
	// Ended is there when the session has ended.
	Ended *Ended `json:"ended,omitempty"`
}

// SessionStates are the words for how far a session is.
var SessionStates = []string{"queued", "connecting", "relaying", "half-closed", "closing", "refusing", "ended"}

// TCPInfo is what the kernel tells of a socket (TCP_INFO in tcp(7)).
type TCPInfo struct {
	// RTTSeconds is the smoothed round-trip time, RTTVarSeconds how much it varies.
	RTTSeconds    float64 `json:"rtt_seconds"`
	RTTVarSeconds float64 `json:"rttvar_seconds"`
	// Retransmissions counts segments that were sent again since the socket was opened.
	Retransmissions uint64 `json:"retransmissions"`
}

// Ended is how a session ended.
type Ended struct {
	At time.Time `json:"at"`
	// Outcome is in words, Code in HAProxy's two letters.
	Outcome string `json:"outcome"`
	Code    string `json:"code"`
	// Error is what the outcome does not say; may be empty.
	Error string `json:"error"`
}

// KillSelector says which sessions to end: one by its id, or those that a filter means.
type KillSelector struct {
	// ID 0: by the filter.
	ID uint64 `json:"id,omitempty"`
	// Client is an address, or a prefix such as 10.0.0.0/8.
	Client   string `json:"client,omitempty"`
	Backend  string `json:"backend,omitempty"`
	Frontend string `json:"frontend,omitempty"`
	// MinAgeSeconds and MinIdleSeconds spare the young and the busy.
	MinAgeSeconds  float64 `json:"min_age_seconds,omitempty"`
	MinIdleSeconds float64 `json:"min_idle_seconds,omitempty"`
	// All must be set to end every session there is; it goes with neither an id nor a filter.
	All bool `json:"all,omitempty"`
	// Limit ends so many at most, the oldest first. 0: no limit.
	Limit int `json:"limit,omitempty"`
	// PerSecond ends them one after the other, the oldest first, so many a second, and only those that are there when it
	// begins: 0.001 to 1000000. 0: all at once.
	PerSecond float64 `json:"per_second,omitempty"`
}

// What KillSelector.PerSecond may be.
const (
	leastRate = 0.001
	mostRate  = 1_000_000
)

// Filter returns the selector's filter. The error says what is wrong with the selector.
func (k KillSelector) Filter() (f SessionFilter, err error) {
	if err := k.check(); err != nil {
		return f, err
	}
	f = SessionFilter{Backend: k.Backend, Frontend: k.Frontend, MinAge: seconds(k.MinAgeSeconds), MinIdle: seconds(k.MinIdleSeconds)}
	if k.Client != "" {
		f.Client, err = ParseClient(k.Client)
	}
	return f, err
}

// check keeps a slip from ending every session there is: a selector means something, and one thing only.
func (k KillSelector) check() error {
	ways := 0
	if k.ID != 0 {
		ways++
	}
	if k.All {
		ways++
	}
	if k.filters() {
		ways++
	}
	switch {
	case ways == 0:
		return Invalid("which sessions? give an id, a filter, or all")
	case ways > 1:
		return Invalid("an id, a filter and all go each without the others")
	case k.Limit < 0:
		return Invalid("limit %d is less than 0", k.Limit)
	case k.PerSecond != 0 && !(k.PerSecond >= leastRate && k.PerSecond <= mostRate): // NaN is neither
		return Invalid("per_second %v is not from %v to %v, or 0", k.PerSecond, leastRate, mostRate)
	case !validSeconds(k.MinAgeSeconds):
		return Invalid("min_age_seconds is no time")
	case !validSeconds(k.MinIdleSeconds):
		return Invalid("min_idle_seconds is no time")
	}
	return nil
}

// filters says whether anything of a filter is set.
func (k KillSelector) filters() bool {
	k.ID, k.All, k.Limit, k.PerSecond = 0, false, 0, 0
	return k != KillSelector{}
}

// Killed is how many sessions were ended.
type Killed struct {
	Count int `json:"count"`
	// Of is how many are to be ended. Those that end by themselves meanwhile make Count less in the end.
	Of int `json:"of"`
}
