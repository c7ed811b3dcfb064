package run

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"weir/backend/contain"
	"weir/balancer/admin"
	"weir/config"
)

const (
	// DefaultSettle is how long files must stay as they are before weir goes by them. Editors, configuration
	// management and copies over a network write in steps, mostly within a second.
	DefaultSettle = 2 * time.Second
	// LeastSettle is less than any of them takes.
	LeastSettle = 100 * time.Millisecond
)

// looksPerSettle is how often the files are looked at in the time that they must stay still. A look is a stat(2) each.
const looksPerSettle = 4

// patience is how long files must be still that take away what sessions run on, or that are not all there: the half
// of a file is often a file that is right, and a session that is cut does not come back.
func patience(settle time.Duration) time.Duration { return max(5*settle, 10*time.Second) }

// watcher has weir go by its file and those that it names when they have changed.
type watcher struct {
	camera camera
	settle time.Duration
	log    zerolog.Logger
	guard  *contain.Guard

	// follows says whether a configuration is what weir goes by already.
	follows func(*config.Config) bool
	// takesAway lists what sessions run on that would be no more.
	takesAway func(*config.Config) []string
	// follow goes over to a configuration; refresh reads again what the door needs of the secrets. Both log how it went.
	follow  func(context.Context, *config.Reading)
	refresh func()
	// wrong logs what is wrong with the files.
	wrong func(error)

	last    picture   // as seen last
	since   time.Time // when that was new
	dealt   string    // the content that was dealt with
	held    string    // the content of which was said that it waits
	secrets string    // those that the door goes by
}

// watch looks at the files until ctx ends.
func (w *watcher) watch(ctx context.Context) {
	t := time.NewTicker(w.settle / looksPerSettle)
	defer t.Stop()
	for {
		looked := make(chan picture, 1)
		go w.guard.Do("looking at the configuration", func() { // by itself: a dead file server would hold us, and the end of weir
			defer close(looked)
			looked <- w.camera.take()
		})
		select {
		case p, ok := <-looked:
			if ok {
				w.guard.Do("watching the configuration", func() { w.see(ctx, time.Now(), p) })
			}
		case <-ctx.Done():
			return
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// see deals with what has been still for long enough.
func (w *watcher) see(ctx context.Context, now time.Time, p picture) {
	if w.since.IsZero() {
		w.secrets = p.secrets
	}
	if w.since.IsZero() || p.touched != w.last.touched {
		w.last, w.since = p, now
		return
	}
	still := now.Sub(w.since)
	if p.content == w.dealt || still < w.settle || len(p.missing) > 0 && still < patience(w.settle) {
		return
	}
	read, err := config.Read(w.camera.file)
	if after := w.camera.take(); after.touched != p.touched { // it is not known which of them was read
		w.last, w.since = after, now
		return
	}
	if err != nil {
		w.dealt = p.content
		w.wrong(err)
		return
	}
	w.goBy(ctx, read, p, still)
}

// goBy goes over to what the files say, unless that has to wait.
func (w *watcher) goBy(ctx context.Context, read *config.Reading, p picture, still time.Duration) {
	same := w.follows(read.Config)
	if away := w.takesAway(read.Config); !same && len(away) > 0 && still < patience(w.settle) {
		if w.held != p.content {
			w.held = p.content
			w.log.Warn().Stringer("still_for", patience(w.settle)).Strs("what", away).
				Msg("the file takes away what sessions run on: waiting until it has been still for longer")
		}
		return
	}
	if same && w.held != "" {
		w.log.Warn().Msg("weir goes by what the file says: nothing waits any more")
	}
	w.dealt, w.held = p.content, ""
	switch {
	case !same:
		w.follow(ctx, read)
	case p.secrets != w.secrets:
		w.refresh()
	}
	w.secrets = p.secrets
}

// watch is the watcher of this weir.
func (r *runner) watch(ctx context.Context) {
	a := r.b.Config().Admin
	w := &watcher{
		camera: camera{file: r.file, also: slices.DeleteFunc(
			[]string{a.TokenFile, a.TLSCertificate, a.TLSKey, a.TLSClientCA}, func(name string) bool { return name == "" })},
		settle:    r.settle,
		log:       r.log,
		guard:     r.b.Guard(),
		follows:   r.running.Follows,
		takesAway: r.takesAway,
		follow: func(ctx context.Context, read *config.Reading) {
			r.change(func() (admin.Plan, error) {
				return r.running.Follow(ctx, admin.Who{Name: "--watch", UID: -1, PID: -1}, read)
			})
		},
		refresh: r.refresh,
		wrong:   func(err error) { r.b.NotReloaded(err); r.notReloaded(err) },
	}
	w.watch(ctx)
}

// takesAway lists backends and frontends that a configuration has no more, and on which sessions run.
func (r *runner) takesAway(cfg *config.Config) (what []string) {
	plan, err := r.b.Plan(cfg)
	if err != nil { // then it changes nothing, and says why
		return nil
	}
	for _, c := range plan.Changes {
		if c.Key == "" && c.To == "" && c.Ends > 0 {
			what = append(what, c.String())
		}
	}
	return what[:min(len(what), mostTold)]
}

// refresh reads the token and the certificates again, and nothing else: what an operator changed goes on.
func (r *runner) refresh() {
	if r.door == nil {
		return
	}
	if err := r.door.Refresh(); err != nil {
		r.log.Error().Err(err).Msg("cannot read the token or the certificates again: the ones before go on")
		return
	}
	r.log.Warn().Msg("the token and the certificates were read again")
}

// notReloaded logs why nothing has changed, a line for each mistake.
func (r *runner) notReloaded(err error) {
	var mistakes config.Mistakes
	if !errors.As(err, &mistakes) {
		r.log.Error().Str("error", strings.TrimSpace(err.Error())).Msg("cannot reload: nothing has changed")
		return
	}
	for _, m := range mistakes {
		r.log.Error().Str("mistake", m.String()).Msg("cannot reload: nothing has changed")
	}
}
