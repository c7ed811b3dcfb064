package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
)

const (
	watchInterval = 2 * time.Second
	// leastInterval: nobody reads faster, and each look has a price.
	leastInterval = 100 * time.Millisecond
)

// watchStatus shows the status until Ctrl-C. Once it was there, that weir does not answer is shown as well: it may be about
// to be started anew.
func (k *remote) watchStatus(c *cli.Context, client *admin.Client, operands []string) error {
	interval := watchInterval
	if len(operands) > 0 {
		var err error
		if interval, err = time.ParseDuration(operands[0]); err != nil || interval < leastInterval {
			return k.BadUsage(c, "--watch %s is not a time of %v or more, such as 2s", operands[0], leastInterval)
		}
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	again := time.NewTicker(interval)
	defer again.Stop()
	for first := true; ; first = false {
		if err := k.watchOnce(ctx, c, client, first); err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// watchOnce shows it once. Without a first answer there is nothing to watch.
func (k *remote) watchOnce(ctx context.Context, c *cli.Context, client *admin.Client, first bool) error {
	s, err := client.Status(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil && first:
		return err
	case c.Bool("json") && err != nil:
		return nil // a line is a status
	case c.Bool("json"):
		return json.NewEncoder(c.App.Writer).Encode(s)
	}
	var text bytes.Buffer
	k.onto(c, &text, func() {
		if err != nil {
			k.printf(c, "weir does not answer: %v", err)
		} else {
			k.showStatus(c, &s)
		}
	})
	return k.redraw(c, text.String())
}

// onto has what is printed written to another writer, that looks like the real one.
func (k *remote) onto(c *cli.Context, w io.Writer, print func()) {
	real, terminal := c.App.Writer, k.Terminal
	defer func() { c.App.Writer, k.Terminal = real, terminal }()
	c.App.Writer, k.Terminal = w, func(io.Writer) (int, bool) { return terminal(real) }
	print()
}

// redraw puts a text in the place of the one before it on a terminal, as much of it as there are lines, and elsewhere
// below it.
func (k *remote) redraw(c *cli.Context, text string) error {
	at := k.Now().Local()
	lines := k.Height(c.App.Writer)
	if lines == 0 {
		_, err := fmt.Fprintf(c.App.Writer, "--- %s\n%s", at.Format(time.RFC3339), text)
		return err
	}
	all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(all) > lines-1 {
		hidden := len(all) - max(lines-2, 0)
		all = append(all[:max(lines-2, 0)], fmt.Sprintf("… and %d lines more", hidden))
	}
	// No wrapping of long lines; home; each line, and nothing behind it; nothing below. It never is empty in between.
	_, err := io.WriteString(c.App.Writer, "\x1b[?7l\x1b[H"+strings.Join(all, "\x1b[K\r\n")+"\x1b[K\x1b[J\r\n\x1b[?7h")
	return err
}
