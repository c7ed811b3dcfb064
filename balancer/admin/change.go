package admin

import (
	"math"
	"slices"
	"time"

	"weir/balancer"
)

// BackendChange is what to change about a backend; what is absent stays.
type BackendChange struct {
	// State is "ready", "drain" (no new sessions, the running ones go on) or "maint" (no probes either).
	State *string `json:"state,omitempty"`
	// Weight is 0 to 1000. 0: no new sessions.
	Weight *int `json:"weight,omitempty"`
	// Limit bounds its sessions. 0: no limit.
	Limit *int `json:"limit,omitempty"`
}

func (c BackendChange) check() error {
	switch {
	case c.State == nil && c.Weight == nil && c.Limit == nil:
		return Invalid("nothing to change: give state, weight or limit")
	case c.State != nil && !slices.Contains(AdminStates, *c.State):
		return Invalid("state %q is none of %v", *c.State, AdminStates)
	}
	return checkShare(c.Weight, c.Limit)
}

// checkShare bounds what the file bounds as well.
func checkShare(weight, limit *int) error {
	switch {
	case weight != nil && (*weight < 0 || *weight > maxWeight):
		return Invalid("weight %d is not from 0 to %d", *weight, maxWeight)
	case limit != nil && (*limit < 0 || *limit > maxLimit):
		return Invalid("limit %d is not from 0 to %d", *limit, maxLimit)
	}
	return nil
}

// The same as in package config.
const (
	maxWeight = 1000
	maxLimit  = math.MaxInt32
)

// AdminStates are the states that an operator can set a backend to.
var AdminStates = []string{"ready", "drain", "maint"}

// NewBackend is a backend to add.
type NewBackend struct {
	// Address is what forward_to is in the file.
	Address string `json:"address"`
	// Name empty: the address.
	Name string `json:"name,omitempty"`
	// Weight is 0 to 1000; absent: 1.
	Weight *int `json:"weight,omitempty"`
	// Limit bounds its sessions. 0: no limit.
	Limit  int  `json:"limit,omitempty"`
	Backup bool `json:"backup,omitempty"`
}

func (b NewBackend) check() error {
	if b.Address == "" {
		return Invalid("address is missing: where does it listen?")
	}
	return checkShare(b.Weight, &b.Limit)
}

// PlanRequest is a file to compare with what runs.
type PlanRequest struct {
	// File is its absolute name, for mistakes and for the files that it names itself.
	File string `json:"file"`
	Text string `json:"text"`
}

// Plan is what a file changes, or has changed.
type Plan struct {
	File string `json:"file"`
	// Changed says whether there is any change.
	Changed bool     `json:"changed"`
	Changes []Change `json:"changes"`
	// SessionsEnded counts the live sessions that it ends, at the latest when the drain time is up.
	SessionsEnded int `json:"sessions_ended"`
	// Warnings are lines about what will hardly do what is meant, each with its place in the file.
	Warnings []string `json:"warnings"`
}

// Change is one difference between what runs and a file.
type Change struct {
	// Action is "add", "remove" or "change".
	Action string `json:"action"`
	// Frontend and Backend are names; empty: it is about all of weir, or about the frontend.
	Frontend string `json:"frontend"`
	Backend  string `json:"backend"`
	// Key is the key in the file, such as "weight"; empty for a whole frontend or backend.
	Key string `json:"key"`
	// From and To are values as the file has them; empty where there is none.
	From string `json:"from"`
	To   string `json:"to"`
	// SessionsEnded counts the live sessions that it ends.
	SessionsEnded int `json:"sessions_ended"`
	// Note says what is worth knowing beside: "takes effect with the next session". May be empty.
	Note string `json:"note"`
}

// String gives a line: "~ frontend web: backend db1: weight: 1 -> 3".
func (c Change) String() string {
	return balancer.Change{Frontend: c.Frontend, Backend: c.Backend, Key: c.Key, From: c.From, To: c.To, Ends: c.SessionsEnded, Note: c.Note}.String()
}

// Upgraded is the process that has taken over.
type Upgraded struct {
	PID int `json:"pid"`
}

// FailedBack is where new sessions go after a failback.
type FailedBack struct {
	Frontend string `json:"frontend"`
	// Changed is false if they went there already.
	Changed bool `json:"changed"`
}

// Saved is what was written into the file.
type Saved struct {
	File string `json:"file"`
	// Saved are the differences that there were.
	Saved []Difference `json:"saved"`
	// Rewritten says that the whole file was written anew, without its comments, for it could not be changed in
	// place: it has not a header for each backend, say.
	Rewritten bool `json:"rewritten"`
	// Kept is the file with what was there before. Empty: nothing was written.
	Kept string `json:"kept"`
}

// Why is what a connection from a client would get now, and why.
type Why struct {
	Frontend string `json:"frontend"`
	// Listeners are the addresses at which that is so. Others of the frontend, if they make another class of the
	// client, have an answer of their own.
	Listeners []string `json:"listeners"`
	Client    string   `json:"client"`
	// Admitted says whether it is let in at all, AdmittedWhy by what rule.
	Admitted    bool   `json:"admitted"`
	AdmittedWhy string `json:"admitted_why"`
	// Class is empty where there are no classes, or it is not let in.
	Class string `json:"class"`
	// Limits are in words, one for each that holds for it: "12 of 20 sessions of this client".
	Limits []string `json:"limits"`
	// Backend is the one it would go to. Empty: none now.
	Backend string `json:"backend"`
	// Result says in words what happens: "goes to db1", "waits in the queue", "is refused: denied".
	Result string `json:"result"`
	// Backends says of each backend why, or why not. Empty if it is not let in.
	Backends []WhyBackend `json:"backends"`
}

// WhyBackend is why a backend is chosen, or why not.
type WhyBackend struct {
	Backend string `json:"backend"`
	Chosen  bool   `json:"chosen"`
	Reason  string `json:"reason"`
}

// Event is one thing that happened. What does not belong to its kind is empty.
type Event struct {
	At time.Time `json:"at"`
	// Kind is one of [EventKinds].
	Kind     string `json:"kind"`
	Frontend string `json:"frontend,omitempty"`
	Backend  string `json:"backend,omitempty"`
	// From and To are states of the backend.
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Outcome is how the sessions ended that were refused.
	Outcome string `json:"outcome,omitempty"`
	// Count is how many sessions were refused, or how many events were dropped.
	Count int `json:"count,omitempty"`
	// Who asked for it.
	Who string `json:"who,omitempty"`
	// Message tells all of it in words.
	Message string `json:"message"`
}

// EventKinds are the kinds of events: "backend" is one that changed its state, "drained" one that gets no new sessions
// and has none left, "refused" sums up sessions that were refused in the last second, "dropped" says that the reader was
// too slow for so many.
var EventKinds = []string{"backend", "drained", "change", "reload", "upgrade", "refused", "stopping", "dropped"}
