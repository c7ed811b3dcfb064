// Package admintest has an admin.Operator for tests: it answers with a weir that never was, and remembers
// what it was asked to do.
package admintest

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"weir/balancer/admin"
	"weir/config"
)

// Operator is the fake. Set its fields before it is used by others; then use its methods.
type Operator struct {
	// NotReady, if not empty, is why it is not ready.
	NotReady string
	// Err, if not nil, is what every method returns that can.
	Err error
	// Now stands in for the time.
	Now time.Time
	// State is what Status returns.
	State admin.Status
	// Live are the sessions, Ended those that have ended.
	Live, Ended []admin.Session
	// Planned is what Plan and Reload return.
	// Rewrites is what Save says of the file.
	Rewrites bool
	Planned  admin.Plan
	// Feed carries the events.
	Feed admin.Feed

	mu    sync.Mutex
	calls []string
	looks int
	pid   int // 0: that of State
	// active, drained and removed are by frontend and backend.
	active           map[[2]string]int
	drained, removed map[[2]string]bool
	who              []admin.Who
}

// New returns a fake with one frontend "pg" and two backends, "db1" and "db2", of which the latter is down.
// It stands at that time, to the second.
func New(now time.Time) *Operator {
	o := &Operator{Now: now.UTC().Truncate(time.Second), active: map[[2]string]int{}, drained: map[[2]string]bool{}, removed: map[[2]string]bool{}}
	o.State = o.status()
	for id := range uint64(3) {
		o.Live = append(o.Live, o.session(3-id))
	}
	ended := o.session(4)
	ended.State = "ended"
	ended.Ended = &admin.Ended{At: o.Now.Add(-time.Minute), Outcome: "backend reset", Code: "SD", Error: "read: connection reset by peer"}
	o.Ended = []admin.Session{ended}
	o.Planned = admin.Plan{File: "/etc/weir.toml", Changes: []admin.Change{}, Warnings: []string{}}
	return o
}

func (o *Operator) status() admin.Status {
	ms, reloaded := 0.001, o.Now.Add(-time.Hour)
	return admin.Status{
		Version: "weir v1.0.0", PID: 4711, State: "serving", ConfigFile: "/etc/weir.toml",
		StartedAt: o.Now.Add(-3*time.Hour - 12*time.Minute), ReloadedAt: &reloaded,
		Differs: []admin.Difference{{Frontend: "pg", Backend: "db1", What: "weight", File: "1", Now: "3", Who: "root (uid 0, pid 99)", At: o.Now.Add(-time.Minute)}},
		Frontends: []admin.Frontend{{
			Name: "pg", Addresses: []string{"127.0.0.1:5432"}, Engine: "reactor", EngineWhy: "auto",
			Active: 3, Opened: 1204, Closed: 1201, Outcomes: map[string]uint64{"normal": 1190, "backend reset": 11},
			BytesUp: 52_400_000, BytesDown: 1_310_000_000, MaxSessions: 500,
			Rate:    &admin.Rate{PerSecond: 100, Burst: 20},
			Clients: &admin.ClientTable{Known: 12, Size: 65536, Full: 0, Rate: &admin.Rate{PerSecond: 10, Burst: 5}, MaxSessions: 20},
			Pool:    o.pool(ms),
		}},
	}
}

func (o *Operator) pool(ms float64) admin.Pool {
	return admin.Pool{
		Strategy: "least-connections", Usable: 1, Active: 3, MaxConnections: 100,
		Queue: admin.Queue{Length: 2, MaxLength: 100, TimeoutSeconds: 5, Served: 40, Refused: 1, WaitedSeconds: 1.5,
			Waits: []admin.Bucket{{UpToSeconds: &ms, Count: 38}, {Count: 2}}},
		Classes: []admin.Class{{Name: "reports", Weight: 1, Active: 1, Queued: 2}, {Name: "web", Weight: 4, Active: 2}},
		Backends: []admin.Backend{
			{Name: "db1", Address: "10.0.0.5:5432", State: "up", Reason: "the probes say so", Since: o.Now.Add(-3 * time.Hour), AdminState: "ready", Active: 3, Limit: 40,
				ConfiguredLimit: 60, Learns: true, LearnedFloor: 10, Weight: 3, ConfiguredWeight: 3, Sessions: 1100},
			{Name: "db2", Address: "10.0.0.6:5432", State: "down", Reason: "connection refused, 3 of 3", Since: o.Now.Add(-4 * time.Minute), AdminState: "ready",
				ConfiguredLimit: 0, Weight: 1, ConfiguredWeight: 1, Sessions: 104, Failed: map[string]uint64{"refused": 7}, Backup: true},
		},
	}
}

func (o *Operator) session(id uint64) admin.Session {
	age := time.Duration(id) * time.Hour
	return admin.Session{
		ID: id, Frontend: "pg", Client: fmt.Sprintf("192.0.2.%d:40000", id), Class: "web", Backend: "db1", State: "relaying",
		AcceptedAt: o.Now.Add(-age), AgeSeconds: age.Seconds(), IdleSeconds: float64(id), WaitedSeconds: 0.002, ConnectSeconds: 0.001, Tries: 1,
		BytesUp: id * 1000, BytesDown: id * 1_000_000,
		ClientTCP:  &admin.TCPInfo{RTTSeconds: 0.012, RTTVarSeconds: 0.003, Retransmissions: id},
		BackendTCP: &admin.TCPInfo{RTTSeconds: 0.0004, RTTVarSeconds: 0.0001},
	}
}

// Calls returns what the fake was asked to do: "kill {…}".
func (o *Operator) Calls() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls)
}

// LastWho returns who asked last for a change.
func (o *Operator) LastWho() admin.Who {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.who) == 0 {
		return admin.Who{}
	}
	return o.who[len(o.who)-1]
}

func (o *Operator) called(who admin.Who, format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, fmt.Sprintf(format, args...))
	o.who = append(o.who, who)
}

// Ready follows NotReady.
func (o *Operator) Ready() (bool, string) { return o.NotReady == "", o.NotReady }

// Status returns State, with the pid that SetPID says.
func (o *Operator) Status() admin.Status {
	s := o.State
	o.mu.Lock()
	defer o.mu.Unlock()
	s.PID = cmp.Or(o.pid, s.PID)
	return s
}

// SetPID has another process answer, while others look.
func (o *Operator) SetPID(pid int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pid = pid
}

// Remove has Backend know nothing of a backend any more, while others look.
func (o *Operator) Remove(frontend, backend string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.removed[[2]string{frontend, backend}] = true
}

// Sessions filters and pages Live by what is easy: backend, client, age. The cursor is a position.
func (o *Operator) Sessions(_ context.Context, q admin.SessionQuery) (admin.SessionPage, error) {
	o.called(admin.Who{}, "sessions %+v", q)
	if o.Err != nil {
		return admin.SessionPage{}, o.Err
	}
	var list []admin.Session
	for _, s := range o.Live {
		if o.means(q.SessionFilter, s) {
			if !q.TCPInfo {
				s.ClientTCP, s.BackendTCP = nil, nil
			}
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b admin.Session) int { return cmp.Compare(b.AgeSeconds, a.AgeSeconds) })
	from, err := strconv.Atoi(cmp.Or(q.Cursor, "0"))
	if err != nil || from > len(list) {
		return admin.SessionPage{}, admin.Invalid("cursor %q is not one of this door's", q.Cursor)
	}
	p := admin.SessionPage{Total: len(list), Sessions: list[from:min(from+q.Limit, len(list))]}
	if from+q.Limit < len(list) {
		p.Next = strconv.Itoa(from + q.Limit)
	}
	return p, nil
}

func (o *Operator) means(f admin.SessionFilter, s admin.Session) bool {
	client, _ := netip.ParseAddrPort(s.Client)
	return (f.Backend == "" || f.Backend == s.Backend) && (f.Frontend == "" || f.Frontend == s.Frontend) &&
		(!f.Client.IsValid() || f.Client.Contains(client.Addr())) && s.AgeSeconds >= f.MinAge.Seconds() && s.IdleSeconds >= f.MinIdle.Seconds()
}

// Session looks in Live and Ended.
func (o *Operator) Session(_ context.Context, id uint64) (admin.Session, error) {
	for _, s := range slices.Concat(o.Live, o.Ended) {
		if s.ID == id {
			return s, o.Err
		}
	}
	return admin.Session{}, admin.NotFound("no session %d: it is not live, and not among the last that ended", id)
}

// Kill counts those of Live that are meant. With a rate it tells of each.
func (o *Operator) Kill(_ context.Context, who admin.Who, k admin.KillSelector, tell func(admin.Killed)) (done admin.Killed, err error) {
	o.called(who, "kill %+v", k)
	f, err := k.Filter()
	for _, s := range o.Live {
		if (k.ID == s.ID || k.ID == 0 && o.means(f, s)) && (k.Limit == 0 || done.Of < k.Limit) {
			done.Of++
		}
	}
	for done.Count < done.Of {
		if done.Count++; k.PerSecond > 0 {
			tell(done)
		}
	}
	if k.ID != 0 && done.Of == 0 {
		return done, admin.NotFound("no session %d is live", k.ID)
	}
	return done, cmp.Or(err, o.Err)
}

// SetActive changes how many sessions a backend of State has, while others look.
func (o *Operator) SetActive(frontend, backend string, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.active[[2]string{frontend, backend}] = n
}

// Backend returns one of State, with the sessions that SetActive says.
func (o *Operator) Backend(_ context.Context, frontend, backend string) (admin.Backend, error) {
	b, err := o.find(frontend, backend)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looks++
	if o.removed[[2]string{frontend, backend}] {
		return admin.Backend{}, admin.NotFound("no backend %q behind frontend %q", backend, frontend)
	}
	if n, ok := o.active[[2]string{frontend, backend}]; ok {
		b.Active = n
	}
	if o.drained[[2]string{frontend, backend}] {
		b.State = "drain"
	}
	return b, err
}

// Looks returns how often Backend was asked.
func (o *Operator) Looks() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.looks
}

// find returns a backend of State.
func (o *Operator) find(frontend, backend string) (admin.Backend, error) {
	for _, f := range o.State.Frontends {
		for _, b := range f.Pool.Backends {
			if f.Name == frontend && b.Name == backend {
				return b, o.Err
			}
		}
	}
	return admin.Backend{}, admin.NotFound("no backend %q behind frontend %q", backend, frontend)
}

// SetBackend returns what the backend would be, and changes nothing.
func (o *Operator) SetBackend(_ context.Context, who admin.Who, frontend, backend string, c admin.BackendChange) (admin.Backend, error) {
	o.called(who, "set %s/%s state=%s weight=%s limit=%s", frontend, backend, show(c.State), show(c.Weight), show(c.Limit))
	b, err := o.find(frontend, backend)
	if c.State != nil {
		o.mu.Lock()
		o.drained[[2]string{frontend, backend}] = *c.State == "drain"
		o.mu.Unlock()
		b.State = map[string]string{"ready": "up", "drain": "drain", "maint": "maint"}[*c.State]
	}
	if c.Weight != nil {
		b.ConfiguredWeight = *c.Weight
	}
	if c.Limit != nil {
		b.Limit, b.ConfiguredLimit = *c.Limit, *c.Limit
	}
	return b, err
}

func show[T any](p *T) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprint(*p)
}

// AddBackend returns what the backend would be.
func (o *Operator) AddBackend(_ context.Context, who admin.Who, frontend string, n admin.NewBackend) (admin.Backend, error) {
	o.called(who, "add %s %s name=%s weight=%s limit=%d backup=%v", frontend, n.Address, n.Name, show(n.Weight), n.Limit, n.Backup)
	return admin.Backend{Name: cmp.Or(n.Name, n.Address), Address: n.Address, State: "down", Reason: "not probed yet", Since: o.Now, Added: true, AdminState: "ready"}, o.Err
}

// RemoveBackend returns what the backend would be.
func (o *Operator) RemoveBackend(_ context.Context, who admin.Who, frontend, backend string) (admin.Backend, error) {
	o.called(who, "remove %s/%s", frontend, backend)
	b, err := o.find(frontend, backend)
	b.State = "removed"
	return b, err
}

// Why has db1 chosen for everybody but 203.0.113.0/24.
func (o *Operator) Why(_ context.Context, client, frontend, bind string) ([]admin.Why, error) {
	if frontend != "" && frontend != "pg" {
		return nil, admin.NotFound("no frontend %q", frontend)
	}
	if bind != "" && bind != "127.0.0.1:5432" {
		return nil, admin.NotFound("no frontend listens at %s", bind)
	}
	w := admin.Why{Frontend: "pg", Listeners: []string{"127.0.0.1:5432"}, Client: client}
	if netip.MustParsePrefix("203.0.113.0/24").Contains(netip.MustParseAddr(client)) {
		w.AdmittedWhy, w.Result = "denied by 203.0.113.0/24", "is refused: denied"
		return []admin.Why{w}, o.Err
	}
	w.Admitted, w.AdmittedWhy, w.Class, w.Limits = true, "no list forbids it", "web", []string{"1 of 20 sessions of this client"}
	w.Backend, w.Result = "db1", "goes to db1"
	w.Backends = []admin.WhyBackend{{Backend: "db1", Chosen: true, Reason: "has the fewest connections for its weight"}, {Backend: "db2", Reason: "down: connection refused, 3 of 3"}}
	return []admin.Why{w}, o.Err
}

// Events reads the Feed.
func (o *Operator) Events(ctx context.Context) <-chan admin.Event { return o.Feed.Read(ctx) }

// Reload returns Planned.
func (o *Operator) Reload(_ context.Context, who admin.Who) (admin.Plan, error) {
	o.called(who, "reload")
	return o.Planned, o.Err
}

// Plan checks the text, and returns Planned.
func (o *Operator) Plan(_ context.Context, file string, text []byte) (admin.Plan, error) {
	o.called(admin.Who{}, "plan %s", file)
	if _, err := config.Parse(file, text); err != nil {
		return admin.Plan{}, err
	}
	return o.Planned, o.Err
}

// Upgrade pretends.
func (o *Operator) Upgrade(_ context.Context, who admin.Who) (admin.Upgraded, error) {
	o.called(who, "upgrade")
	return admin.Upgraded{PID: 4712}, o.Err
}

// Save pretends.
func (o *Operator) Save(_ context.Context, who admin.Who) (admin.Saved, error) {
	o.called(who, "save")
	return admin.Saved{File: o.State.ConfigFile, Saved: o.State.Differs, Rewritten: o.Rewrites, Kept: o.State.ConfigFile + ".old"}, o.Err
}

// Failback says that it changes something, and changes nothing.
func (o *Operator) Failback(_ context.Context, who admin.Who, frontend string) (admin.FailedBack, error) {
	o.called(who, "failback %s", frontend)
	if !slices.ContainsFunc(o.State.Frontends, func(f admin.Frontend) bool { return f.Name == frontend }) {
		return admin.FailedBack{}, admin.NotFound("no frontend %s", frontend)
	}
	return admin.FailedBack{Frontend: frontend, Changed: true}, o.Err
}

var _ admin.Operator = (*Operator)(nil)
