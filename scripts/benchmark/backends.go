//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The pools whose strategies are measured. Their backends share a few addresses: it is the choosing
// that is measured, and that does not look at addresses.
var (
	poolSizes      = []int{10, 100, 1000, 10000}
	quickPoolSizes = []int{10, 10000}
)

const (
	poolRow       = "backends in the pool: CPU µs/connection for each strategy (weir reactor)"
	poolAddresses = 16
	poolRounds    = 7
	poolEach      = 600 * time.Millisecond // at most, as is poolRounds
)

// strategies are all that the file knows, but for aliases.
func strategies() []string {
	return []string{"cyclic", "least-connections", "two-choices", "source-hash", "first", "least-latency"}
}

func poolAddress(i int) string { return fmt.Sprintf("127.77.3.%d:7000", i%poolAddresses+1) }

// poolFile is a configuration with that many backends.
func poolFile(address, strategy string, backends int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[frontend]\nbind_on = %q\nstrategy = %q\nengine = \"reactor\"\nhealth = { kind = \"none\" }\n", address+echoPort, strategy)
	for i := range backends {
		fmt.Fprintf(&b, "[[frontend.backend]]\nname = \"b%d\"\nforward_to = %q\n", i, poolAddress(i))
	}
	return b.String()
}

// beginPools starts a weir for each size of pool.
func (s *stage) beginPools(ctx context.Context, strategy string, sizes []int) (pools []*proxy, err error) {
	defer func() {
		if err != nil {
			endAll(pools)
		}
	}()
	for i, n := range sizes {
		address := fmt.Sprintf("127.77.4.%d", i+1)
		file := filepath.Join(s.scratch, "pool-"+strconv.Itoa(n)+".toml")
		if err := os.WriteFile(file, []byte(poolFile(address, strategy, n)), 0o644); err != nil {
			return pools, err
		}
		p, err := begin(fmt.Sprintf("weir with %d backends", n), s.weir, "-c", file)
		if err != nil {
			return pools, err
		}
		pools = append(pools, &proxy{process: p, name: strconv.Itoa(n), address: address})
		if err := reach(ctx, p, address+echoPort); err != nil {
			return pools, err
		}
	}
	return pools, nil
}

func endAll(pools []*proxy) {
	for _, p := range pools {
		p.end()
	}
}

// measurePools compares the sizes of pools for each strategy.
func measurePools(ctx context.Context, o options, s *stage, r *report) error {
	sizes := poolSizes
	if o.quick {
		sizes = quickPoolSizes
	}
	args := []string{"echo"}
	for i := range poolAddresses {
		args = append(args, "--listen", poolAddress(i))
	}
	if err := s.other("weir echo (pools)", s.weir, args...); err != nil {
		return err
	}
	t := newTable(poolRow, strategies())
	for _, strategy := range strategies() {
		if err := measurePool(ctx, o, s, t, strategy, sizes); err != nil {
			return err
		}
	}
	r.addPools(t, sizes)
	return nil
}

func measurePool(ctx context.Context, o options, s *stage, t *table, strategy string, sizes []int) error {
	pools, err := s.beginPools(ctx, strategy, sizes)
	if err != nil {
		return err
	}
	defer endAll(pools)
	connect := ownRows()[0]
	for i := range min(o.rounds, poolRounds) {
		for _, p := range turn(i, pools) {
			v, err := connect.measure(ctx, p, min(o.each, poolEach))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				t.failed(strategy+" with "+p.name, err)
				continue
			}
			t.add(i, p.name, sample{strategy: v["CPU µs/connection"]})
		}
	}
	return nil
}
