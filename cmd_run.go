package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"weir/balancer"
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
	r := &runner{path: text(c, "config"), log: log}
	r.binary, _ = os.Executable() // where it is now: an upgrade puts another one there
	if r.b, err = balancer.NewFrom(c.Context, cfg, log, there); err != nil {
		return err
	}
	return r.run(c.Context, signals, handed)
}

func (r *runner) run(parent context.Context, signals <-chan os.Signal, handed *balancer.Handed) error {
	r.stop, r.endStop = context.WithCancel(parent)
	r.now, r.endNow = context.WithCancel(parent)
	defer r.endNow()
	defer background(r.now, func(ctx context.Context) { r.obey(ctx, signals) })()
	defer background(r.now, func(ctx context.Context) { r.announce(ctx, handed) })()
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
	cfg, err := config.Load(r.path)
	if err == nil {
		var plan balancer.Plan
		if plan, err = r.b.Reload(ctx, cfg); err == nil {
			for _, c := range plan.Changes {
				r.log.Info().Stringer("change", c).Msg("changed")
			}
			return
		}
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
	if _, err := r.b.Upgrade(ctx, balancer.Successor{Binary: r.binary, Args: os.Args}); err != nil {
		r.log.Error().Err(err).Msg("cannot upgrade: nothing has changed")
		return
	}
	r.endStop()
}

// notify tells systemd, if it has started weir.
func (r *runner) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		r.log.Warn().Err(err).Msg("cannot notify systemd")
	}
}
