// Package handover is what processes that follow each other tell each other, so that they hold every limit together
// for as long as the old ones have sessions.
//
// There is one connection to each old process, from whichever process is the newest. The old one is the tenant: it
// stops deciding by itself when it is greeted, reports all that it has, tells of each slot that it gives back, and asks
// for each that its sessions want. The newest is the landlord: it counts and grants. Its own successor inherits the
// connections, greets again and is reported to again, so that nothing depends on the processes between. A landlord
// that dies leaves the house to whoever was it before; a tenant that dies leaves its slots.
//
// The package moves no slot itself: it keeps the books. What it does not do either is to hand over sockets, for which
// see package balancer. Start with [Tenant] and [Landlord]; what they say is in message.go.
package handover

import (
	"net/netip"

	"weir/backend"
)

// Version is that of what is said. A process that hears another one declines, and decides by itself.
const Version = 1

// Kind is what is counted.
type Kind string

// What is counted.
const (
	Backend Kind = "backend" // sessions on a backend
	Class   Kind = "class"   // sessions of a class that have a backend
	Slots   Kind = "slots"   // sessions of a frontend
	Client  Kind = "client"  // sessions of a client of a frontend
	Process Kind = "process" // sessions of the process
	Order   Kind = "order"   // no count: see backend.Pool.Order
)

// Place is one thing that is counted.
type Place struct {
	Kind Kind `json:"k"`
	// Frontend is a name; empty for Process.
	Frontend string `json:"f,omitempty"`
	// Name is that of a backend or a class, or the address of a client.
	Name string `json:"n,omitempty"`
	// Network and Address are those of a backend.
	Network string `json:"w,omitempty"`
	Address string `json:"a,omitempty"`
}

// ID returns the backend that a place means.
func (p Place) ID() backend.ID {
	return backend.ID{Name: p.Name, Network: p.Network, Address: p.Address}
}

// OfBackend is the place of a backend.
func OfBackend(frontend string, id backend.ID) Place {
	return Place{Backend, frontend, id.Name, id.Network, id.Address}
}

// OfClass is the place of a class.
func OfClass(frontend, name string) Place { return Place{Kind: Class, Frontend: frontend, Name: name} }

// OfSlots is the place of a frontend's slots.
func OfSlots(frontend string) Place { return Place{Kind: Slots, Frontend: frontend} }

// OfClient is the place of a client.
func OfClient(frontend string, client netip.Addr) Place {
	return Place{Kind: Client, Frontend: frontend, Name: client.String()}
}

// Question is a session of a tenant that wants something.
type Question struct {
	Ticket   uint64 `json:"t"`
	Frontend string `json:"f"`
	// Backend is what is asked for; nil: to let in a client that was accepted.
	Backend *backend.Ask `json:"b,omitempty"`
	Client  netip.Addr   `json:"c,omitzero"`
}

// Answer is the landlord's.
type Answer struct {
	Ticket uint64 `json:"t"`
	// Refused is why there is nothing; empty: it is granted.
	Refused string `json:"r,omitempty"`
	// Backend, Class and Again are what is granted: see backend.Grant.
	Backend *backend.ID `json:"b,omitempty"`
	Class   string      `json:"c,omitempty"`
	Again   bool        `json:"again,omitempty"`
}

// places are those in which the answer to q counts.
func (a *Answer) places(q *Question) []Place {
	switch {
	case a.Refused != "":
		return nil
	case q.Backend != nil && a.Backend != nil:
		return []Place{OfBackend(q.Frontend, *a.Backend), OfClass(q.Frontend, a.Class)}
	case q.Backend != nil:
		return nil
	case q.Client.IsValid():
		return []Place{OfSlots(q.Frontend), {Kind: Process}, OfClient(q.Frontend, q.Client)}
	}
	return []Place{OfSlots(q.Frontend), {Kind: Process}}
}
