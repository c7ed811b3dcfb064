package config

import (
	"net/netip"
	"slices"
)

// Queue is where clients wait for a backend while the pool is at a limit.
type Queue struct {
	// Size is how many clients wait at one time; further ones are refused at once. 0, the default: there
	// is no queue, and the other keys of this table mean nothing.
	Size int `toml:"size"`
	// Timeout is how long a client waits before it is refused. More than 0. Default 10s.
	Timeout Duration `toml:"timeout"`
	// FairBy is whose turn comes within a class: "none", the default, is first come, first served; with
	// "client" each client address has its turn, however many of its sessions wait.
	FairBy string `toml:"fair_by"`
	// LeaveOnEnd counts a waiting client that has sent nothing and ends its stream as one that left.
	// False is for protocols in which a client only listens. Default true.
	LeaveOnEnd bool `toml:"leave_on_end"`
}

// DefaultClass is the class of the clients that no [Class] matches. Its weight is 1, and it has no limits
// of its own. No class of the file has its name.
const DefaultClass = "default"

// Class is a group of clients with a share of the pool. While clients of several classes wait, a free
// slot goes to the class that has least for its weight.
type Class struct {
	// Name stands in logs and metrics. Printable characters only. Required, unique in its frontend.
	Name string `toml:"name"`
	// Match tells who belongs here. A string, or a list. At least one, and none that another class has.
	// The listening address that a client came to decides first, then the longest prefix it is in.
	Match []Match `toml:"match"`
	// Weight is the share relative to the other classes. 1 to 1000. Default 1. Needs a queue.
	Weight int `toml:"weight"`
	// MaxConnections bounds the sessions of this class that the pool's backends together have at one
	// time. 0, the default: no limit but the pool's.
	MaxConnections int `toml:"max_connections"`
	// MaxQueued bounds the clients of this class that wait at one time; at most Queue.Size. 0, the
	// default: bounded by Queue.Size only. Needs a queue.
	MaxQueued int `toml:"max_queued"`
}

// Rate is how many clients a frontend takes in a time.
type Rate struct {
	// Sessions is the number of new sessions a second, of all clients together: 0.00001 to 2147483647.
	// Further ones are refused. 0, the default: no limit.
	Sessions float64 `toml:"sessions"`
	// Burst is how many may come at once after a quiet time. At least 1. Default: Sessions rounded up,
	// at least 1. Needs Sessions.
	Burst int `toml:"burst"`
}

// Client is what one client may do. All addresses in one prefix of the given lengths are one client.
type Client struct {
	// Rate is the number of new sessions a second of one client: 0.00001 to 2147483647. Further ones are
	// refused. 0, the default: no limit.
	Rate float64 `toml:"rate"`
	// Burst is how many of them may come at once after a quiet time. At least 1. Default: Rate rounded
	// up, at least 1. Needs Rate.
	Burst int `toml:"burst"`
	// MaxSessions bounds the sessions of one client at one time. 0, the default: no limit.
	MaxSessions int `toml:"max_sessions"`
	// IPv4Prefix and IPv6Prefix are lengths in bits: 1 to 32, default 32; 1 to 128, default 64. They need
	// Rate or MaxSessions.
	IPv4Prefix int `toml:"ipv4_prefix"`
	IPv6Prefix int `toml:"ipv6_prefix"`
	// Table is how many clients are known at one time, which bounds the memory. 1024 to 16777216. Default
	// 65536. Needs Rate or MaxSessions.
	Table int `toml:"table"`
}

// Allowed gives the prefixes of Allow and of AllowFile. One may be in both.
func (f *Frontend) Allowed() []netip.Prefix { return prefixes(f.Allow, f.AllowListed) }

// Denied gives the prefixes of Deny and of DenyFile. One may be in both.
func (f *Frontend) Denied() []netip.Prefix { return prefixes(f.Deny, f.DenyListed) }

// DeniesUnix says whether clients of unix sockets are kept out.
func (f *Frontend) DeniesUnix() bool {
	isUnix := func(p Prefix) bool { return p.Unix }
	return slices.ContainsFunc(f.Deny, isUnix) || slices.ContainsFunc(f.DenyListed, isUnix)
}

// prefixes is nil only if there is nothing in the lists.
func prefixes(lists ...[]Prefix) (all []netip.Prefix) {
	for _, list := range lists {
		for _, p := range list {
			if all == nil {
				all = []netip.Prefix{}
			}
			if !p.Unix {
				all = append(all, p.Prefix)
			}
		}
	}
	return all
}
