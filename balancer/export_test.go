package balancer

import (
	"context"

	"weir/frontend"
)

// Inspector is what both engines tell of their live sessions.
type Inspector interface {
	Sessions(ctx context.Context, o frontend.Inspect, visit func(*frontend.Info) bool) error
	Kill(ctx context.Context, match func(*frontend.Info) bool, why frontend.Outcome) (n int, err error)
}

// Inspector returns the engine of the frontend of that name.
func (b *Balancer) Inspector(name string) Inspector {
	return b.part(name).frontend.current().(Inspector)
}

// Listening returns the addresses of the frontend of that name.
func (b *Balancer) Listening(name string) *frontend.Listening {
	return b.part(name).frontend.Listening()
}
