package balancer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"weir/config"
	"weir/frontend"
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
	if err := b.mayFollow(cfg); err != nil {
		return Plan{}, err
	}
	next, err := b.prepare(ctx, cfg)
	if err != nil {
		return Plan{}, err
	}
	if err := b.follow(cfg, next); err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// Plan tells what Reload would change, and how many sessions it would end.
func (b *Balancer) Plan(cfg *config.Config) (Plan, error) {
	b.changing.Lock()
	defer b.changing.Unlock()
	return b.plan(cfg), b.mayFollow(cfg)
}

// mayFollow says what cannot be changed while weir runs.
func (b *Balancer) mayFollow(cfg *config.Config) error {
	for i := range cfg.Frontends {
		c := &cfg.Frontends[i]
		p := b.part(c.Name)
		if p == nil {
			continue
		}
		was, _ := engineOf(p.config)
		if is, _ := engineOf(c); is != was {
			return fmt.Errorf("frontend %s: the engine cannot change from %s to %s while weir runs: upgrade or restart it", c.Name, was, is)
		}
	}
	return nil
}

// prepared is a configuration of which all has been done that can fail.
type prepared struct {
	kept    []*step
	added   []*part
	removed []*part
	given   []gift
	slots   int
}

// gift is an address that a part gives away to another.
type gift struct {
	from *part
	bind frontend.Bind
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
	shares, err := shareDescriptors(cfg)
	if err != nil {
		return next, err
	}
	next.slots = shares.sessions
	if err := b.makeReactor(cfg); err != nil {
		return next, err
	}
	there, err := next.handOver(b.parts, cfg)
	if err != nil {
		return next, err
	}
	defer there.Close()
	a := b.assembler(ctx)
	a.inherited = there
	for i := range cfg.Frontends {
		c := &cfg.Frontends[i]
		p := b.part(c.Name)
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
		if s.commit, s.abort, err = p.frontend.Prepare(ctx, binds(c.BindOn), s.rules, there); err != nil {
			return next, err
		}
		next.kept = append(next.kept, s)
	}
	for _, p := range b.parts {
		if !slices.ContainsFunc(next.kept, func(s *step) bool { return s.part == p }) {
			next.removed = append(next.removed, p)
		}
	}
	return next, nil
}

// handOver finds the addresses that one part gives up and another wants, and returns copies of their sockets.
func (n *prepared) handOver(parts []*part, cfg *config.Config) (*frontend.Inherited, error) {
	had, kept := make(map[string][]frontend.Bind), make(map[string][]frontend.Bind)
	for _, p := range parts {
		had[p.name] = binds(p.config.BindOn)
	}
	wanted := make(map[frontend.Bind]bool) // by a frontend that has it not
	for i := range cfg.Frontends {
		c := &cfg.Frontends[i]
		kept[c.Name] = binds(c.BindOn)
		for _, bind := range kept[c.Name] {
			wanted[bind] = wanted[bind] || !slices.Contains(had[c.Name], bind)
		}
	}
	var files []*os.File
	for _, p := range parts {
		for _, bind := range had[p.name] {
			if !wanted[bind] || slices.Contains(kept[p.name], bind) {
				continue
			}
			copies, err := frontend.Copies(p.frontend.Sockets(bind))
			if err != nil {
				for _, f := range files {
					f.Close()
				}
				return nil, fmt.Errorf("frontend %s: hand over %s: %w", p.name, bind.Address, err)
			}
			files = append(files, copies...)
			n.given = append(n.given, gift{p, bind})
		}
	}
	return frontend.Inherit(files)
}

func (n *prepared) abort() {
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
	for _, g := range next.given {
		g.from.frontend.HandOver(g.bind)
	}
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
		b.leaving.Go(func() { p.leave(drain) })
	}
	return nil
}
