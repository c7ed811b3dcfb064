package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
)

const (
	// drainPoll is how often a drain that is waited for is looked at. Each look is one small question.
	drainPoll = 250 * time.Millisecond
	// killTime is how long sessions that were ended may take to be gone.
	killTime = 10 * time.Second
)

func (k *remote) drainCommand() *cli.Command {
	return k.command("drain", "give a backend no new sessions, and let its sessions finish",
		"BACKEND... [--wait [--timeout TIME [--then-kill]]]",
		untilReady+"\n\nWith --wait it returns when no session is left, and shows meanwhile how many there are. Ctrl-C leaves\n"+
			"the drain in place, and so does the end of --timeout; --then-kill ends the sessions that are left then.\n\n"+
			"Exit codes: 0 drained, or without --wait done; 1 it could not be done; 2 bad command line; 4 sessions are left.",
		1, anyNumber, k.drain, []cli.Flag{
			&cli.BoolFlag{Name: "wait", DisableDefaultText: true, Usage: "wait until no session is left"},
			&cli.DurationFlag{Name: "timeout", DefaultText: "for ever", Usage: "wait for `TIME`, such as 5m, at most"},
			&cli.BoolFlag{Name: "then-kill", DisableDefaultText: true, Usage: "end the sessions that are left at the timeout"},
		}, jsonFlag(), doorFlags())
}

func (k *remote) drain(c *cli.Context, operands []string) error {
	wait, timeout := c.Bool("wait"), c.Duration("timeout")
	switch {
	case !wait && (c.IsSet("timeout") || c.IsSet("then-kill")):
		return k.BadUsage(c, "--timeout and --then-kill go with --wait")
	case c.IsSet("timeout") && timeout <= 0:
		return k.BadUsage(c, "--timeout %v is not more than 0", timeout)
	case c.Bool("then-kill") && timeout == 0:
		return k.BadUsage(c, "--then-kill needs a --timeout: when?")
	}
	if !wait {
		return k.each(c, operands, setState(c, "drain"))
	}
	client, err := k.client(c)
	if err != nil {
		return err
	}
	s, err := client.Status(c.Context)
	if err != nil {
		return err
	}
	d := &draining{remote: k, c: c, client: client, pid: s.PID, progress: k.progressOn(c), sessions: map[place]int{}}
	if d.left, err = findAll(&s, operands); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := d.begin(); err != nil {
		return err
	}
	return d.wait(ctx, timeout)
}

// draining is a drain that is waited for.
type draining struct {
	*remote
	c        *cli.Context
	client   *admin.Client
	pid      int
	progress *progress
	left     []place
	sessions map[place]int // of those that are left
	killed   bool
}

// What ends the waiting.
var (
	errTimeout = errors.New("timeout")
	errNobody  = errors.New("no session is left")
)

// begin has all of them drain. As JSON a backend is shown once: as it is at last.
func (d *draining) begin() error {
	for _, p := range d.left {
		b, err := setState(d.c, "drain")(d.client, p)
		if err != nil {
			return err
		}
		d.sessions[p] = b.Active
		if d.c.Bool("json") {
			continue
		}
		if err := d.showBackend(d.c, p, &b); err != nil {
			return err
		}
	}
	return nil
}

func (d *draining) wait(ctx context.Context, timeout time.Duration) error {
	err := d.until(ctx, timeout)
	if err == errTimeout && d.c.Bool("then-kill") {
		if err = d.kill(ctx); err == nil {
			err = d.until(ctx, killTime)
		}
	}
	d.progress.clear()
	switch {
	case err == errNobody:
		return d.sameWeir()
	case ctx.Err() != nil:
		return d.unfinished("interrupted")
	case err == errTimeout && d.killed:
		return d.unfinished("the sessions were ended, but are not gone")
	case err == errTimeout:
		return d.unfinished(fmt.Sprintf("not drained after %v", timeout))
	}
	return err
}

// until looks until no session is left, or for so long. 0: for ever.
func (d *draining) until(ctx context.Context, most time.Duration) error {
	var end <-chan time.Time
	if most > 0 {
		t := time.NewTimer(most)
		defer t.Stop()
		end = t.C
	}
	again := time.NewTicker(drainPoll)
	defer again.Stop()
	for {
		if err := d.look(ctx); err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-end:
			return errTimeout
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look tells what has become of those that are left.
func (d *draining) look(ctx context.Context) error {
	left, sessions := d.left[:0:0], map[place]int{}
	for _, p := range d.left {
		b, err := d.client.Backend(ctx, p.frontend, p.backend)
		switch {
		case errors.Is(err, admin.ErrNotFound): // it was removed meanwhile, which it is not while it has sessions
			b.Name, b.State = p.backend, "removed"
		case err != nil:
			return err
		case b.State == "up" || b.State == "down" || b.State == "ejected":
			return fmt.Errorf("%s is %s again: somebody has undone the drain", p, b.State)
		}
		if b.Active > 0 {
			left, sessions[p] = append(left, p), b.Active
			continue
		}
		d.progress.clear()
		if !d.c.Bool("json") {
			d.printf(d.c, "%s is drained: no sessions left", p)
		} else if err := printJSON(d.c, b); err != nil {
			return err
		}
	}
	d.left, d.sessions = left, sessions
	if len(left) == 0 {
		return errNobody
	}
	d.progress.show(d.rest())
	return nil
}

// rest says what is left: "web/left: 3 sessions, web/right: 1 session".
func (d *draining) rest() string {
	var words []string
	for _, p := range d.left {
		words = append(words, fmt.Sprintf("%s: %s", p, count(d.sessions[p], "session")))
	}
	return strings.Join(words, ", ")
}

// kill ends the sessions that are left.
func (d *draining) kill(ctx context.Context) error {
	d.killed = true
	for _, p := range d.left {
		done, err := d.client.Kill(ctx, admin.KillSelector{Frontend: p.frontend, Backend: p.backend}, nil)
		if err != nil {
			return err
		}
		d.progress.clear()
		if !d.c.Bool("json") {
			d.printf(d.c, "ended %s of %s", count(done.Count, "session"), p)
		}
	}
	return nil
}

// unfinished says why nobody waits any more, and what stays.
func (d *draining) unfinished(why string) error {
	fmt.Fprintln(d.c.App.ErrWriter, d.Printable(fmt.Sprintf("weir: %s: the drain stays in place ('weir ready' undoes it); %s", why, d.rest())))
	return unfinished
}

// sameWeir checks that the process that answers is the one that was asked first: another one knows nothing of the sessions
// that this one has.
func (d *draining) sameWeir() error {
	s, err := d.client.Status(d.c.Context)
	if err != nil {
		return err
	}
	if s.PID != d.pid {
		return fmt.Errorf("weir was upgraded meanwhile: process %d answers in place of %d, and knows nothing of the sessions that are left there", s.PID, d.pid)
	}
	return nil
}
