package run

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// watchdog tells systemd twice in each watchdog interval that weir lives, if it asks for that (WatchdogSec=):
// as long as every loop answers.
func (r *runner) watchdog(ctx context.Context) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	t := time.NewTicker(interval / 2)
	defer t.Stop()
	for {
		alive, cancel := context.WithTimeout(ctx, interval/2)
		if r.b.Alive(alive) {
			r.notify(daemon.SdNotifyWatchdog)
		}
		cancel()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
