package balancer

import (
	"context"
	"errors"
	"slices"

	"weir/config"
	"weir/frontend"
	"weir/frontend/reactor"
)

// ErrStopping is why a balancer that is about to end changes nothing more.
var ErrStopping = errors.New("weir is stopping")

// Reload goes over to another configuration without losing a connection, and tells what has changed. On an
// error nothing has.
//
// Frontends are the same if their names are, backends if their names and addresses are. What stays keeps its
// listeners, its sessions, its counts and its health; its limits, weights, strategy and rules become those of
// cfg at once. A listener that is new is opened before anything else changes; one that another frontend gives up is
// taken over with the clients that wait in it. A backend that is new serves from its first good probe on. Sessions of
// what is gone have Shutdown.Drain to finish, and are then cut.
func (b *Balancer) Reload(ctx context.Context, cfg *config.Config) (_ Plan, err error) {
	defer func() { b.reloads.count(err) }()
	select {
	case <-b.started:
	case <-ctx.Done():
		return Plan{}, ctx.Err()
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	if b.stopping {
		return Plan{}, ErrStopping
	}
	plan := b.plan(cfg)
	next, err := b.prepare(ctx, cfg)
	if err != nil {
		return Plan{}, err
	}
	if err := b.follow(cfg, next); err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// Plan tells what Reload would change, and how many sessions it would end. With an error Reload could not: an address
// cannot be had, say. Nothing is opened for that which a client could notice.
func (b *Balancer) Plan(cfg *config.Config) (Plan, error) {
	b.changing.Lock()
	defer b.changing.Unlock()
	return b.plan(cfg), b.mayFollow(cfg)
}

// mayFollow says what cannot be changed while weir runs.
func (b *Balancer) mayFollow(cfg *config.Config) error {
	if anyReactor(cfg) && !reactor.Supported {
		return errors.New("engine reactor: needs Linux; engine copy works everywhere")
	}
	if err := b.closing.Wait(context.Background()); err != nil {
		return err
	}
	m, err := b.move(cfg)
	if err != nil {
		return err
	}
	return m.Try()
}

// move says which of the listening sockets that there are are for whom in another configuration.
func (b *Balancer) move(cfg *config.Config) (*frontend.Move, error) {
	m, err := moveTo(cfg, b.keysOf(cfg, renamed(b.config, cfg)))
	if err != nil {
		return nil, err
	}
	for _, p := range b.parts {
		m.Has(p.frontend.Listening())
	}
	m.Inherits(b.parked)
	m.Settle()
	return m, nil
}

// prepared is a configuration of which all has been done that can fail.
type prepared struct {
	kept    []*step
	added   []*part
	removed []*part
	move    *frontend.Move
	slots   int
}

// step is what changes for a part that stays.
type step struct {
	part          *part
	config        *config.Frontend
	rules         *frontend.Rules
	commit, abort func()
}

func (b *Balancer) prepare(ctx context.Context, cfg *config.Config) (next *prepared, err error) {
	next = new(prepared)
	defer func() {
		if err != nil {
			next.abort()
		}
	}()
	if err := b.closing.Wait(ctx); err != nil { // or an address that comes back would still be in use
		return next, err
	}
	if next.move, err = b.move(cfg); err != nil {
		return next, err
	}
	shares, err := shareDescriptors(cfg, b.loops, next.move.Extra())
	if err != nil {
		return next, err
	}
	next.slots = shares.sessions
	if err := b.makeReactor(cfg); err != nil {
		return next, err
	}
	a := b.assembler(ctx)
	old := renamed(b.config, cfg)
	a.move, a.keys = next.move, b.keysOf(cfg, old)
	for i := range cfg.Frontends {
		c := &cfg.Frontends[i]
		p := b.heir(c.Name, old)
		if p == nil {
			p, err = a.part(c)
			if err != nil {
				return next, err
			}
			next.added = append(next.added, p)
			continue
		}
		s := &step{part: p, config: c}
		if s.rules, err = rules(c, p.config, p.rules); err != nil {
			return next, err
		}
		var another server
		if o := a.frontendOptions(c, p.pool, s.rules); o.Engine != p.frontend.Listening().Engine() {
			another = a.another(p.frontend.Base(), o)
		}
		if s.commit, s.abort, err = p.frontend.Prepare(ctx, next.move, s.rules, another); err != nil {
			return next, err
		}
		next.kept = append(next.kept, s)
	}
	for _, p := range b.parts {
		if !slices.ContainsFunc(next.kept, func(s *step) bool { return s.part == p }) {
			next.removed = append(next.removed, p)
		}
	}
	return next, next.move.Listen()
}

func (n *prepared) abort() {
	if n.move != nil {
		n.move.Abort()
	}
	for _, s := range n.kept {
		s.abort()
	}
	for _, p := range n.added {
		p.frontend.Close()
	}
}

// follow makes the prepared configuration the one that holds.
func (b *Balancer) follow(cfg *config.Config, next *prepared) error {
	drain := cfg.Shutdown.Drain.Std()
	b.slots.SetLimit(next.slots)
	b.slots.SetTogether(cfg.MaxSessions)
	b.sessions.Set(sessionPolicy(&cfg.Log))
	b.pin(cfg, b.reactor)
	next.move.Commit()
	var parts []*part
	for _, s := range next.kept {
		if err := s.part.follow(s.config, s.rules, s.commit, drain); err != nil {
			return err // not with a configuration that was checked
		}
		parts = append(parts, s.part)
	}
	for _, p := range next.removed {
		b.house.leave(p)
	}
	for _, p := range next.added {
		b.house.enter(p)
		p.start(b.watching)
	}
	b.mu.Lock()
	b.config, b.parts = cfg, append(parts, next.added...)
	b.mu.Unlock()
	for _, p := range next.removed {
		p.frontend.Listening().Leave()
		b.leaving.Go(func() { b.guard.Do("the leaving of frontend "+p.Name(), func() { p.leave(drain) }) })
	}
	return nil
}
