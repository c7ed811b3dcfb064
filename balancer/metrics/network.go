package metrics

import (
	"context"
	"time"

	"weir/balancer"
	"weir/frontend"
)

const (
	// sampleSize is how many sessions are looked at in a scrape. The kernel takes 1 to 2 µs to tell of one, of
	// both its sockets.
	sampleSize = 200
	// sampleTime bounds what a scrape waits for the loops, each of which answers within its turn.
	sampleTime = 100 * time.Millisecond
)

// place is one backend of one frontend.
type place struct{ frontend, backend string }

// network is what the kernel tells of some connections to a backend.
type network struct {
	sessions    int
	roundTrips  time.Duration // together
	retransmits uint64
}

// look asks the kernel about the connections of some live sessions. It is a sample, and not a fair one: the
// frontends have even shares of sampleSize, and each shows its newest sessions first. So these are numbers by
// which to compare backends and times, not to add up. Counting all would take 20 ms of the loops with 10,000
// sessions.
//
// What one frontend leaves over is for the next; turn says who is first.
func look(views []balancer.View, turn int) map[place]network {
	ctx, cancel := context.WithTimeout(context.Background(), sampleTime)
	defer cancel()
	found := make(map[place]network)
	left := sampleSize
	for i := range views {
		v, rest := &views[(turn+i)%len(views)], len(views)-i
		share := (left + rest - 1) / rest
		if share == 0 {
			break
		}
		left -= lookAt(ctx, v, share, found)
	}
	return found
}

// lookAt asks about no more than so many sessions of a frontend, and returns how many there were.
func lookAt(ctx context.Context, v *balancer.View, most int, found map[place]network) (seen int) {
	// With an error there are fewer: it comes from ctx, or as weir stops.
	_ = v.Sessions(ctx, frontend.Inspect{TCP: true}, func(i *frontend.Info) bool {
		seen++
		if tcp := &i.BackendTCP; tcp.Known && i.Backend != "" {
			at := place{v.Name, i.Backend}
			n := found[at]
			n.sessions++
			n.roundTrips += tcp.RTT
			n.retransmits += uint64(tcp.Retransmits)
			found[at] = n
		}
		return seen < most
	})
	return seen
}

// network sends what was found. Of a backend without sessions nothing is known.
func (out sender) network(found map[place]network) {
	for at, n := range found {
		b, f := pair(backendLabel, at.backend), pair(frontendLabel, at.frontend)
		out.gauge(tcpSessions, float64(n.sessions), b, f)
		out.gauge(tcpRoundTrip, n.roundTrips.Seconds()/float64(n.sessions), b, f)
		out.gauge(tcpRetransmits, float64(n.retransmits), b, f)
	}
}
