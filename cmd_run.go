package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"weir/balancer"
	"weir/balancer/admin"
	"weir/balancer/metrics"
	"weir/config"
	"weir/frontend"
)

func runCommand() *cli.Command {
	return command("run", "listen and forward, until SIGTERM or SIGINT", "[-v] [-c FILE]",
		"The first signal stops accepting and lets the running sessions finish, as [shutdown] in FILE\n"+
			"says. The second one ends weir at once, with exit code 1.\n\n"+
			"SIGHUP reads FILE again and goes over to it, if nothing is wrong with it. SIGUSR1 opens the log\n"+
			"file anew. SIGUSR2 starts the binary anew, which takes over: this weir lets its sessions finish.",
		serve, fileFlags(), logFlags())
}

// runner is a weir that runs.
type runner struct {
	path   string // of the file
	binary string // what upgrades start
	log    zerolog.Logger
	b      *balancer.Balancer

	door    *admin.Door // nil: none
	running *admin.Running

	stop, now       context.Context
	endStop, endNow context.CancelFunc
}

func serve(c *cli.Context) error {
	handed := balancer.TakeHanded()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, append([]os.Signal{os.Interrupt, syscall.SIGTERM}, runSignals...)...)
	defer signal.Stop(signals)
	reopen := make(chan os.Signal, 1)
	signal.Notify(reopen, balancer.SignalReopen) // without a log file too, or it would end weir
	defer signal.Stop(reopen)
	cfg, err := readConfig(c)
	if err != nil {
		return err
	}
	file, err := openLog(&cfg.Log)
	if err != nil {
		return err
	}
	defer file.Close()
	log, flush, err := newLogger(c, file)
	if err != nil {
		return err
	}
	defer flush()
	defer background(c.Context, func(ctx context.Context) { file.ReopenOnSignal(ctx, reopen, log) })()
	there, err := frontend.Inherit(handed.Files)
	if err != nil {
		return err
	}
	r := &runner{log: log}
	if r.path, err = filepath.Abs(text(c, "config")); err != nil {
		return err
	}
	r.binary, _ = os.Executable() // where it is now: an upgrade puts another one there
	if r.b, err = balancer.NewFrom(c.Context, cfg, log, there); err != nil {
		return err
	}
	if err := r.openDoor(cfg, there); err != nil {
		r.b.Close()
		return err
	}
	return r.run(c.Context, signals, handed)
}

// openDoor opens the operator's door, if the file wants one.
func (r *runner) openDoor(cfg *config.Config, there *frontend.Inherited) (err error) {
	r.running = admin.NewRunning(&admin.Running{
		Balancer: r.b, Version: version(), File: r.path, Started: time.Now(), Successor: r.succeed,
	})
	if cfg.Admin.BindOn == (config.Address{}) {
		return nil
	}
	o := admin.OptionsOf(&cfg.Admin)
	o.Log = r.log
	o.Metrics = metrics.Handler(r.b, version())
	for _, f := range there.Take(frontend.Bind{Network: o.Network, Address: o.Address}) {
		if o.Listener, err = net.FileListener(f); err != nil {
			return err
		}
		f.Close()
	}
	r.door, err = admin.New(o, r.running)
	return err
}

func (r *runner) run(parent context.Context, signals <-chan os.Signal, handed *balancer.Handed) error {
	r.stop, r.endStop = context.WithCancel(parent)
	r.now, r.endNow = context.WithCancel(parent)
	defer r.endNow()
	defer background(r.now, func(ctx context.Context) { r.obey(ctx, signals) })()
	defer background(r.now, func(ctx context.Context) { r.announce(ctx, handed) })()
	defer background(r.now, r.running.Watch)()
	if r.door != nil {
		defer background(r.now, func(ctx context.Context) { r.openUp(ctx) })()
	}
	err := r.b.Run(r.stop, r.now)
	if err == nil && r.now.Err() != nil {
		err = errors.New("ended at once by a second signal")
	}
	return err
}

// announce tells those who wait that weir serves: the process whose place it takes, and systemd
// (sd_notify(3)).
func (r *runner) announce(ctx context.Context, handed *balancer.Handed) {
	select {
	case <-r.b.Started():
	case <-ctx.Done():
		return
	}
	if err := handed.Ready(); err != nil {
		r.log.Warn().Err(err).Msg("cannot tell the process before this one that it is done")
	}
	r.notify(daemon.SdNotifyReady + "\n" + mainPID())
	r.watchdog(ctx)
}

// obey does what signals say until ctx ends.
func (r *runner) obey(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			switch s {
			case signalReload:
				r.reload(ctx)
			case signalUpgrade:
				r.upgrade(ctx)
			default:
				r.end()
			}
		}
	}
}

// end stops weir, gently the first time.
func (r *runner) end() {
	if r.stop.Err() != nil {
		r.endNow()
		return
	}
	r.notify(daemon.SdNotifyStopping)
	r.endStop()
}

// reload goes over to what the file says now. A file that is not right changes nothing.
func (r *runner) reload(ctx context.Context) {
	r.notify(reloading())
	defer r.notify(daemon.SdNotifyReady)
	plan, err := r.running.Reload(ctx, admin.Who{Name: "SIGHUP", UID: -1, PID: -1})
	if err == nil {
		for _, c := range plan.Changes {
			r.log.Info().Interface("change", c).Msg("changed")
		}
		return
	}
	var mistakes config.Mistakes
	if !errors.As(err, &mistakes) {
		r.log.Error().Err(err).Msg("cannot reload: nothing has changed")
		return
	}
	for _, m := range mistakes {
		r.log.Error().Str("mistake", m.String()).Msg("cannot reload: nothing has changed")
	}
}

// upgrade hands over to the binary that is there now.
func (r *runner) upgrade(ctx context.Context) {
	if _, err := r.succeed(ctx); err != nil {
		r.log.Error().Err(err).Msg("cannot upgrade: nothing has changed")
	}
}

// succeed starts the binary that is there now, and when that serves ends this process.
func (r *runner) succeed(ctx context.Context) (pid int, err error) {
	s := balancer.Successor{Binary: r.binary, Args: os.Args}
	if r.door != nil {
		f, err := r.door.File()
		if err != nil {
			return 0, err
		}
		defer f.Close()
		c, err := f.SyscallConn() // f.Fd would make the door's own listener block
		if err != nil {
			return 0, err
		}
		if err := c.Control(func(fd uintptr) { s.Sockets = append(s.Sockets, fd) }); err != nil {
			return 0, err
		}
	}
	if pid, err = r.b.Upgrade(ctx, s); err != nil {
		return 0, err
	}
	if r.door != nil {
		r.door.KeepSocket(true)
	}
	r.endStop()
	return pid, nil
}

// openUp serves the operator until ctx ends, or another process does.
func (r *runner) openUp(ctx context.Context) {
	if err := r.door.Serve(ctx); err != nil {
		r.log.Error().Err(err).Msg("the operator's door is closed")
	}
}

// notify tells systemd, if it has started weir.
func (r *runner) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		r.log.Warn().Err(err).Msg("cannot notify systemd")
	}
}
