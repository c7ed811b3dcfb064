//go:build !linux

package reactor

import (
	"context"
	"errors"

	"weir/backend/contain"
	"weir/frontend"
	"weir/frontend/relay"
)

// Supported says that this system has no reactor: it needs epoll(7).
const Supported = false

var errUnsupported = errors.New("engine reactor: needs Linux; engine copy works everywhere")

// Reactor does nothing here.
type Reactor struct{}

// Server is never made here.
type Server struct{ frontend.Copy }

// New fails.
func New(int, *relay.Stock, *contain.Guard) (*Reactor, error) { return nil, errUnsupported }

// Loops is 0.
func Loops() int { return 0 }

// Open fails.
func (r *Reactor) Open(context.Context, frontend.Options) (*Server, error) {
	return nil, errUnsupported
}

// NewServer is never called here.
func (r *Reactor) NewServer(*frontend.Frontend, *frontend.Options) *Server { return nil }

// Pin fails.
func (r *Reactor) Pin() error { return errUnsupported }

// Unpin does nothing.
func (r *Reactor) Unpin() {}

// MayPin fails.
func MayPin(int) error { return errUnsupported }

// Start does nothing.
func (r *Reactor) Start() {}

// Stop does nothing.
func (r *Reactor) Stop() {}

// Alive is true.
func (r *Reactor) Alive(context.Context) bool { return true }

// Close does nothing.
func (r *Reactor) Close() {}
