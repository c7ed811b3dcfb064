package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/urfave/cli/v2"

	"weir/config"
)

// Flags returns the flags of weir load, which [FromFlags] reads.
func Flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "target", Aliases: []string{"t"}, Usage: "connect to `ADDR`"},
		&cli.StringFlag{Name: "mode", Aliases: []string{"m"}, Value: string(Connect), Usage: "do `WORK`: " + modeNames()},
		&cli.IntFlag{Name: "size", Aliases: []string{"s"}, DefaultText: "100; echo 64; stream 65536", Usage: "send messages of `BYTES`, or with stream writes"},
		&cli.IntFlag{Name: "concurrency", Aliases: []string{"n", "streams"}, DefaultText: "50; with --rate 1000; stream 1", Usage: "keep `N` connections at one time, or at most"},
		&cli.Float64Flag{Name: "rate", Aliases: []string{"r"}, DefaultText: "as fast as it goes", Usage: "begin `N` pieces of work each second, however long they take"},
		&cli.DurationFlag{Name: "duration", Aliases: []string{"d"}, DefaultText: "10s, without --count", Usage: "end after `TIME`"},
		&cli.Int64Flag{Name: "count", DefaultText: "no limit", Usage: "end after `N` pieces of work"},
		&cli.DurationFlag{Name: "timeout", Value: defaultTimeout, Usage: "give a piece of work `TIME`"},
		&cli.StringSliceFlag{Name: "source", Usage: "connect from `IP`; given again, from each in turn"},
		&cli.StringFlag{Name: "phases", Usage: "read rates that change from `FILE`"},
		&cli.Uint64Flag{Name: "seed", DefaultText: "the file's, or 0", Usage: "make random rates from `N`"},
		&cli.BoolFlag{Name: "greeting", DisableDefaultText: true, Usage: "expect a first line with the name of who serves, and count the names"},
		&cli.IntFlag{Name: "loops", DefaultText: "one for each core", Usage: "work with `N` event loops"},
		&cli.BoolFlag{Name: "remote", DisableDefaultText: true, Usage: "allow a target beyond this host's loopback"},
		&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "write the result as JSON"},
	}
}

// FromFlags returns the options of a command line.
func FromFlags(c *cli.Context) (Options, error) {
	o := Options{
		Mode: Mode(c.String("mode")), Remote: c.Bool("remote"), Size: c.Int("size"),
		Concurrency: c.Int("concurrency"), Rate: c.Float64("rate"), Seed: c.Uint64("seed"),
		Duration: c.Duration("duration"), Count: c.Int64("count"), Timeout: c.Duration("timeout"),
		Greeting: c.Bool("greeting"), Loops: c.Int("loops"),
	}
	if isatty.IsTerminal(os.Stderr.Fd()) {
		o.Progress = os.Stderr
	}
	if err := o.fromAddresses(c); err != nil {
		return o, err
	}
	if file := c.String("phases"); file != "" {
		phases, seed, err := LoadPhases(file)
		if err != nil {
			return o, err
		}
		o.Phases = phases
		if seed != nil && !c.IsSet("seed") {
			o.Seed = *seed
		}
		if o.Duration > 0 {
			return o, errors.New("phases have their own durations: leave out --duration")
		}
	}
	return o, o.complete()
}

func (o *Options) fromAddresses(c *cli.Context) error {
	target := c.String("target")
	if target == "" {
		return errors.New("--target ADDR is missing: what should get the load?")
	}
	if strings.HasPrefix(target, ":") {
		target = "127.0.0.1" + target
	}
	a, err := config.ParseListen(target) // the forms are the same
	if err != nil {
		return fmt.Errorf("--target: %w", err)
	}
	o.Target = Address{a.Network, a.Address}
	for _, s := range c.StringSlice("source") {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("--source %q is not an IP", s)
		}
		o.Sources = append(o.Sources, ip)
	}
	return nil
}

// Command runs what a command line asks for, and returns an error if anything went wrong.
func Command(ctx context.Context, c *cli.Context, o Options) error {
	r, err := Generate(ctx, o)
	if err != nil {
		return err
	}
	write := r.WriteText
	if c.Bool("json") {
		write = r.WriteJSON
	}
	if err := write(c.App.Writer); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	if n := r.Failed(); n > 0 {
		return fmt.Errorf("%d of %d did not go well", n, r.Started+r.NotStarted)
	}
	return nil
}
