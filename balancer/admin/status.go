package admin

import "time"

// Status is a whole weir at one moment.
type Status struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	// State is "starting", "serving" or "stopping".
	State      string    `json:"state"`
	ConfigFile string    `json:"config_file"`
	StartedAt  time.Time `json:"started_at"`
	// ReloadedAt is when the file was last applied; absent until it was.
	ReloadedAt *time.Time `json:"reloaded_at,omitempty"`
	// Differs lists what was changed at the door and stands in no file yet.
	Differs   []Difference `json:"differs"`
	Frontends []Frontend   `json:"frontends"`
}

// Difference is one value that differs from the file.
type Difference struct {
	Frontend string `json:"frontend"`
	Backend  string `json:"backend"`
	// What is "state", "weight", "limit", "added" or "removed".
	What string `json:"what"`
	// File is the value in the file, Now the value in use. Both are empty for what was added or removed.
	File string    `json:"file"`
	Now  string    `json:"now"`
	Who  string    `json:"who"`
	At   time.Time `json:"at"`
}

// Frontend is one frontend with the pool behind it.
type Frontend struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	// Engine is "copy" or "reactor", EngineWhy why it is that one.
	Engine    string `json:"engine"`
	EngineWhy string `json:"engine_why"`
	// Active counts the sessions that are open now, Opened and Closed those since the start.
	Active int    `json:"active"`
	Opened uint64 `json:"opened"`
	Closed uint64 `json:"closed"`
	// Outcomes counts the closed sessions by how they ended, in words. Outcomes that never were are absent.
	Outcomes map[string]uint64 `json:"outcomes"`
	// BytesUp went to backends, BytesDown to clients.
	BytesUp   uint64 `json:"up_bytes"`
	BytesDown uint64 `json:"down_bytes"`
	// MaxSessions is the limit of the frontend. 0: none.
	MaxSessions int `json:"max_sessions"`
	// Rate bounds the new sessions of all clients together; absent: not bounded.
	Rate *Rate `json:"rate,omitempty"`
	// Clients bounds what each client may do; absent: not bounded.
	Clients *ClientTable `json:"clients,omitempty"`
	Pool    Pool         `json:"pool"`
}

// Rate is a bound on new sessions.
type Rate struct {
	PerSecond float64 `json:"sessions_per_second"`
	Burst     int     `json:"burst"`
}

// ClientTable is what is remembered of clients to bound what each may do.
type ClientTable struct {
	Known int `json:"known"`
	Size  int `json:"size"`
	// Full counts clients for whom there was no room, and who shared the limits of one.
	Full uint64 `json:"full"`
	// Rate is what each client may do; absent: not bounded.
	Rate *Rate `json:"rate,omitempty"`
	// MaxSessions is how many sessions one client may have at a time. 0: not bounded.
	MaxSessions int `json:"max_sessions"`
}

// Pool is the backends of a frontend and those who wait for them.
type Pool struct {
	Strategy string `json:"strategy"`
	// Usable is how many backends new sessions may go to.
	Usable int `json:"usable"`
	Active int `json:"active"`
	// FailedOver says that the backups keep new sessions, until a failback.
	FailedOver bool `json:"failed_over"`
	// MaxConnections bounds the sessions of all backends together. 0: none.
	MaxConnections int       `json:"max_connections"`
	Queue          Queue     `json:"queue"`
	Classes        []Class   `json:"classes"`
	Backends       []Backend `json:"backends"`
}

// Queue is those who wait for a backend.
type Queue struct {
	Length int `json:"length"`
	// MaxLength 0: nobody may wait.
	MaxLength int `json:"max_length"`
	// TimeoutSeconds bounds a wait. 0: not bounded.
	TimeoutSeconds float64 `json:"timeout_seconds"`
	// Served counts those who waited and got a backend, Refused those for whom there was no room.
	Served  uint64 `json:"served"`
	Refused uint64 `json:"refused"`
	// WaitedSeconds is what those served have waited together, Waits how long each of them did.
	WaitedSeconds float64  `json:"waited_seconds"`
	Waits         []Bucket `json:"waits"`
}

// Bucket counts values up to a bound, and above the bound of the bucket before.
type Bucket struct {
	// UpToSeconds is null in the last bucket, which has no bound.
	UpToSeconds *float64 `json:"up_to_seconds"`
	Count       uint64   `json:"count"`
}

// Class is one class of clients.
type Class struct {
	Name   string `json:"name"`
	Weight int    `json:"weight"`
	Active int    `json:"active"`
	Queued int    `json:"queued"`
}

// Backend is one backend at one moment.
type Backend struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	// State is one of [BackendStates].
	State string `json:"state"`
	// Reason and Since say why, and since when: "connection refused, 3 of 3". Reason may be empty.
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Health is what its probes say; absent: it is not probed.
	Health *Health `json:"health,omitempty"`
	// AdminState is what an operator says of it, one of [AdminStates]; AdminReason is who, in words, and empty when
	// nobody has said anything.
	AdminState  string `json:"admin_state"`
	AdminReason string `json:"admin_reason"`
	// EjectedUntil is when its ejection ends by itself; absent: it is not ejected.
	EjectedUntil *time.Time `json:"ejected_until,omitempty"`
	// Backup says that it serves only while no other is usable, or with BackupWhenFull also while all others are at
	// their limit.
	Backup         bool `json:"backup"`
	BackupWhenFull bool `json:"backup_when_full"`
	// Leaving says that it was removed, and serves until another backend can.
	Leaving bool `json:"leaving"`
	// Added says that it stands in no file, but was added at the door.
	Added  bool `json:"added"`
	Active int  `json:"active"`
	// Elsewhere counts sessions at its address that count against Limit beside Active: of a backend that was removed, or
	// of another process after an upgrade.
	Elsewhere int `json:"elsewhere"`
	// Limit bounds Active now, ConfiguredLimit in the configuration. 0: none.
	Limit           int `json:"limit"`
	ConfiguredLimit int `json:"configured_limit"`
	// Learns says that Limit is learned, and is LearnedFloor at least.
	Learns       bool `json:"learns"`
	LearnedFloor int  `json:"learned_floor"`
	// Weight is what the strategy goes by now, less than ConfiguredWeight during a slow start.
	Weight           float64 `json:"weight"`
	ConfiguredWeight int     `json:"configured_weight"`
	// Sessions counts those that were given to it since the start.
	Sessions uint64 `json:"sessions"`
	// Failed counts attempts to connect that failed, by why. Those that never were are absent.
	Failed map[string]uint64 `json:"failed"`
	// EarlyEnds counts sessions that it ended before it had sent a byte, where early_end counts them.
	EarlyEnds uint64 `json:"early_ends"`
}

// Health is what the probes of a backend say, whatever else keeps it.
type Health struct {
	Up bool `json:"up"`
	// Reason and Since say why it is up, or not, and since when.
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Last is the last probe; absent: there was none yet.
	Last *Probe `json:"last,omitempty"`
}

// Probe is one probe.
type Probe struct {
	At time.Time `json:"at"`
	// DurationSeconds is how long it took.
	DurationSeconds float64 `json:"duration_seconds"`
	// Result is one of [ProbeResults].
	Result string `json:"result"`
	// Error is why it did not pass; empty: it did.
	Error string `json:"error"`
}

// ProbeResults are the words for how a probe went. One that is inconclusive says nothing of the backend.
var ProbeResults = []string{"passed", "failed", "inconclusive"}

// BackendStates are the words for what a backend is good for. Only one that is up gets new sessions.
var BackendStates = []string{"up", "down", "ejected", "drain", "disabled", "maint", "removed"}
