//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"weir/balancer/load"
)

const (
	idleConnections = 5000
	// idleSettle is what passes before the processor time of idle connections is looked at: they may
	// have been given options, and a collector may have run.
	idleSettle = 2 * time.Second
)

var idleRow = row{
	"5,000 idle connections after one exchange; KB of the process, without the kernel's",
	[]string{"KB/connection", "descriptors/connection", "CPU ms/s idle"},
	measureIdle,
}

// measureIdle wants a proxy that has not worked before: what it keeps for later use would hide what
// connections need.
func measureIdle(ctx context.Context, p *proxy, d time.Duration) (sample, error) {
	if err := p.renew(ctx); err != nil {
		return nil, err
	}
	s := sample{}
	done := make(chan struct{})
	memory, descriptors := p.memory(), p.descriptors()
	look := func() {
		s["KB/connection"] = float64(p.memory()-memory) / 1024 / idleConnections
		s["descriptors/connection"] = float64(p.descriptors()-descriptors) / idleConnections
		go func() {
			defer close(done)
			s["CPU ms/s idle"] = idleCPU(ctx, p, d)
		}()
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() { <-done; end() }()
	r, err := load.Generate(ctx, load.Options{
		Mode: load.Hold, Target: load.Address{Network: "tcp", Address: p.address + echoPort}, Sources: []netip.Addr{sources[0]},
		Concurrency: idleConnections, Duration: time.Hour, Begun: look,
	})
	if err != nil {
		close(done)
		return nil, err
	}
	<-done
	if r.Failed() > 0 || r.Done != idleConnections {
		return nil, fmt.Errorf("%d of %d connections: %v", r.Done, idleConnections, r.Errors)
	}
	return s, nil
}

// idleCPU returns how many milliseconds of processor time the proxy uses in a second.
func idleCPU(ctx context.Context, p *proxy, d time.Duration) float64 {
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	wait(idleSettle)
	before, at := p.cpu(), time.Now()
	wait(d)
	return float64((p.cpu() - before).Microseconds()) / 1e3 / time.Since(at).Seconds()
}
