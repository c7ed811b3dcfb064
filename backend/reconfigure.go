package backend

import (
	"slices"

	"weir/backend/health"
	"weir/backend/strategy"
)

// Reconfigure makes the pool what NewPool would make of o, while it serves. Clock, After, Random and Notify
// stay as they are.
//
// A backend is the same if its name and its address are: it keeps its sessions, its state, its counts, and
// what an operator said of its state; limit and weight become those of o. Whoever waits goes on waiting, in
// the class of the same name, or in the last one. Of the backends that o leaves out, running sessions go on;
// they are returned as removed, and whoever probed them is to stop.
func (p *Pool) Reconfigure(o PoolOptions) (added, removed []*Backend, err error) {
	if _, err := strategy.New(o.Strategy, nil, p.random); err != nil {
		return nil, nil, err
	}
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	p.settle(now)
	before, old := p.opts, p.all
	p.opts, p.max = o, o.MaxConnections
	p.all, added = p.match(old, &before)
	for _, b := range old {
		if !slices.Contains(p.all, b) {
			removed = append(removed, b)
		}
	}
	if err := p.arrange(); err != nil {
		return nil, nil, err // not with a strategy that was made before
	}
	for _, b := range removed {
		p.remove(b)
	}
	p.ejected = slices.DeleteFunc(p.ejected, (*Backend).isRemoved)
	p.ramping = slices.DeleteFunc(p.ramping, (*Backend).isRemoved)
	p.queue.reconfigure(o.Queue)
	p.sendAwayIfDown()
	return added, removed, nil
}

// match returns the backends of the new options, those that were there among them.
func (p *Pool) match(old []*Backend, before *PoolOptions) (all, added []*Backend) {
	for i := range p.opts.Backends {
		o := &p.opts.Backends[i]
		at := slices.IndexFunc(old, func(b *Backend) bool { return b.is(o) })
		if at < 0 {
			b := p.newBackend(o)
			all, added = append(all, b), append(added, b)
			continue
		}
		b := old[at]
		b.weight, b.disabled = o.Weight, o.Disabled
		if was := &before.Backends[at]; !o.Learn || *was != *o {
			p.limit(b, o)
		}
		if before.Passive != p.opts.Passive {
			b.failures = health.NewPassive(p.opts.Passive.Failures, p.opts.Passive.Window)
		}
		all = append(all, b)
	}
	return all, added
}

// is says whether b is the backend that o describes.
func (b *Backend) is(o *Options) bool {
	return b.name == o.Name && b.network == o.Network && b.address == o.Address
}

func (b *Backend) isRemoved() bool { return b.removed }

// remove takes b, which is in no tier any more, out for good. Its leases stay good; what they report changes
// nothing.
func (p *Pool) remove(b *Backend) {
	from := b.state()
	b.removed = true
	if b.active > 0 {
		p.leaving = append(p.leaving, b)
	}
	p.tell(b, from, "no longer in the configuration")
}

// arrange sorts the backends into tiers, and counts what is usable.
func (p *Pool) arrange() (err error) {
	var serving, backups []*Backend
	p.total, p.learners.all, p.learners.due = 0, nil, neverDue
	for i, b := range p.all {
		if !b.disabled && b.weight > 0 {
			p.total++
		}
		if b.learned != nil {
			p.learners.all = append(p.learners.all, b)
			p.learners.due = 0 // as soon as anybody looks
		}
		if p.opts.Backends[i].Backup {
			backups = append(backups, b)
		} else {
			serving = append(serving, b)
		}
	}
	if p.serving, err = p.tierOf(p.serving, serving); err != nil {
		return err
	}
	if p.backup, err = p.tierOf(p.backup, backups); err != nil {
		return err
	}
	now := p.Since()
	for _, b := range p.all {
		if b.usable() {
			b.tier.usable++
		}
		b.tier.tell(b, now, p.opts.SlowStart)
	}
	return nil
}

// tierOf keeps a tier that has the same members, with its place in the cycle, or makes another.
func (p *Pool) tierOf(old *tier, members []*Backend) (*tier, error) {
	if old != nil && old.name == p.opts.Strategy && slices.Equal(old.members, members) && old.sameWeights() {
		old.usable = 0
		return old, nil
	}
	return newTier(p.opts.Strategy, members, p.random)
}

// reconfigure changes classes and bounds. Who is in a class that is gone is in the last one from now on.
func (q *queue) reconfigure(o QueueOptions) {
	was := q.classes
	fresh := newQueue(o)
	q.opts = fresh.opts
	for i, c := range fresh.classes {
		at := slices.IndexFunc(was, func(w *class) bool { return w.name == c.name && (w.clients == nil) == (c.clients == nil) })
		if at >= 0 {
			w := was[at]
			w.weight, w.max, w.maxQueued = c.weight, c.max, c.maxQueued
			fresh.classes[i] = w
			was = slices.Delete(slices.Clone(was), at, at+1)
		}
	}
	q.classes = fresh.classes
	last := q.classes[len(q.classes)-1]
	for _, gone := range was {
		q.move(gone, last)
	}
}

// move puts everybody who waits in one class into another.
func (q *queue) move(from, to *class) {
	from.heir = to
	for from.queued > 0 {
		w := from.waiting[0].first
		q.remove(w)
		q.add(w, to.flow(w.request.key))
	}
}

// AdminState is what an operator says of a backend, whatever its probes say.
type AdminState uint8

// What an operator may say.
const (
	AdminReady AdminState = iota // serve, if you can
	AdminDrain                   // take no new sessions, let the running ones finish
	AdminMaint                   // the same, and it does not matter what the probes say
)

// SetAdmin says what an operator wants of b. It stays until it is changed.
func (p *Pool) SetAdmin(b *Backend, s AdminState, reason string) {
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	p.settle(now)
	p.change(b, now, reason, func() { b.admin = s })
}
