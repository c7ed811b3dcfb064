package balancer

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"weir/backend"
	"weir/balancer/handover"
	"weir/frontend"
)

// premises is what a successor decides for.
type premises struct {
	b     *Balancer
	parts []*part

	mu     sync.Mutex
	tenant *handover.Tenant
	ceded  map[*part]bool
	closed []*part // nobody is accepted, for now

	waiting sync.Mutex
	doors   map[uint64]func(frontend.SlotAnswer)
}

func (b *Balancer) newPremises() *premises {
	return &premises{b: b, parts: slices.Clone(b.parts), ceded: make(map[*part]bool), doors: make(map[uint64]func(frontend.SlotAnswer))}
}

// LetGo is described with handover.Premises.
func (p *premises) LetGo() { p.b.landlord.Halt() }

// Cede is described with handover.Premises.
func (p *premises) Cede(t *handover.Tenant, frontends []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), handover.Patience)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.tenant == nil
	if first {
		p.tenant = t
	}
	for _, x := range p.parts {
		wanted := slices.Contains(frontends, x.Name())
		switch {
		case wanted && !p.ceded[x]:
			if err := p.cede(ctx, x, first); err != nil {
				return err
			}
		case !wanted && p.ceded[x]:
			p.reclaim(x)
		}
		if wanted {
			t.Ordered(x.Name(), x.pool.Order())
		}
	}
	if first {
		p.b.slots.Cede(func(by int) { t.Count(handover.Place{Kind: handover.Process}, by) })
	}
	return nil
}

// cede has one part decide nothing more. Nobody is accepted from before that on.
func (p *premises) cede(ctx context.Context, x *part, first bool) error {
	if first {
		p.closed = append(p.closed, x)
		if err := x.frontend.Suspend(ctx); err != nil {
			return err
		}
	}
	p.ceded[x] = true
	x.frontend.Base().Cede(&frontend.Landlord{
		Slots:   func(by int) { p.tenant.Count(handover.OfSlots(x.Name()), by) },
		Clients: func(c netip.Addr, by int) { p.tenant.Count(handover.OfClient(x.Name(), c), by) },
		Ask:     func(c netip.Addr, answer func(frontend.SlotAnswer)) func() { return p.askDoor(x, c, answer) },
	})
	x.pool.Cede(&poolLandlord{p.tenant, x.Name()})
	return nil
}

func (p *premises) reclaim(x *part) {
	delete(p.ceded, x)
	x.frontend.Base().Cede(nil)
	x.pool.Reclaim()
}

// askDoor asks whether a client may be let in.
func (p *premises) askDoor(x *part, c netip.Addr, answer func(frontend.SlotAnswer)) (withdraw func()) {
	p.waiting.Lock()
	defer p.waiting.Unlock()
	ticket, ok := p.tenant.Ask(handover.Question{Frontend: x.Name(), Client: x.frontend.Base().Current().Admission.Clients.Counted(c)})
	if !ok {
		answer(frontend.SlotLost)
		return func() {}
	}
	p.doors[ticket] = answer
	return func() {
		p.waiting.Lock()
		delete(p.doors, ticket)
		p.waiting.Unlock()
		p.tenant.Withdraw(ticket)
	}
}

// Answered is described with handover.Premises.
func (p *premises) Answered(q *handover.Question, a *handover.Answer) {
	if q.Backend == nil {
		p.answeredDoor(q, a)
		return
	}
	for _, x := range p.parts {
		switch {
		case x.Name() != q.Frontend:
		case a.Backend == nil:
			x.pool.Refused(q.Ticket, whyRefused(a.Refused))
		default:
			x.pool.Granted(q.Ticket, *a.Backend, a.Class, a.Again)
		}
	}
}

func (p *premises) answeredDoor(q *handover.Question, a *handover.Answer) {
	p.waiting.Lock()
	answer := p.doors[q.Ticket]
	delete(p.doors, q.Ticket)
	p.waiting.Unlock()
	switch {
	case answer == nil:
		p.tenant.GiveBack(q, a)
	case a.Refused == "":
		answer(frontend.SlotGranted)
	default:
		answer(frontend.SlotAnswer(a.Refused))
	}
}

// Reclaim is described with handover.Premises. The processes before this one tell it first what they have by now.
func (p *premises) Reclaim() {
	p.b.landlord.Resume()
	p.mu.Lock()
	defer p.mu.Unlock()
	for x := range p.ceded {
		p.reclaim(x)
	}
	p.b.slots.Cede(nil)
	p.open()
}

// leave closes the listeners, for others accept from them.
func (p *premises) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.parts {
		x.frontend.Listening().HandOver()
	}
	p.open()
}

// open lets clients be accepted again, where there are listeners yet.
func (p *premises) open() {
	for _, x := range p.closed {
		x.frontend.Resume()
	}
	p.closed = nil
}

// poolLandlord is a landlord as one pool knows it.
type poolLandlord struct {
	tenant   *handover.Tenant
	frontend string
}

func (l *poolLandlord) CountBackend(id backend.ID, by int) {
	l.tenant.Count(handover.OfBackend(l.frontend, id), by)
}

func (l *poolLandlord) CountClass(name string, by int) {
	l.tenant.Count(handover.OfClass(l.frontend, name), by)
}

func (l *poolLandlord) Ask(a backend.Ask) uint64 {
	ticket, _ := l.tenant.Ask(handover.Question{Frontend: l.frontend, Backend: &a})
	return ticket
}

func (l *poolLandlord) Withdraw(ticket uint64) { l.tenant.Withdraw(ticket) }
