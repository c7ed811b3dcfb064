package frontend

import (
	"net/netip"

	"weir/frontend/rate"
)

// Landlord counts what a frontend has when another process has taken the place of its own, so that both hold every limit
// together.
type Landlord struct {
	// Slots and Clients are told of what the frontend has: of all at first, and then of what it gives back, as -1. They
	// must not block.
	Slots   func(by int)
	Clients func(client netip.Addr, by int)
	// Ask asks whether a client may be let in that was accepted before. answer is called once, unless the question was
	// taken back.
	Ask func(client netip.Addr, answer func(SlotAnswer)) (withdraw func())
}

// SlotAnswer is the answer of a landlord.
type SlotAnswer string

// The answers.
const (
	SlotGranted SlotAnswer = "granted" // and counted by the landlord
	SlotTooFast SlotAnswer = "too fast"
	SlotTooMany SlotAnswer = "too many"
	SlotLost    SlotAnswer = "lost" // there is no landlord any more
	slotTaken   SlotAnswer = "taken"
)

// Cede has a landlord count what the frontend has. With nil it counts by itself again.
func (f *Frontend) Cede(l *Landlord) {
	if l == nil {
		f.landlord.Store(nil)
		f.own.Cede(nil)
		f.Current().Admission.Clients.Cede(nil)
		return
	}
	f.Current().Admission.Clients.Cede(l.Clients)
	f.landlord.Store(l)
	f.own.Cede(l.Slots) // who waits for a slot looks again, and asks the landlord
	f.Slots.rouse()
}

// Lend lets in a client that a process before this one has accepted: as TakeSlot and Admit do, but what it takes up
// counts as that process's: see OccupySlots, and Vacate of clients with client. With no answer, wake is called when it is
// worth trying again.
func (f *Frontend) Lend(addr netip.Addr, wake func()) (a SlotAnswer, clients *rate.Clients, client rate.Ref) {
	if !f.TakeSlot(wake) {
		return "", nil, 0
	}
	rules, now := &f.Current().Admission, f.Pool.Since()
	client, v := rules.Clients.Open(addr, now)
	if v == rate.OK && !rules.Rate.Take(now) {
		rules.Clients.Close(client)
		v = rate.TooFast
	}
	switch v {
	case rate.OK:
		f.own.lend()
		f.Slots.lend()
		return SlotGranted, rules.Clients, client
	case rate.TooMany:
		f.GiveSlot()
		return SlotTooMany, nil, 0
	}
	f.GiveSlot()
	return SlotTooFast, nil, 0
}

// OccupySlots counts slots that another process uses, beside those of Options.Slots.
func (f *Frontend) OccupySlots(by int) { f.own.Occupy(by) }
