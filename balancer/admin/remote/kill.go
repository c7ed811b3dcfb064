package remote

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
)

func (k *remote) killCommand() *cli.Command {
	return k.command("kill", "end live sessions", "ID | FILTER | --all [--limit N] [--rate N/s]",
		"Ends one session by its number, or those of which all that the filter says is true: their clients\n"+
			"and backends see a reset. With --limit at most N of them, the oldest first. With --rate those\n"+
			"that there are when it begins, the oldest first, so many a second; Ctrl-C ends no more.\n\n"+
			"Exit codes: 0 done; 1 it could not be done; 2 bad command line; 4 interrupted.",
		0, 1, k.kill, filterFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "all", DisableDefaultText: true, Usage: "end every session there is"},
			&cli.IntFlag{Name: "limit", DefaultText: "no limit", Usage: "end at most `N`, the oldest first"},
			&cli.StringFlag{Name: "rate", DefaultText: "at once", Usage: "end `N/s`, such as 20/s, or 30/min"},
		}, jsonFlag(), doorFlags())
}

func (k *remote) kill(c *cli.Context, operands []string) error {
	client, err := k.client(c)
	if err != nil {
		return err
	}
	s, err := k.killSelector(c, client, operands)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	line := k.progressOn(c)
	done, err := client.Kill(ctx, s, func(done admin.Killed) {
		if done.Count < done.Of {
			line.show(fmt.Sprintf("ended %d of %s", done.Count, count(done.Of, "session")))
		}
	})
	line.clear()
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(c.App.ErrWriter, "weir: interrupted: ended %d of %s\n", done.Count, count(done.Of, "session"))
		return unfinished
	case err != nil:
		return err
	case c.Bool("json"):
		return printJSON(c, done)
	case done.Count < done.Of:
		k.printf(c, "ended %s; %d more had ended by themselves", count(done.Count, "session"), done.Of-done.Count)
	default:
		k.printf(c, "ended %s", count(done.Count, "session"))
	}
	return nil
}

// killSelector reads the command line.
func (k *remote) killSelector(c *cli.Context, client *admin.Client, operands []string) (s admin.KillSelector, err error) {
	if s, err = k.selector(c, client); err != nil {
		return s, err
	}
	s.All, s.Limit = c.Bool("all"), c.Int("limit")
	if c.IsSet("limit") && s.Limit < 1 {
		return s, k.BadUsage(c, "--limit %d is less than 1", s.Limit)
	}
	if c.IsSet("rate") {
		if s.PerSecond, err = parseRate(c.String("rate")); err != nil {
			return s, k.BadUsage(c, "--rate: %v", err)
		}
	}
	if len(operands) == 1 {
		if s.ID, err = strconv.ParseUint(operands[0], 10, 64); err != nil || s.ID == 0 {
			return s, k.BadUsage(c, "session %q is not a number", operands[0])
		}
	}
	if _, err := s.Filter(); err != nil {
		return s, k.BadUsage(c, "%v", err)
	}
	return s, nil
}

// parseRate reads "20/s", "30/min", "100/h" or "20", which is a second's.
func parseRate(text string) (perSecond float64, err error) {
	number, unit, _ := strings.Cut(text, "/")
	per, known := map[string]float64{"": 1, "s": 1, "min": 60, "m": 60, "h": 3600}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || strings.HasSuffix(text, "/") || !(n > 0) {
		return 0, errors.New(strconv.Quote(text) + " is no rate: 20/s is one, and 30/min")
	}
	if n /= per; n < 0.001 || n > 1_000_000 {
		return 0, errors.New(strconv.Quote(text) + " is not from 0.001/s to 1000000/s")
	}
	return n, nil
}
