// Package config is weir's file: its schema, its defaults, and the reading of it.
//
// It turns TOML into a [Config] in which every default is filled in and every value has been
// checked, or into [Mistakes]: everything that is wrong with the file at once, each with its
// position, the key's path and what would be right. It reads no file but that one and the lists of
// prefixes and keys of TLS it names, opens no socket, resolves no name but those of users and groups, and knows no other room of the house; balancer
// translates what it says into the options of the other rooms. What is right and will hardly do what is meant is in the
// [Warnings] of a [Reading].
//
// Start with the types in this file, in admission.go and in operations.go, then [Load].
package config

// Config is a whole file. Counts without an upper bound below end at 2147483647. Fields without a
// toml tag are no keys: they follow from the ones before them.
type Config struct {
	// MaxSessions bounds the sessions of the whole process at one time; further clients wait in the
	// kernel's accept queues. 0, the default: bounded by file descriptors only.
	MaxSessions int `toml:"max_sessions"`
	// PinLoops keeps each loop of the reactor on a core of its own, and gives it the clients whose packets arrive
	// there. Default false.
	PinLoops bool `toml:"pin_loops"`
	// Frontends holds one or more frontends: one [frontend] table, or many [[frontend]].
	Frontends []Frontend `toml:"frontend"`
	Shutdown  Shutdown   `toml:"shutdown"`
	Admin     Admin      `toml:"admin"`
	Log       Log        `toml:"log"`
}

// Frontend is a listening address, the rules for what arrives there, and the pool behind it.
type Frontend struct {
	// Name stands in logs and errors. Printable characters only. Default: the first address of BindOn.
	// Unique in the file.
	Name string `toml:"name"`
	// BindOn holds the listening addresses: IP:port, [::]:port, :port, localhost:port, unix:/path or
	// unix:@abstract. A string, a table with the address and the permissions of a unix socket, or a list of them: see
	// [Listen]. At least one; port 0 lets the kernel choose.
	BindOn []Listen `toml:"bind_on"`
	// Strategy chooses a backend: see [Strategies]. Default "cyclic".
	Strategy string `toml:"strategy"`
	// Engine runs the sessions: "reactor" (epoll loops, Linux only), "copy" (goroutines), or "auto", the
	// default: the reactor where there is one.
	Engine string `toml:"engine"`
	// ConnectTimeout bounds one attempt to connect to one backend. More than 0. Default 5s.
	ConnectTimeout Duration `toml:"connect_timeout"`
	// IdleTimeout ends a session in which no byte moved either way for this long. 0, the default:
	// never; keepalive and dead_peer_timeout find dead peers.
	IdleTimeout Duration `toml:"idle_timeout"`
	// HalfCloseTimeout ends a session of which one side has finished sending and the other stayed
	// silent for this long. 0: never. Default 5m.
	HalfCloseTimeout Duration `toml:"half_close_timeout"`
	// SessionTimeout ends a session this long after its accept, whatever it does. 0, the default: never.
	SessionTimeout Duration `toml:"session_timeout"`
	// SessionJitter shortens each session's SessionTimeout by a random share of up to this many
	// percent, so that sessions opened together do not end together. 0 to 100. Default 0.
	SessionJitter int `toml:"session_jitter"`
	// Retries is how many further attempts to connect follow a failed one, on another backend
	// whenever there is one. 0 to 100; 0: none. Default 2.
	Retries int `toml:"retries"`
	// Keepalive is TCP keepalive, on the sockets of clients and of backends.
	Keepalive Keepalive `toml:"keepalive"`
	// UserTimeout is TCP_USER_TIMEOUT (RFC 5482) on both sockets of a session: sent data that stays
	// unacknowledged, or untransmitted because the peer's window is closed, for this long ends the
	// connection. It ends peers that are there, but pause. At least 1ms, at most 596h (the kernel's int of
	// milliseconds). 0, the default: the kernel's own limit, about 15 minutes. Linux only.
	UserTimeout Duration `toml:"user_timeout"`
	// DeadPeerTimeout ends a session of which one peer is gone: sent data is unacknowledged for this long, and the
	// peer answers nothing else either. One that is there, but does not read, is kept. 1s to 24h. 0: what the kernel
	// does, after about 15 minutes. Default 30s. Linux only.
	DeadPeerTimeout Duration `toml:"dead_peer_timeout"`
	// MaxSessions bounds the sessions of this frontend at one time; further clients wait in the
	// kernel's accept queue. 0, the default: bounded by file descriptors only.
	MaxSessions int `toml:"max_sessions"`
	// Backlog is the length of the kernel's accept queue (listen(2)), capped by the kernel at
	// net.core.somaxconn. 0, the default: that cap.
	Backlog int `toml:"backlog"`
	// SourceAddress holds the local IPs that connections to backends come from, used in turn; when
	// one has no free port the next is tried. A string, or a list. Empty, the default: the kernel
	// chooses.
	SourceAddress []IP `toml:"source_address"`
	// MaxConnections bounds the sessions that the pool's backends together have at one time. 0, the
	// default: no limit but those of the backends.
	MaxConnections int `toml:"max_connections"`
	// Failback is when new sessions go back to backends that are no backups, once the backups have taken over: "auto",
	// the default, as soon as one is usable; "manual", when an operator says so ('weir failback'), or no backup is
	// usable any more.
	Failback string `toml:"failback"`
	// OnNoBackend is what a client gets while no backend is usable: "refuse", the default, is what
	// OnRefuse says; "close" (FIN) and "reset" (RST) are that whatever OnRefuse says; "hold" keeps it
	// in the queue, to be served if a backend returns within Queue.Timeout. "hold" needs a queue.
	OnNoBackend string `toml:"on_no_backend"`
	// OnRefuse is what a client gets that no backend will serve: because its turn in the queue did not
	// come, the queue is full, or nothing is free and there is no queue. "close" (FIN), the default,
	// "reset" (RST), or "speak": Protocol and RefuseMessage, then close.
	OnRefuse string `toml:"on_refuse"`
	// Protocol is what the clients speak: "postgres", "mysql" or "redis". They are told of a refusal in
	// it. "", the default: RefuseMessage alone is sent. Only with OnRefuse "speak".
	Protocol string `toml:"protocol"`
	// RefuseMessage is the text of the protocol's error, one line of at most 511 bytes; without a
	// Protocol the very bytes to send, at most 1024. "", the default: the protocol's usual text. Only with
	// OnRefuse "speak".
	RefuseMessage string `toml:"refuse_message"`
	// Allow and Deny hold prefixes of client addresses. The longest that contains a client decides, Deny
	// on a tie. A client in none is let in, unless anything is allowed by name: then it is not. Clients of unix
	// sockets have no address: they are let in, for the mode of the path has decided about them, unless "unix" is denied. A
	// string, or a list. Empty, the default: everybody. See [Frontend.Allowed] and [Frontend.Denied].
	Allow []Prefix `toml:"allow"`
	Deny  []Prefix `toml:"deny"`
	// AllowFile and DenyFile are paths of files with more of them, one a line, with # before a comment.
	// Relative to the directory of the file; Load and Parse make them absolute. "", the default: none.
	AllowFile string `toml:"allow_file"`
	DenyFile  string `toml:"deny_file"`
	// AllowListed and DenyListed are what was in those files. Frontends that name the same file share
	// the memory: not to be changed.
	AllowListed, DenyListed []Prefix

	Queue    Queue     `toml:"queue"`
	Classes  []Class   `toml:"class"`
	Rate     Rate      `toml:"rate"`
	Client   Client    `toml:"client"`
	Backends []Backend `toml:"backend"`
	Health   Health    `toml:"health"`
	Passive  Passive   `toml:"passive"`
}

// Keepalive is when the kernel asks a silent peer whether it is still there (tcp(7)).
type Keepalive struct {
	// Idle is the silence before the first question. 0: keepalive off. Whole seconds, at most 32767s.
	// Default 60s.
	Idle Duration `toml:"idle"`
	// Interval is the time between questions. Whole seconds, 1s to 32767s. Default 10s.
	Interval Duration `toml:"interval"`
	// Count is how many questions go unanswered before the connection is dead. 1 to 127. Default 6.
	// Where user_timeout is set Linux goes by that instead: the connection is dead with the first
	// question that finds the peer silent for so long (tcp_keepalive_timer).
	Count int `toml:"count"`
}

// Backend is one server that connections are forwarded to.
type Backend struct {
	// ForwardTo is where to connect: IP:port, host:port, unix:/path or unix:@abstract. Required.
	// A host is resolved by the system's resolver each time it is dialled.
	ForwardTo Address `toml:"forward_to"`
	// Name stands in logs. Default: ForwardTo. Unique within its frontend.
	Name string `toml:"name"`
	// Weight is this backend's share relative to the others. 1 to 1000; 0: drained, it gets no new
	// sessions. Default 1.
	Weight int `toml:"weight"`
	// Backup makes it one that serves only when it has to: with true while no other backend is usable, those with
	// "full" included; with "full" also while all others that are usable are at their limit. Default false.
	Backup Backup `toml:"backup"`
	// MaxConnections bounds the sessions this backend has at one time. 0, the default: no limit.
	//
	// The file may say "auto" instead: the limit is learned from how long the backend takes. Then Auto
	// is set, and MaxConnections is Max, the bound that holds whatever was learned.
	MaxConnections int `toml:"max_connections"`
	Auto           bool
	// Min and Max are the bounds of a learned limit: 1 ≤ Min ≤ Max. Defaults 1 and 1000. Without Auto
	// the file may not have them, and they mean nothing.
	Min int `toml:"min"`
	Max int `toml:"max"`
	// Disabled keeps it out: no sessions, no probes. Default false.
	Disabled bool `toml:"disabled"`
}

// Health is how backends are probed.
type Health struct {
	// Kind is "tcp" (a connection is opened and closed), the default, or "none".
	Kind string `toml:"kind"`
	// Interval is the time between two probes of one backend. At least 10ms. Default 2s.
	Interval Duration `toml:"interval"`
	// FastInterval replaces Interval while a backend is between states: the last verdict spoke
	// against its state, but not often enough. At least 10ms. 0, the default: Interval.
	FastInterval Duration `toml:"fast_interval"`
	// Timeout bounds one probe. More than 0. Default 1s.
	Timeout Duration `toml:"timeout"`
	// Rise is how many good verdicts in a row bring a backend up. At least 1. Default 2.
	Rise int `toml:"rise"`
	// Fall is how many bad verdicts in a row take a backend down. At least 1. Default 3.
	Fall int `toml:"fall"`
	// Jitter spreads probes: each waits its interval, longer or shorter by a random share of up to
	// this many percent. 0 to 50. Default 10.
	Jitter int `toml:"jitter"`
	// Port is probed in place of each backend's own port. 0, the default: the backend's own.
	Port int `toml:"port"`
	// Address (an IP or a host, without port) is probed in place of each backend's own. Default: none.
	Address string `toml:"address"`
	// Initial is each backend's state before the first verdict: "up", the default, or "down".
	Initial string `toml:"initial"`
	// OnDown is what happens to the sessions of a backend that goes down: "keep", the default, or
	// "close".
	OnDown string `toml:"on_down"`
	// OnUp is what happens to the sessions of backups when another backend is up again: "keep", the default, or
	// "close_backup_sessions", within about 10s, so that not all of their clients connect anew at once. With Failback
	// "manual" that is when new sessions go back.
	OnUp string `toml:"on_up"`
	// SlowStart is the time in which a backend that comes to be usable grows from a small share to its whole
	// weight: one that comes back, from whatever kept it, or is new. Those that are there at the start begin with
	// their whole weight. 0, the default: at once.
	SlowStart Duration `toml:"slow_start"`
}

// Passive is how failures to connect in the course of service count against a backend.
type Passive struct {
	// Failures within Window eject a backend. 0: never eject. Default 3.
	Failures int `toml:"failures"`
	// Window is the time within which the failures count. More than 0. Default 10s.
	Window Duration `toml:"window"`
	// EjectFor is how long an ejected backend gets no new sessions, the first time. More than 0. Default 10s.
	// Health.Rise good probes in a row end it sooner.
	EjectFor Duration `toml:"eject_for"`
	// EjectForMax bounds the time of ejections that repeat: each lasts twice as long as the one before, and every
	// EjectFor without one takes a doubling back. At least EjectFor. Default 5m, or EjectFor if that is longer.
	EjectForMax Duration `toml:"eject_for_max"`
	// EarlyEnd has a session count as a failure that the backend ends or resets before it has sent a byte, though
	// the client has sent some and has not ended its stream. Default false: some protocols have such sessions.
	EarlyEnd bool `toml:"early_end"`
	// MaxEjected is the percentage of the pool that may be out at one time before ejection stops
	// (the panic rule). 0 to 100; 0: never eject. Default 50.
	MaxEjected int `toml:"max_ejected"`
}

// Shutdown is how a weir that was asked to stop does so.
type Shutdown struct {
	// Grace is the time in which it goes on accepting. 0, the default: none.
	Grace Duration `toml:"grace"`
	// Drain is the time that running sessions then have to finish before they are cut. 0: they are
	// cut at once. Default 30s.
	Drain Duration `toml:"drain"`
}

// Strategies lists the names that the key strategy accepts, the usual aliases last.
var Strategies = []string{
	"cyclic", "least-connections", "two-choices", "source-hash", "first", "least-latency",
	"round-robin", "leastconn",
}
