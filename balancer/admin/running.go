package admin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/backend"
	"weir/balancer"
	"weir/config"
)

// Running is the [Operator] of a balancer that runs.
type Running struct {
	// Balancer is whose inside is shown, and who is changed.
	Balancer *balancer.Balancer
	// Version is the program's.
	Version string
	// File is the absolute name of the configuration.
	File string
	// Started is when the program began.
	Started time.Time
	// Successor starts a process that takes over, and stops this one.
	Successor func(ctx context.Context) (pid int, err error)
	// Reloaded is called when the file was applied anew. nil: nobody wants to know.
	Reloaded func() error

	feed   Feed
	drains drains

	mu       sync.Mutex // of one change at a time
	file     *config.Config
	reloaded *time.Time
	changed  map[place]edit
	// upgrading says that another process is taking over.
	upgrading bool
}

// edit is who changed something, and when.
type edit struct {
	who string
	at  time.Time
}

// NewRunning returns the operator of a balancer that was made of a file.
func NewRunning(r *Running) *Running {
	r.file, r.changed = r.Balancer.Config(), make(map[place]edit)
	r.feed.guard = r.Balancer.Guard()
	r.Balancer.OnEvent(r.tell)
	return r
}

// Said is who said something of a backend's state last.
type Said struct {
	Frontend string    `json:"frontend"`
	Backend  string    `json:"backend"`
	Who      string    `json:"who"`
	At       time.Time `json:"at"`
}

// BeginUpgrade returns who said something of the states of backends, for a process that takes over. Until the end
// is called, if ever, nobody can say anything new: the other process would not hear of it.
func (r *Running) BeginUpgrade() (all []Said, end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upgrading = true
	for k, e := range r.changed {
		if k.what == stateKey {
			all = append(all, Said{k.frontend, k.backend, e.who, e.at})
		}
	}
	return all, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.upgrading = false
	}
}

// Recall takes up what was said in the process before this one.
func (r *Running) Recall(all []Said) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range all {
		r.changed[place{s.Frontend, s.Backend, stateKey}] = edit{s.Who, s.At}
	}
}

// tell hands on that a backend has changed its state.
func (r *Running) tell(frontend string, e backend.Event) {
	if e.Drained { // see tellDrained
		return
	}
	r.feed.Publish(Event{
		At: time.Now(), Kind: "backend", Frontend: frontend, Backend: e.Backend.Name(),
		From: string(e.From), To: string(e.To), Reason: e.Reason,
		Message: fmt.Sprintf("backend %s of %s is %s (%s): %d of %d usable", e.Backend.Name(), frontend, e.To, e.Reason, e.Usable, e.Total),
	})
}

// Ready says whether clients should be sent here.
func (r *Running) Ready() (ok bool, why string) {
	state := r.Balancer.State()
	return state == "serving", state
}

// Events tells what happens from now on.
func (r *Running) Events(ctx context.Context) <-chan Event { return r.feed.Read(ctx) }

// Watch tells of refused sessions, once a second while there are any, and of backends that are drained, until ctx ends.
func (r *Running) Watch(ctx context.Context) {
	seen := make(map[string]uint64)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		r.sumRefused(seen)
		r.tellDrained()
		select {
		case <-ctx.Done():
			r.feed.Publish(Event{At: time.Now(), Kind: "stopping", Message: "weir is stopping"})
			return
		case <-t.C:
		}
	}
}

func (r *Running) sumRefused(seen map[string]uint64) {
	for _, v := range r.Balancer.Views() {
		for _, o := range refusals {
			key, n := v.Name+"\x00"+o.String(), v.Counters.Of(o)
			if before, known := seen[key]; known && n > before {
				r.feed.Publish(Event{
					At: time.Now(), Kind: "refused", Frontend: v.Name, Outcome: o.String(), Count: int(n - before),
					Message: fmt.Sprintf("%d sessions of %s were refused: %s", n-before, v.Name, o),
				})
			}
			seen[key] = n
		}
	}
}

// SetBackend changes weight and limit as a reload does, and state beside the configuration.
func (r *Running) SetBackend(ctx context.Context, who Who, frontend, name string, change BackendChange) (Backend, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tellDrained() // of what this may undo
	defer r.tellDrained()
	v, b, err := r.find(frontend, name)
	if err != nil {
		return Backend{}, err
	}
	if change.State != nil && r.upgrading { // before anything is changed
		return Backend{}, Conflict("another process is taking over, and would not hear of it: try again when it has")
	}
	if change.Weight != nil || change.Limit != nil {
		if err := r.edit(ctx, who, frontend, name, change); err != nil {
			return Backend{}, err
		}
		v, _ = r.Balancer.View(frontend) // with what it is now
	}
	if change.State != nil {
		v.SetAdmin(b, adminState(*change.State), "set to "+*change.State+" by "+who.Name)
		r.note(who, frontend, name, stateKey)
	}
	r.changedBy(who, frontend, name, "changed")
	return r.backend(&v, name)
}

// set changes what the file could say as well, and returns which keys.
func set(b *config.Backend, change BackendChange) (keys []string) {
	if change.Weight != nil {
		b.Weight = *change.Weight
		keys = append(keys, "weight")
	}
	if change.Limit != nil {
		b.MaxConnections, b.Auto, b.Min, b.Max = *change.Limit, false, 0, 0
		keys = append(keys, "max_connections")
	}
	return keys
}

func adminState(word string) backend.AdminState {
	switch word {
	case "drain":
		return backend.AdminDrain
	case "maint":
		return backend.AdminMaint
	}
	return backend.AdminReady
}

// AddBackend adds one as a reload does: it serves from its first good probe on.
func (r *Running) AddBackend(ctx context.Context, who Who, frontend string, n NewBackend) (Backend, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.tellDrained()
	name := n.Name
	if name == "" {
		name = n.Address
	}
	err := r.apply(ctx, frontend, name, func(f *config.Frontend) error {
		if slices.ContainsFunc(f.Backends, func(b config.Backend) bool { return b.Name == name }) {
			return Conflict("frontend %s has a backend %s already", frontend, name)
		}
		b, err := config.NewBackend(n.Address)
		if err != nil {
			return Invalid("address %q: %v", n.Address, err)
		}
		b.Name, b.MaxConnections, b.Backup = name, n.Limit, backupOf(n.Backup)
		if n.Weight != nil {
			b.Weight = *n.Weight
		}
		f.Backends = append(f.Backends, b)
		return nil
	})
	if err != nil {
		return Backend{}, err
	}
	r.note(who, frontend, name, "added")
	r.changedBy(who, frontend, name, "added")
	v, _ := r.Balancer.View(frontend)
	return r.backend(&v, name)
}

func backupOf(yes bool) config.Backup {
	if yes {
		return config.BackupWhenDown
	}
	return config.NoBackup
}

// RemoveBackend removes one as a reload does: its sessions have the drain time to finish.
func (r *Running) RemoveBackend(ctx context.Context, who Who, frontend, name string) (Backend, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tellDrained()
	defer r.tellDrained()
	v, _, err := r.find(frontend, name)
	if err != nil {
		return Backend{}, err
	}
	was, err := r.backend(&v, name)
	if err != nil {
		return was, err
	}
	err = r.apply(ctx, frontend, name, func(f *config.Frontend) error {
		if len(f.Backends) == 1 {
			return Conflict("%s is the last backend of frontend %s: drain it, or remove the frontend from the file", name, frontend)
		}
		f.Backends = slices.DeleteFunc(f.Backends, func(b config.Backend) bool { return b.Name == name })
		return nil
	})
	if err != nil {
		return was, err
	}
	r.note(who, frontend, name, "removed")
	r.changedBy(who, frontend, name, "removed")
	was.State, was.Reason, was.Since = "removed", "removed by "+who.Name, time.Now()
	return was, nil
}

// Failback has new sessions of a frontend go to those backends again that are no backups.
func (r *Running) Failback(_ context.Context, who Who, frontend string) (FailedBack, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.Balancer.View(frontend)
	if !ok {
		return FailedBack{}, NotFound("no frontend %s", frontend)
	}
	if r.upgrading {
		return FailedBack{}, Conflict("another process is taking over, and would not hear of it: try again when it has")
	}
	done := FailedBack{Frontend: frontend, Changed: v.Failback()}
	if !done.Changed && v.Pool.FailedOver() {
		return done, Conflict("no backend of frontend %s is usable but its backups: they go on serving", frontend)
	}
	if done.Changed {
		r.feed.Publish(Event{
			At: time.Now(), Kind: "change", Frontend: frontend, Who: who.String(),
			Message: fmt.Sprintf("new sessions of %s go to the backends again that are no backups: %s", frontend, who),
		})
	}
	return done, nil
}

// edit changes the configuration of one backend.
func (r *Running) edit(ctx context.Context, who Who, frontend, name string, change BackendChange) error {
	var keys []string
	err := r.apply(ctx, frontend, name, func(f *config.Frontend) error {
		for i := range f.Backends {
			if f.Backends[i].Name == name {
				keys = set(&f.Backends[i], change)
			}
		}
		return nil
	})
	if err == nil {
		for _, k := range keys {
			r.note(who, frontend, name, k)
		}
	}
	return err
}

// apply goes over to the configuration that holds, changed in one frontend. What is wrong then is told in the words of
// the change of that backend: there is no file in which it stands.
func (r *Running) apply(ctx context.Context, frontend, backend string, change func(*config.Frontend) error) error {
	cfg, err := r.Balancer.Config().Clone(r.File)
	if err != nil {
		return r.inWords(err, frontend, backend)
	}
	i := slices.IndexFunc(cfg.Frontends, func(f config.Frontend) bool { return f.Name == frontend })
	if i < 0 {
		return NotFound("no frontend %s", frontend)
	}
	if err := change(&cfg.Frontends[i]); err != nil {
		return err
	}
	if cfg, err = cfg.Clone(r.File); err != nil { // which checks it
		return r.inWords(err, frontend, backend)
	}
	if _, err = r.Balancer.Reload(ctx, cfg); err != nil {
		return Conflict("%v", err)
	}
	return nil
}

// inWords says what a change of a backend would make wrong with the configuration.
func (r *Running) inWords(err error, frontend, backend string) error {
	var mistakes config.Mistakes
	if !errors.As(err, &mistakes) {
		return err
	}
	for _, m := range mistakes {
		if strings.HasSuffix(m.Path, ".queue.size") {
			return Conflict("%s has the last limit of frontend %s, and a queue needs one, for without it nobody would ever wait: "+
				"first give another backend a limit with 'weir limit', or the frontend max_connections in the file", backend, frontend)
		}
	}
	m := mistakes[0]
	if m.File != r.File { // one that the configuration names
		return Conflict("the configuration could not be applied: %v", m)
	}
	text := m.Message
	if m.Hint != "" {
		text += "; " + m.Hint
	}
	if strings.HasSuffix(m.Path, "].name") { // of the only backend that is new
		return Invalid("%s", text)
	}
	return Conflict("that would make the configuration wrong: %s: %s", m.Path, text)
}

func (r *Running) find(frontend, name string) (v balancer.View, b *backend.Backend, err error) {
	v, ok := r.Balancer.View(frontend)
	if !ok {
		return v, nil, NotFound("no frontend %s", frontend)
	}
	for _, b := range v.Pool.Backends() {
		if b.Name() == name {
			return v, b, nil
		}
	}
	for _, s := range v.Pool.Snapshot() {
		if s.Backend.Name() == name { // and it was not among those above
			return v, nil, Conflict("%s of frontend %s is removed: its sessions, %d now, have the drain time to finish, and 'weir add' puts it back", name, frontend, s.Active)
		}
	}
	return v, nil, NotFound("frontend %s has no backend %s", frontend, name)
}

// Backend returns one backend, also one that is removed and still has sessions.
func (r *Running) Backend(_ context.Context, frontend, name string) (Backend, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.Balancer.View(frontend)
	if !ok {
		return Backend{}, NotFound("no frontend %s", frontend)
	}
	return r.backend(&v, name)
}

// place names one thing that differs from the file.
type place struct{ frontend, backend, what string }

// stateKey is the what of a backend's state, which no file says.
const stateKey = "state"

func (r *Running) note(who Who, frontend, backend, what string) {
	r.changed[place{frontend, backend, what}] = edit{who.String(), time.Now()}
}

func (r *Running) changedBy(who Who, frontend, name, how string) {
	r.feed.Publish(Event{
		At: time.Now(), Kind: "change", Frontend: frontend, Backend: name, Who: who.String(),
		Message: fmt.Sprintf("backend %s of %s was %s by %s", name, frontend, how, who),
	})
}

// Reload reads the file again and applies it.
func (r *Running) Reload(ctx context.Context, who Who) (Plan, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tellDrained()
	read, err := config.Read(r.File)
	if err != nil {
		r.Balancer.NotReloaded(err)
		return Plan{}, err
	}
	return r.follow(ctx, who, read)
}

// Follow applies what the file was found to say.
func (r *Running) Follow(ctx context.Context, who Who, read *config.Reading) (Plan, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.follow(ctx, who, read)
}

// Follows says whether cfg is what the file said when it was read or written last.
func (r *Running) Follows(cfg *config.Config) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(balancer.Compare(r.file, cfg)) == 0
}

func (r *Running) follow(ctx context.Context, who Who, read *config.Reading) (Plan, error) {
	fit := r.Balancer.Fit(read)
	if err := fit.Err(); err != nil {
		r.Balancer.NotReloaded(err)
		return Plan{}, err
	}
	cfg := read.Config
	plan, err := r.Balancer.Reload(ctx, cfg)
	if err != nil {
		return Plan{}, Conflict("%v", err)
	}
	now := time.Now()
	r.tellDrained()
	r.holds(cfg)
	r.reloaded = &now
	if r.Reloaded != nil {
		if err := r.Reloaded(); err != nil {
			return Plan{}, Conflict("the configuration holds, but for this: %v", err)
		}
	}
	r.feed.Publish(Event{At: now, Kind: "reload", Who: who.String(), Count: len(plan.Changes), Message: fmt.Sprintf("configuration reloaded: %d changes", len(plan.Changes))})
	return r.plan(r.File, &plan, fit.Warnings), nil
}

// Plan says what a file would change.
func (r *Running) Plan(_ context.Context, file string, text []byte) (Plan, error) {
	read, err := config.ReadText(file, text)
	if err != nil {
		return Plan{}, err
	}
	fit := r.Balancer.Fit(read)
	if err := fit.Err(); err != nil {
		return Plan{}, err
	}
	plan, err := r.Balancer.Plan(read.Config)
	if err != nil {
		return Plan{}, Conflict("%v", err)
	}
	return r.plan(file, &plan, fit.Warnings), nil
}

func (r *Running) plan(file string, p *balancer.Plan, warnings config.Warnings) Plan {
	plan := Plan{File: file, Changed: len(p.Changes) > 0, Changes: []Change{}, SessionsEnded: p.Ends, Warnings: warnings.Strings()}
	for _, c := range p.Changes {
		change := Change{
			Action: "change", Frontend: c.Frontend, Backend: c.Backend, Key: c.Key,
			From: c.From, To: c.To, SessionsEnded: c.Ends, Note: c.Note,
		}
		switch {
		case c.From == "":
			change.Action = "add"
		case c.To == "":
			change.Action = "remove"
		}
		plan.Changes = append(plan.Changes, change)
	}
	return plan
}

// Upgrade starts the binary anew, which takes over.
func (r *Running) Upgrade(ctx context.Context, who Who) (Upgraded, error) {
	pid, err := r.Successor(ctx)
	if err != nil {
		return Upgraded{}, Conflict("%v", err)
	}
	r.feed.Publish(Event{At: time.Now(), Kind: "upgrade", Who: who.String(), Message: fmt.Sprintf("process %d has taken over", pid)})
	return Upgraded{PID: pid}, nil
}

// Save writes into the file what differs from it. The rest of the file stays as it is, if that can be; else all of
// it is written anew. What was there before is kept: see [replace]. A backend that is kept from serving by hand is not
// in the file for that. A file that is not what weir follows is left alone.
func (r *Running) Save(_ context.Context, _ Who) (Saved, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	saved := Saved{File: r.File, Saved: []Difference{}}
	for _, d := range r.differs() {
		if d.What != stateKey {
			saved.Saved = append(saved.Saved, d)
		}
	}
	if len(saved.Saved) == 0 {
		return saved, nil
	}
	was, err := os.ReadFile(r.File)
	if err != nil {
		return saved, fmt.Errorf("save the configuration: %w", err)
	}
	now, err := config.Parse(r.File, was)
	if err != nil {
		return saved, err
	}
	if !now.Says(r.file) {
		return saved, Conflict("%s was changed since weir read it, and is left as it is: put back what was there and save again, "+
			"or reload it, which forgets what was not saved", r.File)
	}
	cfg := r.Balancer.Config()
	text, err := cfg.Edit(r.File, was)
	if err == nil && text == nil {
		saved.Rewritten = true
		text, err = cfg.TOML()
	}
	if err != nil {
		return saved, err
	}
	if saved.Kept, err = replace(r.File, text); err != nil {
		return saved, Conflict("save the configuration: %v", err)
	}
	r.holds(cfg)
	return saved, nil
}

// holds says that the file is what weir follows. What an operator said of a backend's state is beside that.
func (r *Running) holds(file *config.Config) {
	r.file = file
	for k := range r.changed {
		if k.what != stateKey {
			delete(r.changed, k)
		}
	}
}

// parseAddr returns the address that Why asks about.
func parseAddr(client string) (netip.Addr, error) {
	a, err := netip.ParseAddr(client)
	if err != nil {
		return a, Invalid("%q is no IP address", client)
	}
	return a.Unmap(), nil
}
