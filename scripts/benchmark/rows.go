//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"weir/balancer/load"
)

// sample is the figures of one measurement, by name.
type sample map[string]float64

// row is one kind of work.
type row struct {
	name    string
	figures []string // in the order of the table; the first is the headline
	measure func(ctx context.Context, p *proxy, d time.Duration) (sample, error)
}

// sources gives the client ports enough for the storm of connections.
var sources = func() (ips []netip.Addr) {
	for i := range 8 {
		ips = append(ips, netip.AddrFrom4([4]byte{127, 77, 2, byte(i + 1)}))
	}
	return ips
}()

const warmUp = 4 // a measurement is preceded by this part of its time, not counted

func ownRows() []row {
	message := []string{"CPU µs/message", "messages/s", "p50 µs", "p99 µs", "p99.9 µs"}
	bulk := []string{"CPU ms/GB", "Gbit/s"}
	return []row{
		{"connect, 100 B, answer, close", []string{"CPU µs/connection", "connections/s", "p50 µs", "p99 µs"},
			measure(load.Options{Mode: load.Connect, Concurrency: 50})},
		{"64 B ping-pong, 50 connections", message, measure(load.Options{Mode: load.Pong, Concurrency: 50})},
		{"64 B ping-pong, 2,000 connections", message, measure(load.Options{Mode: load.Pong, Concurrency: 2000})},
		{"bulk both ways, 1 stream", bulk, measure(load.Options{Mode: load.Stream, Concurrency: 1})},
		{"bulk both ways, 8 streams", bulk, measure(load.Options{Mode: load.Stream, Concurrency: 8})},
	}
}

// measure runs our own client against a proxy, and looks what the proxy used meanwhile.
func measure(with load.Options) func(context.Context, *proxy, time.Duration) (sample, error) {
	return func(ctx context.Context, p *proxy, d time.Duration) (sample, error) {
		o := with
		o.Target = load.Address{Network: "tcp", Address: p.address + echoPort}
		o.Sources = sources
		o.Duration = d / warmUp
		if _, err := load.Generate(ctx, o); err != nil {
			return nil, err
		}
		var before time.Duration
		o.Duration, o.Begun = d, func() { before = p.cpu() }
		r, err := load.Generate(ctx, o)
		if err != nil {
			return nil, err
		}
		used := p.cpu() - before
		if n := r.Failed(); n > 0 {
			return nil, fmt.Errorf("%d errors: %v", n, r.Errors)
		}
		if r.Done == 0 {
			return nil, errors.New("nothing was done")
		}
		return figures(o.Mode, r, used), nil
	}
}

// figures are of one measurement. A byte that a stream sends passes the proxy twice: to the backend and
// back.
func figures(mode load.Mode, r *load.Result, used time.Duration) sample {
	micros := float64(used.Nanoseconds()) / 1e3
	if mode == load.Stream {
		gb := float64(r.BytesSent+r.BytesReceived) / 1e9
		return sample{"CPU ms/GB": micros / 1e3 / gb, "Gbit/s": gb * 8 / r.Seconds}
	}
	work, per, rate := "message", "CPU µs/", "s/s"
	if mode == load.Connect {
		work = "connection"
	}
	return sample{
		per + work: micros / float64(r.Done), work + rate: r.PerSecond,
		"p50 µs": r.Latency.P50, "p99 µs": r.Latency.P99, "p99.9 µs": r.Latency.P999,
	}
}
