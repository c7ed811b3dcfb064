package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weir/config"
)

// The pools whose strategies are measured. Their backends share a few addresses: it is the choosing
// that is measured, and that does not look at addresses.
var (
	poolSizes      = []int{10, 100, 1000, 10000}
	quickPoolSizes = []int{10, 10000}
)

const (
	firstPoolPort = 7100
	poolAddresses = 16
)

// strategies leaves out the aliases.
func strategies() []string { return config.Strategies[:6] }

func poolAddress(i int) string { return fmt.Sprintf("127.77.3.%d:7000", i%poolAddresses+1) }

// poolFile is a configuration with one frontend for each strategy.
func poolFile(address string, backends int) string {
	var b strings.Builder
	for i, s := range strategies() {
		fmt.Fprintf(&b, "[[frontend]]\nname = %q\nbind_on = \"%s:%d\"\nstrategy = %q\nengine = \"reactor\"\nhealth = { kind = \"none\" }\n", s, address, firstPoolPort+i, s)
		for j := range backends {
			fmt.Fprintf(&b, "[[frontend.backend]]\nname = \"b%d\"\nforward_to = %q\n", j, poolAddress(j))
		}
	}
	return b.String()
}

// beginPools starts a weir for each size of pool, and what they have behind them.
func (s *stage) beginPools(ctx context.Context, sizes []int) ([]*proxy, error) {
	args := []string{"echo"}
	for i := range poolAddresses {
		args = append(args, "--listen", poolAddress(i))
	}
	if err := s.other("weir echo (pools)", s.weir, args...); err != nil {
		return nil, err
	}
	var pools []*proxy
	for i, n := range sizes {
		address := fmt.Sprintf("127.77.4.%d", i+1)
		file := filepath.Join(s.scratch, fmt.Sprintf("pool-%d.toml", n))
		if err := os.WriteFile(file, []byte(poolFile(address, n)), 0o644); err != nil {
			return nil, err
		}
		p, err := begin("weir with "+strconv.Itoa(n)+" backends", s.weir, "-c", file)
		if err != nil {
			return nil, err
		}
		s.others = append(s.others, p)
		if err := reach(ctx, p, address+":"+strconv.Itoa(firstPoolPort)); err != nil {
			return nil, err
		}
		pools = append(pools, &proxy{process: p, name: strconv.Itoa(n), address: address})
	}
	return pools, nil
}

// measurePools compares the sizes of pools for each strategy.
func measurePools(ctx context.Context, o options, s *stage, r *report) error {
	sizes := poolSizes
	if o.quick {
		sizes = quickPoolSizes
	}
	pools, err := s.beginPools(ctx, sizes)
	if err != nil {
		return err
	}
	t := newTable(poolRow, strategies())
	for range min(o.rounds, 3) {
		for i, strategy := range strategies() {
			for _, p := range pools {
				v, err := measurePort(ctx, p, ":"+strconv.Itoa(firstPoolPort+i), min(o.each, time.Second))
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					t.failed(strategy+" with "+p.name, err)
					continue
				}
				t.add(p.name, sample{strategy: v["CPU µs/connection"]})
			}
		}
	}
	r.addPools(t, pools)
	return nil
}

const poolRow = "backends in the pool: CPU µs/connection for each strategy"
