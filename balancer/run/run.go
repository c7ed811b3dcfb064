// Package run is a weir as an operating system sees it: a process that obeys signals, tells systemd how it
// is, hands over to another binary, and lets an operator in.
//
// What it does with a configuration is package balancer's business. Start with [Run].
package run

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"

	"weir/balancer"
	"weir/balancer/admin"
	"weir/balancer/metrics"
	"weir/config"
	"weir/frontend"
)

// Options is what main knows.
type Options struct {
	// File is the name of the configuration, and Fit what it says, looked at with [balancer.FitFiles].
	File string
	Fit  *balancer.Fit
	// Version is the program's.
	Version string
	Log     zerolog.Logger
	// Lines is what writes the lines of Log.
	Lines *balancer.LogWriter
	// LogFile is where Log goes; nil: elsewhere.
	LogFile *balancer.LogFile
	// Settle has weir reload by itself when the file, or one that it names, has changed and has been still for
	// so long: see [DefaultSettle]. 0: it does not.
	Settle time.Duration
}

// runner is a weir that runs.
type runner struct {
	file    string // absolute
	program program
	log     zerolog.Logger
	b       *balancer.Balancer

	settle  time.Duration      // 0: it does not watch
	door    *admin.Door        // nil: none
	doorOwn bool               // its listener was opened by weir
	leave   context.CancelFunc // ends the door's serving
	running *admin.Running

	stop, now       context.Context
	endStop, endNow context.CancelFunc
}

// Run serves until a signal ends it, and obeys the others.
func Run(ctx context.Context, o Options, signals *Signals) error {
	handed := balancer.TakeHanded()
	there, err := frontend.Inherit(handed.Files)
	if err != nil {
		return err
	}
	defer there.Close()
	r := &runner{log: o.Log, settle: o.Settle, program: thisProgram()}
	if r.file, err = filepath.Abs(o.File); err != nil {
		return err
	}
	if err := o.fits(there); err != nil {
		return err
	}
	cfg := o.Fit.Config
	door := admin.OptionsOf(&cfg.Admin)
	if r.doorOwn, err = takeDoor(&door, there); err != nil {
		return err
	}
	if r.b, err = balancer.NewFrom(ctx, cfg, o.Log, there); err != nil {
		return err
	}
	r.b.LogTo(o.Lines)
	defer r.background(ctx, "opening the log file again", func(ctx context.Context) { o.LogFile.ReopenOnSignal(ctx, signals.reopen, o.Log) })()
	r.running = admin.NewRunning(&admin.Running{
		Balancer: r.b, Version: o.Version, File: r.file, Started: time.Now(), Successor: r.succeed,
	})
	if cfg.Admin.BindOn != (config.Address{}) {
		door.Log, door.Guard, door.Metrics = o.Log, r.b.Guard(), metrics.Handler(r.b, o.Version)
		if r.door, err = admin.New(door, r.running); err != nil {
			r.b.Close()
			return err
		}
		r.door.KeepSocket(!r.doorOwn)
		r.running.Reloaded = r.door.Refresh
	}
	r.recall(handed.Memory)
	if err := r.b.TakeOver(handed.Former); err != nil {
		r.b.Close()
		return err
	}
	return r.run(ctx, signals, handed, there)
}

// fits says what keeps sockets from being opened that are not there yet, and logs warnings.
func (o *Options) fits(there *frontend.Inherited) error {
	o.Fit.FitSockets(nil, func(a config.Address) bool {
		network, address := a.Listen()
		return there.Has(frontend.Bind{Network: network, Address: address})
	})
	if err := o.Fit.Err(); err != nil {
		return err
	}
	for _, w := range o.Fit.Warnings {
		o.Log.Warn().Str("warning", w.String()).Msg("the configuration may not do what is meant")
	}
	return nil
}

// memory is what one process tells the next.
type memory struct {
	Balancer balancer.Memory `json:"balancer"`
	Said     []admin.Said    `json:"said"`
}

// recall takes up what the process before this one knew. It may be of another version.
func (r *runner) recall(text []byte) {
	if len(text) == 0 {
		return
	}
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		r.log.Warn().Err(err).Msg("what the process before this one knew of its backends is not understood: all begin as the file says")
		return
	}
	r.b.Recall(m.Balancer)
	r.running.Recall(m.Said)
}

// takeDoor uses the door's listener that is there already, and reports whether the path of a unix socket is
// weir's to remove.
func takeDoor(o *admin.Options, there *frontend.Inherited) (own bool, err error) {
	if o.Address == "" {
		return true, nil
	}
	own = true
	for _, f := range there.Take(frontend.Bind{Network: o.Network, Address: o.Address}) {
		if o.Listener, err = net.FileListener(f); err != nil {
			return false, err
		}
		own = frontend.IsOwn(f.Name())
		f.Close()
	}
	return own, nil
}

func (r *runner) run(parent context.Context, signals *Signals, handed *balancer.Handed, there *frontend.Inherited) error {
	r.stop, r.endStop = context.WithCancel(parent)
	r.now, r.endNow = context.WithCancel(parent)
	defer r.endNow()
	open, leave := context.WithCancel(r.now)
	r.leave = leave // before there is an upgrade, which a signal may have asked for already
	defer r.background(r.now, "obeying signals that end", func(ctx context.Context) { r.obey(ctx, signals.end) })()
	defer r.background(r.now, "obeying signals that change", func(ctx context.Context) { r.obey(ctx, signals.change) })()
	defer r.background(r.now, "telling who waits that weir serves", func(ctx context.Context) { r.announce(ctx, handed, there) })()
	if r.settle > 0 {
		defer r.background(r.stop, "watching the configuration", r.watch)()
	}
	if r.door != nil {
		defer r.background(open, "telling of refused sessions", r.running.Watch)()
		defer r.background(open, "the operator's door", r.openUp)()
	}
	err := r.b.Run(r.stop, r.now)
	if err == nil && r.now.Err() != nil {
		err = errors.New("ended at once by a second signal")
	}
	return err
}

// announce tells those who wait that weir serves: the process whose place it takes, and systemd
// (sd_notify(3)).
func (r *runner) announce(ctx context.Context, handed *balancer.Handed, there *frontend.Inherited) {
	select {
	case <-r.b.Started():
	case <-ctx.Done():
		return
	}
	if err := handed.Ready(); err != nil {
		r.log.Warn().Err(err).Msg("cannot tell the process before this one that it is done")
	}
	there.RemovePaths() // the process before this one does not go on any more
	r.b.Alone()
	r.notify(daemon.SdNotifyReady + "\n" + mainPID())
	r.watchdog(ctx)
}

// background runs work until end is called, which waits for it. Should work panic, it begins anew.
func (r *runner) background(parent context.Context, what string, work func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.b.Guard().Keep(ctx, what, work)
	}()
	return func() { cancel(); <-done }
}

// obey does what signals say until ctx ends.
func (r *runner) obey(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			r.b.Guard().Do("obeying "+s.String(), func() { r.act(ctx, s) })
		}
	}
}

// act does what one signal says.
func (r *runner) act(ctx context.Context, s os.Signal) {
	switch s {
	case signalReload:
		r.reload(ctx)
	case signalUpgrade:
		r.upgrade(ctx)
	default:
		r.end()
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
	r.change(func() (admin.Plan, error) {
		return r.running.Reload(ctx, admin.Who{Name: "SIGHUP", UID: -1, PID: -1})
	})
}

// change goes over to another configuration, and tells systemd and the log.
func (r *runner) change(reload func() (admin.Plan, error)) {
	r.notify(reloading())
	defer r.notify(daemon.SdNotifyReady)
	plan, err := reload()
	if err != nil {
		r.notReloaded(err)
		return
	}
	for _, w := range plan.Warnings {
		r.log.Warn().Str("warning", w).Msg("the configuration may not do what is meant")
	}
	r.log.Warn().Int("changes", len(plan.Changes)).Strs("what", told(plan.Changes)).Msg("configuration reloaded")
}

// mostTold is how many changes a line of the log tells of.
const mostTold = 20

func told(changes []admin.Change) (list []string) {
	for _, c := range changes[:min(len(changes), mostTold)] {
		list = append(list, c.String())
	}
	return list
}

// upgrade hands over to the program that the command line names now.
func (r *runner) upgrade(ctx context.Context) {
	if _, err := r.succeed(ctx); err != nil {
		r.log.Error().Err(err).Msg("cannot upgrade: nothing has changed")
	}
}

// succeed starts the program that the command line names now, and when that serves ends this process.
func (r *runner) succeed(ctx context.Context) (pid int, err error) {
	s := balancer.Successor{Args: os.Args, Dir: r.program.directory()}
	if s.Binary, err = r.program.find(); err != nil {
		return 0, err
	}
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
		if err := c.Control(func(fd uintptr) { s.Sockets = append(s.Sockets, frontend.Socket{FD: fd, Own: r.doorOwn}) }); err != nil {
			return 0, err
		}
	}
	said, goOn := r.running.BeginUpgrade()
	defer func() {
		if err != nil {
			goOn()
		}
	}()
	if s.Memory, err = json.Marshal(memory{r.b.Memory(), said}); err != nil {
		return 0, err
	}
	if pid, err = r.b.Upgrade(ctx, s); err != nil {
		return 0, err
	}
	if r.door != nil { // whoever knocks from now on is the new one's guest
		r.door.KeepSocket(true)
	}
	r.leave()
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
