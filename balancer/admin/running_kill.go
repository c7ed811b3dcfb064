package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"weir/balancer"
	"weir/frontend"
)

// killStep is the least time between two looks for the sessions that are due: each goes through all of them.
const killStep = 100 * time.Millisecond

// Kill ends the sessions that a selector means: their clients see a reset.
func (r *Running) Kill(ctx context.Context, who Who, k KillSelector, tell func(Killed)) (done Killed, err error) {
	f, err := k.Filter()
	if err != nil {
		return done, err
	}
	if k.Limit == 0 && k.PerSecond == 0 {
		done.Count, err = r.killNow(ctx, &k, &f)
		done.Of = done.Count
	} else {
		done, err = r.killInTurn(ctx, &k, &f, tell)
	}
	if k.ID != 0 && done.Of == 0 && err == nil {
		return done, NotFound("no session %d is live", k.ID)
	}
	if done.Count > 0 {
		r.feed.Publish(Event{
			At: time.Now(), Kind: "change", Who: who.String(), Count: done.Count,
			Message: fmt.Sprintf("%d sessions were ended by %s", done.Count, who),
		})
	}
	return done, err
}

// killNow ends all that are meant.
func (r *Running) killNow(ctx context.Context, k *KillSelector, f *SessionFilter) (n int, err error) {
	now := time.Now()
	return r.killAll(ctx, func(*balancer.View) bool { return true }, func(i *frontend.Info) bool { return k.means(f, i, now) })
}

// means says whether a selector means a session.
func (k *KillSelector) means(f *SessionFilter, i *frontend.Info, now time.Time) bool {
	if k.ID != 0 {
		return i.ID == k.ID
	}
	return f.means(i, now)
}

func (r *Running) killAll(ctx context.Context, at func(*balancer.View) bool, match func(*frontend.Info) bool) (n int, err error) {
	for _, v := range r.Balancer.Views() {
		if !at(&v) {
			continue
		}
		killed, err := v.Kill(ctx, match, frontend.Killed)
		n += killed
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// doomed is a session that is to be ended.
type doomed struct {
	id       uint64
	frontend string
	accepted time.Time
}

// killInTurn ends those that are meant now, the oldest first, as fast as it may.
func (r *Running) killInTurn(ctx context.Context, k *KillSelector, f *SessionFilter, tell func(Killed)) (done Killed, err error) {
	list, err := r.doomed(ctx, k, f)
	done.Of = len(list)
	began, next := time.Now(), 0
	for next < len(list) && err == nil {
		due := len(list)
		if k.PerSecond > 0 {
			due = min(due, 1+int(time.Since(began).Seconds()*k.PerSecond))
		}
		if due > next {
			var n int
			n, err = r.killThese(ctx, list[next:due])
			done.Count, next = done.Count+n, due
			tell(done)
		}
		if next < len(list) && err == nil {
			at := began.Add(time.Duration(float64(next) / k.PerSecond * float64(time.Second)))
			err = pause(ctx, max(killStep, time.Until(at)))
		}
	}
	if err != nil {
		return done, Conflict("interrupted: %d of %d sessions were ended", done.Count, done.Of)
	}
	return done, nil
}

// doomed returns those that are meant now, as many as may be.
func (r *Running) doomed(ctx context.Context, k *KillSelector, f *SessionFilter) (list []doomed, err error) {
	now := time.Now()
	err = r.all(ctx, &SessionFilter{Frontend: f.Frontend}, false, func(_ *balancer.View, i *frontend.Info) bool {
		if k.means(f, i, now) {
			list = append(list, doomed{i.ID, i.Frontend, i.Accepted})
		}
		return true
	})
	slices.SortFunc(list, func(a, b doomed) int { return cmp.Or(a.accepted.Compare(b.accepted), cmp.Compare(a.id, b.id)) })
	if k.Limit > 0 {
		list = list[:min(k.Limit, len(list))]
	}
	return list, err
}

// killThese ends those of a list that are still there.
func (r *Running) killThese(ctx context.Context, list []doomed) (n int, err error) {
	ids, frontends := make(map[uint64]bool, len(list)), map[string]bool{}
	for _, d := range list {
		ids[d.id], frontends[d.frontend] = true, true
	}
	return r.killAll(ctx, func(v *balancer.View) bool { return frontends[v.Name] }, func(i *frontend.Info) bool { return ids[i.ID] })
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
