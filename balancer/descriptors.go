package balancer

import (
	"fmt"

	"weir/config"
	"weir/frontend/relay"
)

const (
	// perSession is the descriptors of one session: its two sockets.
	perSession = 2
	// spare is kept for all else: the standard three, the poller, log files, name look-ups, admin.
	spare = 48
	// pipeShare of all descriptors, at most, may be pipes.
	pipeShare = 16
	// manySessions bounds the sessions where descriptors do not.
	manySessions = 1 << 30
)

// shares is how the descriptors of the process are divided, so that accepting can never starve the
// probes or the operator.
type shares struct{ sessions, pipes int }

// probeShare of all descriptors, at most, is kept for probes, of which each backend makes one at a time.
// Where that is not enough for a very large pool, a probe without a descriptor is no verdict.
const probeShare = 8

// shareDescriptors divides what the process may open (RLIMIT_NOFILE). It goes by nothing but that, the configuration and
// the number of loops, which is settled at the start: so a reload or an upgrade to the same file divides the same. extra is
// how many listening addresses there are beyond those of the configuration.
func shareDescriptors(cfg *config.Config, loops, extra int) (shares, error) {
	limit := descriptorLimit()
	s := shares{pipes: min(relay.MaxPipes, limit/pipeShare/2)}
	probes := min(probed(cfg), limit/probeShare)
	rest := limit - spare - 2*s.pipes - probes - fixed(cfg, loops) - extra*max(1, loops)
	s.sessions = min(rest/perSession, manySessions)
	if cfg.MaxSessions > 0 {
		s.sessions = min(s.sessions, cfg.MaxSessions)
	}
	if s.sessions < 1 {
		return s, fmt.Errorf("share descriptors: the limit of %d open files leaves none for sessions: at least %d are needed",
			limit, limit-rest+perSession)
	}
	return s, nil
}

// fixed is one descriptor for each listener on each loop, and two for each loop.
func fixed(cfg *config.Config, loops int) int {
	loops = max(1, loops)
	n := 2 * loops
	for i := range cfg.Frontends {
		n += loops * len(cfg.Frontends[i].BindOn)
	}
	return n
}

// probed returns how many backends are probed.
func probed(cfg *config.Config) (n int) {
	for i := range cfg.Frontends {
		if cfg.Frontends[i].Health.Kind != "none" {
			n += len(cfg.Frontends[i].Backends)
		}
	}
	return n
}
