//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"weir/balancer/load"
)

const (
	callsRow = "system calls per connection"
	// callsConnections are made while strace counts. One after the other, so that none is left half
	// done, and waiting is not counted: how often a loop waits depends on how busy it is.
	callsConnections = 2000
)

// measureCalls counts the system calls of each proxy, if there is an strace.
func measureCalls(ctx context.Context, s *stage, r *report) error {
	t := newTable(callsRow, []string{"calls/connection, but for waiting"})
	if _, err := exec.LookPath("strace"); err != nil {
		t.Errors = append(t.Errors, "strace is not installed")
	} else {
		for _, p := range s.proxies {
			n, err := countCalls(ctx, p)
			if err != nil {
				t.failed(p.name, err)
				continue
			}
			t.add(0, p.name, sample{t.Figures[0]: n})
		}
	}
	r.add(t)
	return ctx.Err()
}

func countCalls(ctx context.Context, p *proxy) (float64, error) {
	args := []string{"-f", "-c", "-U", "calls,name"}
	for _, pid := range p.pids() {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	tracer, err := begin("strace", "strace", args...)
	if err != nil {
		return 0, err
	}
	defer tracer.end()
	// strace says when it has attached, but to a pipe not at once.
	time.Sleep(500 * time.Millisecond)
	got, err := load.Generate(ctx, load.Options{
		Mode: load.Connect, Target: load.Address{Network: "tcp", Address: p.address + echoPort}, Sources: sources,
		Concurrency: 4, Count: callsConnections,
	})
	if err != nil {
		return 0, err
	}
	if n := got.Failed(); n > 0 {
		return 0, fmt.Errorf("%d errors under strace: %v", n, got.Errors)
	}
	tracer.interrupt()
	return sumCalls(tracer.out.String()) / callsConnections, nil
}

// sumCalls adds up strace's table but for what only waits.
func sumCalls(table string) (sum float64) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) != 2 || f[1] == "total" || strings.HasPrefix(f[1], "epoll_wait") || strings.HasPrefix(f[1], "epoll_pwait") {
			continue
		}
		if n, err := strconv.ParseFloat(f[0], 64); err == nil {
			sum += n
		}
	}
	return sum
}
