//go:build !unix

package balancer

import (
	"context"
	"errors"
	"os"
	"time"

	"weir/frontend"
)

// Successor is a process that is to take the place of this one.
type Successor struct {
	Binary  string
	Args    []string
	Dir     string
	Sockets []frontend.Socket
	Memory  []byte
	Within  time.Duration
}

// Upgrade fails: listening sockets cannot be handed over here.
func (b *Balancer) Upgrade(context.Context, Successor) (int, error) {
	return 0, errors.New("upgrade: listening sockets cannot be handed over on this system")
}

// Handed is what a process was started with: nothing here.
type Handed struct {
	Files  []*os.File
	Memory []byte
	Former []*os.File
}

// TakeHanded returns nothing.
func TakeHanded() *Handed { return new(Handed) }

// Ready does nothing.
func (h *Handed) Ready() error { return nil }
