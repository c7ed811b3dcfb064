//go:build linux

// Command benchmark compares weir with HAProxy and nginx at the same work: see scripts/bench, which
// runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// options is the command line.
type options struct {
	quick  bool
	rounds int
	each   time.Duration
	rows   *regexp.Regexp
	json   string
	weir   string
	peers  string
}

func main() {
	runtime.LockOSThread() // see begin
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(2)
	}
	if err := compare(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("scripts/bench", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "measure for about two minutes, and less exactly")
	f.IntVar(&o.rounds, "rounds", 0, "measure everything `N` times (default 15, quick 3)")
	f.DurationVar(&o.each, "each", 0, "let one measurement last `TIME` (default 1s, quick 600ms)")
	rows := f.String("rows", "", "measure only the rows that match `REGEXP`")
	f.StringVar(&o.json, "json", "", "write the results as JSON to `FILE`")
	f.StringVar(&o.weir, "weir", "", "the weir to measure: `FILE`")
	f.StringVar(&o.peers, "peers", "scripts/peers", "the configurations: `DIR`")
	if err = f.Parse(args); err != nil {
		return o, err
	}
	if o.rows, err = regexp.Compile(*rows); err != nil {
		fmt.Fprintln(os.Stderr, "bench: --rows:", err)
		return o, err
	}
	// Many short rounds: what else the machine does comes and goes in seconds.
	full, quick := options{rounds: 15, each: time.Second}, options{rounds: 3, each: 600 * time.Millisecond}
	if o.quick {
		full = quick
	}
	if o.rounds <= 0 {
		o.rounds = full.rounds
	}
	if o.each <= 0 {
		o.each = full.each
	}
	return o, nil
}

// compare runs everything and reports.
func compare(ctx context.Context, o options) error {
	scratch, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	s := &stage{weir: o.weir, scratch: scratch}
	defer s.end()
	if s.peers, err = filepath.Abs(o.peers); err != nil { // nginx looks elsewhere
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	r := newReport(o, s.proxies)
	if err := measureAll(ctx, o, s, r); err != nil {
		return err
	}
	if o.json != "" {
		if err := r.writeJSON(o.json); err != nil {
			return err
		}
	}
	return nil
}

// measureAll measures what the command line asks for.
func measureAll(ctx context.Context, o options, s *stage, r *report) error {
	for _, w := range slices.Concat(ownRows(), foreignRows(), []row{idleRow}) {
		if !o.rows.MatchString(w.name) {
			continue
		}
		if err := rounds(ctx, o, s, w, r); err != nil {
			return err
		}
	}
	if o.rows.MatchString(logRow) {
		if err := measureLogging(ctx, o, s, r); err != nil {
			return err
		}
	}
	if o.rows.MatchString(callsRow) {
		if err := measureCalls(ctx, s, r); err != nil {
			return err
		}
	}
	if o.rows.MatchString(admissionRow) {
		if err := measureVariants(ctx, o, s, r, admissionRow, admissions()); err != nil {
			return err
		}
	}
	if o.rows.MatchString(operationsRow) {
		if err := measureVariants(ctx, o, s, r, operationsRow, s.operations()); err != nil {
			return err
		}
	}
	if o.rows.MatchString(poolRow) {
		return measurePools(ctx, o, s, r)
	}
	return nil
}

// turn returns all in the order of a round, A B C and C B A by turns: the machine changes while it works.
func turn[P any](round int, all []P) []P {
	if round%2 == 0 {
		return all
	}
	back := slices.Clone(all)
	slices.Reverse(back)
	return back
}

// rounds measures one row in rounds.
func rounds(ctx context.Context, o options, s *stage, w row, r *report) error {
	t := newTable(w.name, w.figures)
	n := o.rounds
	if w.name == idleRow.name {
		n = min(n, 3) // it takes long, and memory does not wander
	}
	for i := range n {
		for _, p := range turn(i, s.proxies) {
			sample, err := w.measure(ctx, p, o.each)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				t.failed(p.name, err)
				continue
			}
			t.add(i, p.name, sample)
		}
	}
	r.add(t)
	return nil
}
