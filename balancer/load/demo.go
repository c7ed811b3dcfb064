package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"weir/backend"
	"weir/balancer"
	"weir/config"
)

// DemoOptions says how the demonstration is given.
type DemoOptions struct {
	// Out is told the story.
	Out io.Writer
	// Serve keeps everything running afterwards, until the context ends.
	Serve bool
}

// demoFile is the configuration of the demonstration. The probes are quick, so that it is short.
const demoFile = `[frontend]
name = "demo"
bind_on = "127.0.0.1:0"

[frontend.health]
interval = "100ms"
fall = 2
rise = 2
`

const (
	demoBackends = 3
	demoVictim   = 1   // is killed
	demoShow     = 9   // connections shown one by one
	demoStorm    = 300 // connections before the kill, and after the killed server is known to be down
	demoWorkers  = 4
	// demoPatience bounds each connection, and each wait for a probe's verdict.
	demoPatience = 5 * time.Second
	// demoLimit bounds the whole of it.
	demoLimit = 12 * time.Second
)

// Demo starts three echo servers and a balancer in front of them, kills one server under load, brings
// it back, and tells what happened. It fails if anything was not as weir promises.
func Demo(ctx context.Context, o DemoOptions) error {
	limit, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	d := &demo{ctx: limit, out: o.Out}
	defer d.stop()
	if err := d.start(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	err := d.show()
	switch {
	case ctx.Err() != nil:
		return errors.New("demo: interrupted")
	case err != nil:
		return fmt.Errorf("demo: not as promised: %w", err)
	}
	if o.Serve {
		d.tell("\nStill running: try 'socat - TCP:%s', type a line, then Ctrl-D. Ctrl-C ends the demo.", d.address)
		<-ctx.Done()
	}
	return nil
}

// demo is the stage: the servers, the balancer, and what was counted.
type demo struct {
	ctx     context.Context
	out     io.Writer
	servers [demoBackends]*Echo
	address string
	pool    *backend.Pool
	balance *balancer.Balancer
	running errgroup.Group
	halt    context.CancelFunc
	acts    []*act
}

// act is one line of the table at the end.
type act struct {
	title  string
	total  int
	failed int
	err    error // of the last that failed
	served map[string]int
}

func (d *demo) tell(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func serverName(i int) string { return fmt.Sprintf("b%d", i+1) }

func (d *demo) start() error {
	var file strings.Builder
	file.WriteString(demoFile)
	for i := range d.servers {
		if err := d.startServer(i, "127.0.0.1:0"); err != nil {
			return err
		}
		fmt.Fprintf(&file, "\n[[frontend.backend]]\nname = %q\nforward_to = %q\n", serverName(i), d.servers[i].Addrs()[0])
	}
	cfg, err := config.Parse("demo", []byte(file.String()))
	if err != nil {
		return err
	}
	if d.balance, err = balancer.New(d.ctx, cfg, zerolog.Nop()); err != nil {
		return err
	}
	d.address, d.pool = d.balance.Addrs("demo")[0].String(), d.balance.Pool("demo")
	stop, halt := context.WithCancel(context.Background())
	d.halt = halt
	d.running.Go(func() error { return d.balance.Run(stop, stop) })
	d.tell("weir listens on %s with this configuration:\n\n%s", d.address, indent(file.String()))
	return nil
}

func (d *demo) startServer(i int, address string) error {
	e, err := ListenEcho(d.ctx, []Address{{"tcp", address}}, EchoOptions{Name: serverName(i), Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	d.servers[i] = e
	d.running.Go(e.Serve)
	return nil
}

func (d *demo) stop() {
	if d.halt != nil {
		d.halt()
	}
	for _, e := range d.servers {
		if e != nil {
			e.Close()
		}
	}
	d.running.Wait()
}

// show plays the acts and holds them against what weir promises.
func (d *demo) show() error {
	for _, play := range []func() error{d.allUp, d.oneKilled, d.oneBack} {
		if err := play(); err != nil {
			return err
		}
	}
	d.table()
	for _, a := range d.acts {
		if a.failed > 0 {
			return fmt.Errorf("%d of %d connections failed while %s: %w", a.failed, a.total, a.title, a.err)
		}
	}
	return nil
}

func (d *demo) allUp() error {
	d.tell("%d connections, one after the other, were served by:", demoShow)
	return d.evenly("all are up")
}

// evenly makes connections one by one and wants each server to get the same number.
func (d *demo) evenly(title string) error {
	a := d.begin(title)
	var order []string
	for range demoShow {
		name, err := d.connect()
		a.count(name, err)
		order = append(order, name)
	}
	d.acts = append(d.acts, a)
	d.tell("  %s", strings.Join(order, " "))
	for i := range d.servers {
		if got, want := a.served[serverName(i)], demoShow/demoBackends; got != want {
			return fmt.Errorf("%s got %d connections while %s, want %d", serverName(i), got, title, want)
		}
	}
	return nil
}

// oneKilled kills a server between two connections of a storm: a session that is in the middle of a
// server's life ends with it, whatever stands in front.
func (d *demo) oneKilled() error {
	victim := serverName(demoVictim)
	d.tell("\n%d clients connect as fast as they can, and %s is killed:", demoWorkers, victim)
	s := d.storm("a storm, all up")
	err := s.more(d.ctx, demoStorm)
	s.turn(victim+" is dead", d.servers[demoVictim].Close)
	if err == nil {
		err = d.await(demoVictim, backend.Down)
	}
	if err == nil {
		err = s.more(d.ctx, demoStorm)
	}
	before, after := s.end()
	d.acts = append(d.acts, before, after)
	if err != nil {
		return err
	}
	d.tell("  before: %s", before.shares())
	d.tell("  after:  %s", after.shares())
	return after.without(victim)
}

func (d *demo) oneBack() error {
	victim := serverName(demoVictim)
	d.tell("\n%s comes back:", victim)
	if err := d.startServer(demoVictim, d.servers[demoVictim].Addrs()[0].String()); err != nil {
		return err
	}
	if err := d.await(demoVictim, backend.Up); err != nil {
		return err
	}
	return d.evenly(victim + " is back")
}

// await waits until the pool sees a server in that state.
func (d *demo) await(i int, want backend.State) error {
	late := time.NewTimer(demoPatience)
	defer late.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		s := d.pool.Snapshot()[i]
		if s.State == want {
			d.tell("  weir says: %s is %s (%s)", serverName(i), s.State, s.Reason)
			return nil
		}
		select {
		case <-look.C:
		case <-late.C:
			return fmt.Errorf("%s is %s after %v, want %s", serverName(i), s.State, demoPatience, want)
		case <-d.ctx.Done():
			return d.ctx.Err()
		}
	}
}

func (d *demo) table() {
	d.tell("\n  %-16s %7s %7s %7s %7s %7s", "while", "total", "b1", "b2", "b3", "failed")
	for _, a := range d.acts {
		d.tell("  %-16s %7d %7d %7d %7d %7d", a.title, a.total, a.served["b1"], a.served["b2"], a.served["b3"], a.failed)
	}
}

// connect makes one connection through weir, sees it echo, and returns the name of who served it.
func (d *demo) connect() (string, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(d.ctx, "tcp", d.address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(demoPatience))
	const message = "hello, weir\n"
	if _, err := io.WriteString(c, message); err != nil {
		return "", err
	}
	c.(*net.TCPConn).CloseWrite()
	all, err := io.ReadAll(c)
	if err != nil {
		return "", err
	}
	name, echoed, ok := strings.Cut(string(all), "\n")
	if !ok || echoed != message {
		return "", errors.New("the echo is not what was sent")
	}
	return name, nil
}

func (d *demo) begin(title string) *act { return &act{title: title, served: map[string]int{}} }

func (a *act) count(name string, err error) {
	a.total++
	if err != nil {
		a.failed++
		a.err = err
		return
	}
	a.served[name]++
}

// without wants every server but that one to have served.
func (a *act) without(victim string) error {
	for i := range demoBackends {
		name := serverName(i)
		if got := a.served[name]; (got == 0) != (name == victim) {
			return fmt.Errorf("%s got %d connections while %s", name, got, a.title)
		}
	}
	return nil
}

func (a *act) shares() string {
	var list []string
	for i := range demoBackends {
		list = append(list, fmt.Sprintf("%s %d", serverName(i), a.served[serverName(i)]))
	}
	return fmt.Sprintf("%d connections, %d failed (%s)", a.total, a.failed, strings.Join(list, ", "))
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	return b.String()
}
